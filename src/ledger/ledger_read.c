/*
 * ledger_read.c
 *		Finds holds, events and keys.
 *
 * Open holds and keys are found through their primary keys directly, so that no
 * plan can turn into a sequential scan of a table that was empty when it was
 * analyzed; and as of now (SnapshotSelf), so that callers under SERIALIZABLE leave
 * no predicate locks on pages that everybody writes. Rare reads are queries, on a
 * latest snapshot, planned without sequential scans for the same reason.
 *
 * Everything that is returned is a copy in the current memory context. What is kept
 * between calls is which roots have no expired hold for the moment (QuietRoot).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "ledger/hold_id.h"
#include "ledger/ledger_internal.h"
#include "query.h"
#include "relations.h"

static char *
text_or_null(Datum datum, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(datum);
}

static void *
copy_or_null(Datum datum, bool isnull)
{
	return isnull ? NULL : (void *) PG_DETOAST_DATUM_COPY(datum);
}

/*
 * levels_from_datum
 *		Fills levels from a bigint[]; returns their number.
 */
int
levels_from_datum(Datum datum, int64 *levels)
{
	ArrayType *array = DatumGetArrayTypeP(datum);
	Datum *elements;
	int count;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  NULL, &count);
	if (count < 1 || count > LEVELS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("ledger row has %d levels", count)));
	for (int i = 0; i < count; i++)
		levels[i] = DatumGetInt64(elements[i]);
	return count;
}

static void
spender_from_datums(Spender *spender, Datum root_id, Datum levels, Datum scope, const char *user_id,
					const char *model)
{
	spender->root_id = DatumGetInt64(root_id);
	spender->level_count = levels_from_datum(levels, spender->levels);
	spender->scope = (const Scope *) PG_DETOAST_DATUM_COPY(scope);
	spender->user_id = user_id;
	spender->model = model;
}

static void
hold_from_slot(TupleTableSlot *slot, Hold *hold)
{
	Datum *values;
	bool *nulls;

	slot_getallattrs(slot);
	values = slot->tts_values - 1;
	nulls = slot->tts_isnull - 1;

	memset(hold, 0, sizeof(Hold));
	hold->id = *DatumGetUUIDP(values[HOLD_ID]);
	spender_from_datums(&hold->spender, values[HOLD_ROOT_ID], values[HOLD_LEVELS],
						values[HOLD_SCOPE], text_or_null(values[HOLD_USER_ID], nulls[HOLD_USER_ID]),
						text_or_null(values[HOLD_MODEL], nulls[HOLD_MODEL]));
	hold->amount = copy_or_null(values[HOLD_AMOUNT], nulls[HOLD_AMOUNT]);
	hold->held_at = DatumGetTimestampTz(values[HOLD_HELD_AT]);
	hold->expires_at = DatumGetTimestampTz(values[HOLD_EXPIRES_AT]);
	hold->card_id = nulls[HOLD_CARD_ID] ? 0 : DatumGetInt64(values[HOLD_CARD_ID]);
	hold->request = copy_or_null(values[HOLD_REQUEST], nulls[HOLD_REQUEST]);
	hold->seq = DatumGetInt16(values[HOLD_SEQ]);
	hold->expected_micros =
		nulls[HOLD_EXPECTED]
			? -1
			: micros_from_numeric(DatumGetNumeric(values[HOLD_EXPECTED]), "credit");
	hold->tid = slot->tts_tid;
}

static void
hold_scan_key(ScanKey key, const pg_uuid_t *id)
{
	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
}

/*
 * ledger_lock_hold
 *		Locks an open hold for the rest of the transaction and fills hold.
 *
 * Waits for a transaction that is about to create, change or close it; with
 * wait false does not, and says that there is none. Returns false if there is
 * no such open hold. The snapshot is a dirty one and the lock is taken on the
 * latest version, whatever the isolation level: two closings of one hold never
 * both find it.
 */
bool
ledger_lock_hold(Relation holds, const pg_uuid_t *id, bool wait, Hold *hold)
{
	Relation index = index_open(quota_relation(REL_HOLDS_PKEY), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(holds, NULL);
	SnapshotData dirty;
	ScanKeyData key;
	IndexScanDesc scan;
	bool found = false;

	InitDirtySnapshot(dirty);
	hold_scan_key(&key, id);
	scan = compat_index_beginscan(holds, index, &dirty, 1);
	for (;;)
	{
		TransactionId in_progress;
		TM_FailureData failure;
		TM_Result result;

		index_rescan(scan, &key, 1, NULL, 0);
		if (!index_getnext_slot(scan, ForwardScanDirection, slot))
			break;

		/* A row that somebody has not committed yet, or is changing. */
		in_progress = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsValid(in_progress))
		{
			if (!wait)
				break;
			XactLockTableWait(in_progress, NULL, NULL, XLTW_None);
			continue;
		}

		PushActiveSnapshot(GetLatestSnapshot());
		result = table_tuple_lock(holds, &slot->tts_tid, GetActiveSnapshot(), slot,
								  GetCurrentCommandId(false), LockTupleExclusive,
								  wait ? LockWaitBlock : LockWaitSkip, 0, &failure);
		PopActiveSnapshot();
		if (result == TM_Ok)
		{
			hold_from_slot(slot, hold);
			found = true;
			break;
		}
		if (result == TM_WouldBlock)
			break;
		/* Changed or deleted since the index was read: look again. */
		CHECK_FOR_INTERRUPTS();
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	return found;
}

/*
 * ledger_find_hold
 *		Looks for an open hold, as of now, without a lock.
 */
bool
ledger_find_hold(const pg_uuid_t *id, Hold *hold)
{
	Relation holds = table_open(quota_relation(REL_HOLDS), AccessShareLock);
	Relation index = index_open(quota_relation(REL_HOLDS_PKEY), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(holds, NULL);
	ScanKeyData key;
	IndexScanDesc scan;
	bool found = false;

	hold_scan_key(&key, id);
	scan = compat_index_beginscan(holds, index, SnapshotSelf, 1);

	/* A row that extend() moves between the index and the table is there at a second look. */
	for (int look = 0; look < 2 && !found; look++)
	{
		index_rescan(scan, &key, 1, NULL, 0);
		found = index_getnext_slot(scan, ForwardScanDirection, slot);
	}
	if (found)
		hold_from_slot(slot, hold);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(holds, NoLock);
	return found;
}

/*
 * ledger_find_key
 *		Looks for an idempotency key, as of now; its lock is held.
 */
bool
ledger_find_key(int64 root_id, const char *key, KeyRecord *record)
{
	Relation keys = table_open(quota_relation(REL_KEYS), AccessShareLock);
	Relation index = index_open(quota_relation(REL_KEYS_PKEY), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(keys, NULL);
	ScanKeyData scan_keys[2];
	IndexScanDesc scan;
	bool found;

	ScanKeyInit(&scan_keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(root_id));
	ScanKeyEntryInitialize(&scan_keys[1], 0, 2, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[1], F_TEXTEQ, CStringGetTextDatum(key));
	scan = compat_index_beginscan(keys, index, SnapshotSelf, 2);
	index_rescan(scan, scan_keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
	{
		slot_getallattrs(slot);
		record->fingerprint = DatumGetInt64(slot->tts_values[KEY_FINGERPRINT - 1]);
		record->hold_id = *DatumGetUUIDP(slot->tts_values[KEY_HOLD_ID - 1]);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(keys, NoLock);
	return found;
}

static EventKind
event_kind_parse(const char *name)
{
	for (int kind = EVENT_SETTLED; kind <= EVENT_ADJUSTMENT; kind++)
	{
		if (strcmp(event_kind_name(kind), name) == 0)
			return kind;
	}
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("unknown kind of event \"%s\"", name)));
}

static void
event_from_row(Datum *row_values, bool *row_nulls, Event *event)
{
	Datum *values = row_values - 1;
	bool *nulls = row_nulls - 1;
	char *kind = TextDatumGetCString(values[EVENT_KIND]);

	memset(event, 0, sizeof(Event));
	event->id = *DatumGetUUIDP(values[EVENT_ID]);
	event->seq = DatumGetInt16(values[EVENT_SEQ]);
	event->kind = event_kind_parse(kind);
	spender_from_datums(&event->spender, values[EVENT_ROOT_ID], values[EVENT_LEVELS],
						values[EVENT_SCOPE],
						text_or_null(values[EVENT_USER_ID], nulls[EVENT_USER_ID]),
						text_or_null(values[EVENT_MODEL], nulls[EVENT_MODEL]));
	event->held = copy_or_null(values[EVENT_HELD], nulls[EVENT_HELD]);
	event->charged = copy_or_null(values[EVENT_AMOUNT_CHARGED], nulls[EVENT_AMOUNT_CHARGED]);
	if (!nulls[EVENT_COST_USD])
		event->cost_usd = DatumGetCString(DirectFunctionCall1(numeric_out, values[EVENT_COST_USD]));
	event->outcome = text_or_null(values[EVENT_OUTCOME], nulls[EVENT_OUTCOME]);
	event->held_at = DatumGetTimestampTz(values[EVENT_HELD_AT]);
	event->recorded_at = DatumGetTimestampTz(values[EVENT_RECORDED_AT]);
	event->card_id = nulls[EVENT_CARD_ID] ? 0 : DatumGetInt64(values[EVENT_CARD_ID]);
	event->usage = copy_or_null(values[EVENT_USAGE], nulls[EVENT_USAGE]);
	event->reason = text_or_null(values[EVENT_REASON], nulls[EVENT_REASON]);
}

typedef struct FoundEvents
{
	MemoryContext context;
	Event *events;
	int count;
} FoundEvents;

static void
collect_event(Datum *values, bool *nulls, void *arg)
{
	FoundEvents *found = arg;
	MemoryContext old = MemoryContextSwitchTo(found->context);

	if (found->events == NULL)
		found->events = palloc(sizeof(Event));
	else
		found->events = repalloc(found->events, sizeof(Event) * (found->count + 1));
	event_from_row(values, nulls, &found->events[found->count++]);
	MemoryContextSwitchTo(old);
}

/*
 * ledger_find_events
 *		Returns how many events a hold id has, and all of them in order of seq.
 */
int
ledger_find_events(const pg_uuid_t *id, Event **events)
{
	static PreparedQuery query = {
		.text = "SELECT hold_id, seq, kind, root_id, levels, scope, user_id, model, held, charged,"
				" cost_usd, outcome, held_at, recorded_at, card_id, usage, reason, origin, xid"
				" FROM quota.events WHERE hold_id = $1 AND held_at >= $2 AND held_at < $3"
				" ORDER BY seq",
		.argument_count = 3,
		.argument_types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	TimestampTz held_at = hold_id_time(id);
	Datum arguments[] = {UUIDPGetDatum(id), TimestampTzGetDatum(held_at),
						 TimestampTzGetDatum(held_at + 1000)};
	FoundEvents found = {CurrentMemoryContext, NULL, 0};
	QueryScope scope;

	query_begin(&scope);
	query_run(&scope, &query, arguments, NULL, collect_event, &found);
	query_end(&scope);
	*events = found.events;
	return found.count;
}

typedef struct FoundHolds
{
	MemoryContext context;
	Hold *holds;
	int count;
} FoundHolds;

static void
collect_expired(Datum *values, bool *nulls, void *arg)
{
	FoundHolds *found = arg;
	MemoryContext old = MemoryContextSwitchTo(found->context);
	Hold *hold = &found->holds[found->count++];

	(void) nulls;
	memset(hold, 0, sizeof(Hold));
	hold->id = *DatumGetUUIDP(values[0]);
	spender_from_datums(&hold->spender, values[1], values[2], values[3],
						text_or_null(values[4], nulls[4]), text_or_null(values[5], nulls[5]));
	hold->amount = copy_or_null(values[6], nulls[6]);
	hold->held_at = DatumGetTimestampTz(values[7]);
	MemoryContextSwitchTo(old);
}

/*
 * Roots of which this backend knows that no hold can have expired yet: the earliest
 * of its holds had not, and one that was made since lives for a second at least
 * (the least that xavier_quota.min_ttl can be). A root that refuses request after
 * request is then not scanned for each of them. A hold whose transaction was open
 * all the while may so be found a second late.
 */
typedef struct QuietRoot
{
	Oid database;
	int64 root_id;
	TimestampTz since;
	TimestampTz until;
} QuietRoot;

#define QUIET_ROOTS 64

static QuietRoot quiet_roots[QUIET_ROOTS];

static QuietRoot *
quiet_root(uint32 root_hash)
{
	return &quiet_roots[root_hash % QUIET_ROOTS];
}

static void
collect_earliest(Datum *values, bool *nulls, void *arg)
{
	if (!nulls[0])
		*(TimestampTz *) arg = DatumGetTimestampTz(values[0]);
}

/* Remembers how long the root will be quiet, as its holds are in the scope's snapshot. */
static void
note_quiet_root(QueryScope *scope, uint32 root_hash, int64 root_id, TimestampTz now,
				Datum *arguments)
{
	static PreparedQuery query = {
		.text = "SELECT pg_catalog.min(expires_at) FROM quota.holds"
				" WHERE hold_id BETWEEN $1 AND $2 AND root_id = $3",
		.argument_count = 3,
		.argument_types = {UUIDOID, UUIDOID, INT8OID},
	};
	QuietRoot *quiet = quiet_root(root_hash);
	TimestampTz earliest = DT_NOEND;

	query_run(scope, &query, arguments, NULL, collect_earliest, &earliest);
	quiet->database = MyDatabaseId;
	quiet->root_id = root_id;
	quiet->since = now;
	quiet->until = Min(earliest, now + USECS_PER_SEC);
}

/*
 * ledger_forget_quiet
 *		Has the next look for expired holds of a root ask the tables, whatever this session
 *		remembers: upkeep leaves none behind.
 */
void
ledger_forget_quiet(uint32 root_hash)
{
	quiet_root(root_hash)->until = DT_NOBEGIN;
}

/*
 * ledger_find_expired
 *		Returns how many open holds of a root are past their time, at most limit,
 *		and these holds, oldest first.
 */
int
ledger_find_expired(uint32 root_hash, int64 root_id, TimestampTz now, int limit, Hold **holds)
{
	static PreparedQuery query = {
		.text = "SELECT hold_id, root_id, levels, scope, user_id, model, amount, held_at"
				" FROM quota.holds WHERE hold_id BETWEEN $1 AND $2 AND root_id = $3"
				" AND expires_at <= $4 ORDER BY hold_id LIMIT $5",
		.argument_count = 5,
		.argument_types = {UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID, INT8OID},
	};
	const QuietRoot *quiet = quiet_root(root_hash);
	pg_uuid_t least;
	pg_uuid_t greatest;
	Datum arguments[] = {UUIDPGetDatum(&least), UUIDPGetDatum(&greatest), Int64GetDatum(root_id),
						 TimestampTzGetDatum(now), Int64GetDatum(limit)};
	FoundHolds found = {CurrentMemoryContext, NULL, 0};
	QueryScope scope;

	*holds = NULL;
	if (quiet->database == MyDatabaseId && quiet->root_id == root_id && now >= quiet->since &&
		now < quiet->until)
		return 0;

	found.holds = palloc(sizeof(Hold) * limit);
	hold_id_least(root_hash, DT_NOBEGIN, &least);
	hold_id_greatest(root_hash, DT_NOEND, &greatest);
	query_begin(&scope);
	query_run(&scope, &query, arguments, NULL, collect_expired, &found);
	/* What this transaction has closed may come back: it knows nothing for sure. */
	if (found.count == 0 && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		note_quiet_root(&scope, root_hash, root_id, now, arguments);
	query_end(&scope);
	*holds = found.holds;
	return found.count;
}
