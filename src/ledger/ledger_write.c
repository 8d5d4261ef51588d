/*
 * ledger_write.c
 *		Writes the rows of the ledger, through their indexes, without a query.
 *
 * A query would cost more than everything else that a reserve or settle does,
 * and could be planned as a sequential scan. These writes bypass triggers,
 * which is what they are there to tell apart (see directory/definition_triggers.c); the
 * tables have no foreign keys and no check constraints.
 *
 * Indexes, columns and partitions that a DBA has added are kept up: indexes on
 * expressions or with a predicate through the executor, columns as null.
 *
 * Every function ends with CommandCounterIncrement, so that what follows in the
 * transaction sees the row. Invariant (5): the counters that a row changes are
 * pinned before it is written.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "escrow/locks.h"
#include "ledger/ledger_internal.h"
#include "relations.h"

static const char *const event_kind_names[] = {
	[EVENT_SETTLED] = "settled", [EVENT_RELEASED] = "released", [EVENT_EXPIRED] = "expired",
	[EVENT_LATE] = "late",       [EVENT_CHARGE] = "charge",     [EVENT_ADJUSTMENT] = "adjustment",
};

const char *
event_kind_name(EventKind kind)
{
	return event_kind_names[kind];
}

/* A row under construction: columns count from 1, as in the catalogs. */
typedef struct RowBuilder
{
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
} RowBuilder;

static void
row_set(RowBuilder *row, int column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

static void
row_set_pointer(RowBuilder *row, int column, const void *pointer)
{
	row->values[column - 1] = PointerGetDatum(pointer);
	row->nulls[column - 1] = pointer == NULL;
}

static void
row_set_text(RowBuilder *row, int column, const char *text)
{
	row->nulls[column - 1] = text == NULL;
	row->values[column - 1] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
row_set_id(RowBuilder *row, int column, int64 id)
{
	row->values[column - 1] = Int64GetDatum(id);
	row->nulls[column - 1] = id == 0;
}

/* Credits in millionths, or -1. */
static void
row_set_credits(RowBuilder *row, int column, int64 micros)
{
	row_set_pointer(row, column, micros < 0 ? NULL : micros_to_numeric(micros));
}

static void
row_set_levels(RowBuilder *row, int column, const Spender *spender)
{
	Datum elements[LEVELS_MAX];

	for (int i = 0; i < spender->level_count; i++)
		elements[i] = Int64GetDatum(spender->levels[i]);
	row_set_pointer(row, column,
					construct_array(elements, spender->level_count, INT8OID, sizeof(int64),
									FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Makes the tuple; columns that somebody has added to the table are null. */
static HeapTuple
row_form_tuple(Relation rel, RowBuilder *row, int columns)
{
	int natts = RelationGetNumberOfAttributes(rel);
	Datum *values = row->values;
	bool *nulls = row->nulls;

	Assert(natts >= columns);
	if (natts > columns)
	{
		values = palloc0(sizeof(Datum) * natts);
		nulls = palloc(sizeof(bool) * natts);
		memset(nulls, true, sizeof(bool) * natts);
		memcpy(values, row->values, sizeof(Datum) * columns);
		memcpy(nulls, row->nulls, sizeof(bool) * columns);
	}
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

/* Says whether the indexes are of the simple kind that catalogs have. */
static bool
indexes_are_plain(CatalogIndexState indexes)
{
	for (int i = 0; i < indexes->ri_NumIndices; i++)
	{
		const IndexInfo *info = indexes->ri_IndexRelationInfo[i];

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL ||
			info->ii_ExclusionOps != NULL)
			return false;
	}
	return true;
}

/* Inserts a row and its index entries, those of indexes on expressions by the executor. */
static void
row_insert(Relation rel, HeapTuple tuple)
{
	CatalogIndexState indexes;

	/* Whoever moves rows to another partition must not miss this one. */
	lock_table_shared(RelationGetRelid(rel));
	indexes = CatalogOpenIndexes(rel);
	if (indexes_are_plain(indexes))
		CatalogTupleInsertWithInfo(rel, tuple, indexes);
	else
	{
		EState *estate = CreateExecutorState();
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);

		simple_heap_insert(rel, tuple);
		ExecStoreHeapTuple(tuple, slot, false);
		compat_insert_index_tuples(indexes, slot, estate);
		ExecDropSingleTupleTableSlot(slot);
		FreeExecutorState(estate);
	}
	CatalogCloseIndexes(indexes);
}

/* Replaces a row; where the executor is needed, by another one. */
static void
row_update(Relation rel, ItemPointer tid, HeapTuple tuple)
{
	CatalogIndexState indexes = CatalogOpenIndexes(rel);
	bool plain = indexes_are_plain(indexes);

	if (plain)
		CatalogTupleUpdateWithInfo(rel, tid, tuple, indexes);
	CatalogCloseIndexes(indexes);
	if (!plain)
	{
		simple_heap_delete(rel, tid);
		CommandCounterIncrement();
		row_insert(rel, tuple);
	}
}

static HeapTuple
hold_form_tuple(Relation holds, const Hold *hold)
{
	RowBuilder row;

	row_set_pointer(&row, HOLD_ID, &hold->id);
	row_set_id(&row, HOLD_ROOT_ID, hold->spender.root_id);
	row_set_levels(&row, HOLD_LEVELS, &hold->spender);
	row_set_pointer(&row, HOLD_SCOPE, hold->spender.scope);
	row_set_text(&row, HOLD_USER_ID, hold->spender.user_id);
	row_set_text(&row, HOLD_MODEL, hold->spender.model);
	row_set_pointer(&row, HOLD_AMOUNT, hold->amount);
	row_set(&row, HOLD_HELD_AT, TimestampTzGetDatum(hold->held_at));
	row_set(&row, HOLD_EXPIRES_AT, TimestampTzGetDatum(hold->expires_at));
	row_set_id(&row, HOLD_CARD_ID, hold->card_id);
	row_set_pointer(&row, HOLD_REQUEST, hold->request);
	row_set(&row, HOLD_SEQ, Int16GetDatum(hold->seq));
	row_set_credits(&row, HOLD_EXPECTED, hold->expected_micros);
	return row_form_tuple(holds, &row, HOLD_COLUMNS);
}

/*
 * ledger_insert_hold
 *		Writes a new open hold.
 */
void
ledger_insert_hold(const Hold *hold)
{
	Relation holds = table_open(quota_relation(REL_HOLDS), RowExclusiveLock);
	HeapTuple tuple = hold_form_tuple(holds, hold);

	row_insert(holds, tuple);
	heap_freetuple(tuple);
	table_close(holds, NoLock);
	CommandCounterIncrement();
}

/*
 * ledger_update_hold
 *		Replaces a hold that this transaction has locked (ledger_lock_hold).
 */
void
ledger_update_hold(Relation holds, const Hold *hold)
{
	HeapTuple tuple = hold_form_tuple(holds, hold);
	ItemPointerData tid = hold->tid;

	row_update(holds, &tid, tuple);
	heap_freetuple(tuple);
	CommandCounterIncrement();
}

/*
 * ledger_delete_hold
 *		Removes a hold that this transaction has locked (ledger_lock_hold).
 */
void
ledger_delete_hold(Relation holds, const Hold *hold)
{
	ItemPointerData tid = hold->tid;

	CatalogTupleDelete(holds, &tid);
	CommandCounterIncrement();
}

/*
 * events_open_partition
 *		Opens the partition of quota.events for an instant. The parent is open.
 *
 * A partition may be attached while we wait for the lock of the default one, so
 * look again once we have it.
 */
static Relation
events_open_partition(Relation events, TimestampTz held_at)
{
	Oid previous = InvalidOid;
	Relation partition = NULL;

	for (;;)
	{
		PartitionKey key = RelationGetPartitionKey(events);
		PartitionDesc desc = RelationGetPartitionDesc(events, true);
		Datum value = TimestampTzGetDatum(held_at);
		int index = -1;

		/* There are no bounds at all where there are no partitions. */
		if (desc->nparts > 0)
		{
			bool equal;
			int bound = partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
													  desc->boundinfo, 1, &value, &equal);

			index = desc->boundinfo->indexes[bound + 1];
			if (index < 0)
				index = desc->boundinfo->default_index;
		}
		if (index < 0)
			ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
							errmsg("no partition of relation \"quota.events\" found for an event"),
							errhint("Attach its default partition again.")));
		if (desc->oids[index] == previous)
			return partition;

		if (partition != NULL)
			table_close(partition, NoLock);
		previous = desc->oids[index];
		partition = table_open(previous, RowExclusiveLock);
		if (partition->rd_rel->relkind != RELKIND_RELATION)
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("partition \"%s\" of relation \"quota.events\" is not a table",
								   RelationGetRelationName(partition)),
							errhint("Attach an ordinary table in its place.")));
	}
}

/*
 * ledger_insert_event
 *		Appends an event to the ledger, in the partition of the time of its hold,
 *		with the transaction and the cluster that it comes from.
 */
void
ledger_insert_event(const Event *event)
{
	Relation events = table_open(quota_relation(REL_EVENTS), RowExclusiveLock);
	Relation partition = events_open_partition(events, event->held_at);
	TupleConversionMap *map;
	HeapTuple tuple;
	RowBuilder row;

	row_set_pointer(&row, EVENT_ID, &event->id);
	row_set(&row, EVENT_SEQ, Int16GetDatum(event->seq));
	row_set_text(&row, EVENT_KIND, event_kind_name(event->kind));
	row_set_id(&row, EVENT_ROOT_ID, event->spender.root_id);
	row_set_levels(&row, EVENT_LEVELS, &event->spender);
	row_set_pointer(&row, EVENT_SCOPE, event->spender.scope);
	row_set_text(&row, EVENT_USER_ID, event->spender.user_id);
	row_set_text(&row, EVENT_MODEL, event->spender.model);
	row_set_pointer(&row, EVENT_HELD, event->held);
	row_set_pointer(&row, EVENT_AMOUNT_CHARGED, event->charged);
	row.nulls[EVENT_COST_USD - 1] = event->cost_usd == NULL;
	if (event->cost_usd != NULL)
		row_set(&row, EVENT_COST_USD,
				DirectFunctionCall3(numeric_in, CStringGetDatum(event->cost_usd),
									ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	row_set_text(&row, EVENT_OUTCOME, event->outcome);
	row_set(&row, EVENT_HELD_AT, TimestampTzGetDatum(event->held_at));
	row_set(&row, EVENT_RECORDED_AT, TimestampTzGetDatum(event->recorded_at));
	row_set_id(&row, EVENT_CARD_ID, event->card_id);
	row_set_pointer(&row, EVENT_USAGE, event->usage);
	row_set_text(&row, EVENT_REASON, event->reason);
	row_set(&row, EVENT_ORIGIN, Int64GetDatum((int64) GetSystemIdentifier()));
	row_set(&row, EVENT_XID, FullTransactionIdGetDatum(GetTopFullTransactionId()));
	row_set_credits(&row, EVENT_EXPECTED, event->expected_micros);
	row.nulls[EVENT_INPUT_BYTES - 1] = event->input_bytes < 0;
	row.values[EVENT_INPUT_BYTES - 1] = Int64GetDatum(event->input_bytes);

	tuple = row_form_tuple(events, &row, EVENT_COLUMNS);
	map = convert_tuples_by_name(RelationGetDescr(events), RelationGetDescr(partition));
	if (map != NULL)
	{
		tuple = execute_attr_map_tuple(tuple, map);
		free_conversion_map(map);
	}
	row_insert(partition, tuple);
	table_close(partition, NoLock);
	table_close(events, NoLock);
	CommandCounterIncrement();
}

/*
 * ledger_insert_key
 *		Remembers an accepted call by its idempotency key, whose lock is held.
 */
void
ledger_insert_key(int64 root_id, const char *key, const KeyRecord *record, TimestampTz created_at)
{
	Relation keys = table_open(quota_relation(REL_KEYS), RowExclusiveLock);
	HeapTuple tuple;
	RowBuilder row;

	row_set_id(&row, KEY_ROOT_ID, root_id);
	row_set_text(&row, KEY_KEY, key);
	row_set(&row, KEY_FINGERPRINT, Int64GetDatum(record->fingerprint));
	row_set_pointer(&row, KEY_HOLD_ID, &record->hold_id);
	row_set(&row, KEY_CREATED_AT, TimestampTzGetDatum(created_at));
	tuple = row_form_tuple(keys, &row, KEY_COLUMNS);
	row_insert(keys, tuple);
	heap_freetuple(tuple);
	table_close(keys, NoLock);
	CommandCounterIncrement();
}
