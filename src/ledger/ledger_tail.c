/*
 * ledger_tail.c
 *		The tail of a root: its events that are not folded yet.
 *
 * Every partition has an index of (root, origin, transaction, user), read here directly.
 * Of the tail of a hot root, most events are of other users than the one whose shares
 * are loaded; the index tells them apart without a look at the row, and no planner can
 * prefer another one, by which it would read all that this user has ever used.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#include "compat.h"
#include "ledger/ledger_internal.h"
#include "relations.h"

/* The columns of the index, in its order. */
static const EventColumn tail_columns[] = {EVENT_ROOT_ID, EVENT_ORIGIN, EVENT_XID, EVENT_USER_ID};

#define TAIL_COLUMNS lengthof(tail_columns)

/* Without the last one it does as well. */
#define TAIL_COLUMNS_LEAST 3

/* The number of a column in a partition, which may have been made as a table of its own. */
static AttrNumber
partition_column(const AttrMap *map, EventColumn column)
{
	return map == NULL ? (AttrNumber) column : map->attnums[column - 1];
}

/*
 * Finds the index of a partition, or another one that begins so; InvalidOid if somebody has
 * dropped it. Says of how many of the columns it is.
 */
static Oid
tail_index(Relation partition, const AttrMap *map, int *columns)
{
	List *indexes = RelationGetIndexList(partition);
	Oid found = InvalidOid;
	ListCell *cell;

	*columns = 0;
	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);
		const FormData_pg_index *form = index->rd_index;
		int count = 0;

		if (form->indisvalid && index->rd_rel->relam == BTREE_AM_OID &&
			RelationGetIndexPredicate(index) == NIL)
		{
			while (count < Min(form->indnkeyatts, (int) TAIL_COLUMNS) &&
				   form->indkey.values[count] == partition_column(map, tail_columns[count]) &&
				   index->rd_indcollation[count] ==
					   TupleDescAttr(RelationGetDescr(partition), form->indkey.values[count] - 1)
						   ->attcollation)
				count++;
		}
		if (count >= TAIL_COLUMNS_LEAST && count > *columns)
		{
			found = RelationGetRelid(index);
			*columns = count;
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

static void
scan_partition(Relation partition, const AttrMap *map, Snapshot snapshot, const TailRange *range,
			   QueryRow row, void *arg)
{
	TupleDesc desc = RelationGetDescr(partition);
	AttrNumber user_column = partition_column(map, EVENT_USER_ID);
	int key_count;
	Oid index = tail_index(partition, map, &key_count);
	ScanKeyData keys[TAIL_COLUMNS];
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], partition_column(map, EVENT_ROOT_ID), BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(range->root_id));
	ScanKeyInit(&keys[1], partition_column(map, EVENT_ORIGIN), BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(range->origin));
	ScanKeyInit(&keys[2], partition_column(map, EVENT_XID), BTGreaterEqualStrategyNumber, F_XID8GE,
				FullTransactionIdGetDatum(range->mark));
	/* Whoever takes the rows looks at their users anyway. */
	if (range->user_id == NULL || key_count < (int) TAIL_COLUMNS)
		key_count = TAIL_COLUMNS_LEAST;
	else
		ScanKeyEntryInitialize(&keys[3], 0, user_column, BTEqualStrategyNumber, InvalidOid,
							   TupleDescAttr(desc, user_column - 1)->attcollation, F_TEXTEQ,
							   CStringGetTextDatum(range->user_id));

	/* Meant for catalogs, but neither it nor its fallback without an index asks for one. */
	scan = systable_beginscan(partition, index, OidIsValid(index), snapshot, key_count, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		static const EventColumn columns[] = {EVENT_LEVELS, EVENT_USER_ID, EVENT_MODEL,
											  EVENT_AMOUNT_CHARGED, EVENT_HELD_AT};
		Datum row_values[lengthof(columns)];
		bool row_nulls[lengthof(columns)];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(tuple, desc, values, nulls);
		for (int i = 0; i < (int) lengthof(columns); i++)
		{
			AttrNumber column = partition_column(map, columns[i]);

			row_values[i] = values[column - 1];
			row_nulls[i] = nulls[column - 1];
		}
		row(row_values, row_nulls, arg);
	}
	systable_endscan(scan);
	pfree(values);
	pfree(nulls);
}

/*
 * ledger_scan_tail
 *		Hands rows (levels, user_id, model, charged, held_at) of events to the function
 *		given: those that a snapshot has of a root and an origin from a transaction on; of
 *		one user, if given, and perhaps of others.
 */
void
ledger_scan_tail(Snapshot snapshot, const TailRange *range, QueryRow row, void *arg)
{
	Relation events = table_open(quota_relation(REL_EVENTS), AccessShareLock);
	List *partitions = find_all_inheritors(RelationGetRelid(events), AccessShareLock, NULL);
	ListCell *cell;

	foreach (cell, partitions)
	{
		Relation partition = table_open(lfirst_oid(cell), NoLock);

		/* What is a table elsewhere is an archive, whose events are folded. */
		if (RELKIND_HAS_STORAGE(partition->rd_rel->relkind))
		{
			AttrMap *map =
				compat_build_attrmap(RelationGetDescr(partition), RelationGetDescr(events));

			scan_partition(partition, map, snapshot, range, row, arg);
			if (map != NULL)
				free_attrmap(map);
		}
		table_close(partition, NoLock);
	}
	list_free(partitions);
	table_close(events, NoLock);
}
