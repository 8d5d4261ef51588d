/*
 * cache.c
 *		Compiled cards, the credit rate, price adjustments and counted measures, kept
 *		by each backend: when they are looked up again.
 *
 * Everything is read from the tables on first use. What comes from one of the
 * tables is dropped when that table changes; of rate cards, only what has changed is
 * compiled again (cache_cards.c). Row triggers on the tables register a relcache
 * invalidation (cost_changed), so that every backend, preloaded or not, hears of a
 * change when it next starts a transaction or takes a lock, and the backend that
 * makes the change at its next command. Aborts are covered: a backend that has seen
 * its own uncommitted change hears of the invalidation again when it rolls back.
 *
 * The tables are read with the latest snapshot, whatever the isolation level, as
 * PostgreSQL reads its own catalogs: a cache filled from an old snapshot would
 * outlive the transaction that needed it, and its invalidation would have come
 * before it was filled.
 *
 * The callback only marks a table as changed. Its part is dropped by cache_begin(), at
 * the start of a computation, so that pointers into it stay valid throughout one.
 */
#include "cost/cache_internal.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(quota_cost_changed);

/* One of the tables, and what is kept of it. */
typedef struct CachePart
{
	const char *name;
	void (*begin)(MemoryContext context);
	bool (*is_full)(void); /* takes too much memory; NULL: never */
	Oid relation;
	bool changed;
	uint64 invalidations; /* heard of */
	MemoryContext context;
} CachePart;

static CachePart parts[RELATION_COUNT] = {
	[RELATION_RATE_CARDS] = {.name = "rate_cards",
							 .begin = cards_begin,
							 .is_full = cards_are_too_many,
							 .changed = true},
	[RELATION_MODEL_ALIASES] = {.name = "model_aliases",
								.begin = names_begin,
								.is_full = names_are_too_many,
								.changed = true},
	[RELATION_ADJUSTMENTS] = {.name = "price_adjustments",
							  .begin = adjustments_begin,
							  .is_full = adjustments_are_too_many,
							  .changed = true},
	[RELATION_CREDIT_RATES] = {.name = "credit_rates",
							   .begin = credit_rates_begin,
							   .changed = true},
	[RELATION_RESOURCES] = {.name = "resources", .begin = resources_begin, .changed = true},
	[RELATION_HISTOGRAM] = {.name = "usage_histogram",
							.begin = history_begin,
							.is_full = history_is_too_large,
							.changed = true},
};

static bool cache_is_fresh = false; /* no part is changed */

/*
 * cache_invalidate
 *		Relcache callback: something about a relation has changed, or about all.
 */
static void
cache_invalidate(Datum arg pg_attribute_unused(), Oid relation)
{
	for (int i = 0; i < RELATION_COUNT; i++)
	{
		if (relation == InvalidOid || parts[i].relation == relation)
		{
			parts[i].changed = true;
			parts[i].invalidations++;
			cache_is_fresh = false;
		}
	}
}

/*
 * cache_init
 *		Registers the callback; called once when the library is loaded.
 */
void
cache_init(void)
{
	CacheRegisterRelcacheCallback(cache_invalidate, (Datum) 0);
}

/*
 * cache_create_table
 *		Makes a hash table in a context.
 */
HTAB *
cache_create_table(const char *name, MemoryContext context, Size key_size, Size entry_size,
				   int flags)
{
	HASHCTL control = {.keysize = key_size, .entrysize = entry_size, .hcxt = context};

	return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

/*
 * part_begin
 *		Drops what is kept of a table, and looks the table up. An error on the way
 *		leaves it changed, as does an invalidation that comes in between.
 */
static void
part_begin(CachePart *part, Oid schema)
{
	uint64 before = part->invalidations;
	Oid relation;

	if (part->context == NULL)
		part->context = AllocSetContextCreate(CacheMemoryContext, "xavier_quota cost cache",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(part->context);
	part->begin(part->context);

	/* Another CREATE EXTENSION numbers its cards from the start. */
	relation = get_relname_relid(part->name, schema);
	if (part == &parts[RELATION_RATE_CARDS] && relation != part->relation)
		cards_drop_compiled();
	part->relation = relation;
	part->changed = before != part->invalidations;
}

/*
 * cache_is_current
 *		Whether no part has changed and none has grown too large.
 */
static bool
cache_is_current(void)
{
	for (int i = 0; i < RELATION_COUNT && cache_is_fresh; i++)
	{
		if (parts[i].is_full != NULL && parts[i].is_full())
		{
			parts[i].changed = true;
			cache_is_fresh = false;
		}
	}
	return cache_is_fresh;
}

/*
 * cache_begin
 *		Starts a computation: what changed before it is seen from here on, and what
 *		the cache gives stays in place until the next call.
 */
void
cache_begin(void)
{
	Oid schema;

	if (cache_is_current())
		return;
	schema = get_namespace_oid(QUOTA_SCHEMA, false);
	for (int i = 0; i < RELATION_COUNT; i++)
	{
		if (parts[i].changed)
			part_begin(&parts[i], schema);
	}

	/* What has changed meanwhile is dropped by the next computation. */
	cache_is_fresh = true;
	for (int i = 0; i < RELATION_COUNT; i++)
		cache_is_fresh &= !parts[i].changed;
}

/*
 * cache_scan_begin
 *		Starts a scan with the latest snapshot, through an index where one is named.
 */
void
cache_scan_begin(CacheScan *scan, CacheRelation relation, const char *index, int nkeys,
				 ScanKey keys)
{
	Oid index_oid = InvalidOid;

	scan->relation = table_open(parts[relation].relation, AccessShareLock);
	if (index != NULL)
		index_oid = get_relname_relid(index, RelationGetNamespace(scan->relation));
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan->scan = systable_beginscan(scan->relation, index_oid, OidIsValid(index_oid),
									scan->snapshot, nkeys, keys);
}

HeapTuple
cache_scan_next(CacheScan *scan)
{
	return systable_getnext(scan->scan);
}

Datum
cache_scan_value(CacheScan *scan, HeapTuple tuple, int column, bool *isnull)
{
	return heap_getattr(tuple, column, RelationGetDescr(scan->relation), isnull);
}

void
cache_scan_end(CacheScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	table_close(scan->relation, AccessShareLock);
}

/*
 * spans_add
 *		Adds an empty span, allocated in the context.
 */
CacheSpan *
spans_add(CacheSpans *spans, MemoryContext context)
{
	if (spans->count == spans->room)
	{
		spans->room = Max(2 * spans->room, 2);
		if (spans->items == NULL)
			spans->items = MemoryContextAlloc(context, spans->room * sizeof(CacheSpan));
		else
			spans->items = repalloc(spans->items, spans->room * sizeof(CacheSpan));
	}
	memset(&spans->items[spans->count], 0, sizeof(CacheSpan));
	return &spans->items[spans->count++];
}

/*
 * spans_find
 *		Returns the span that contains the instant, NULL if there is none. Spans of
 *		one thing do not overlap, and empty ones contain nothing.
 */
CacheSpan *
spans_find(const CacheSpans *spans, TimestampTz at)
{
	for (int i = spans->count - 1; i >= 0; i--)
	{
		if (spans->items[i].from <= at && at < spans->items[i].to)
			return &spans->items[i];
	}
	return NULL;
}

/*
 * quota_cost_changed
 *		Row and TRUNCATE trigger of the tables: tells every backend, on commit, that
 *		the table has changed.
 */
Datum
quota_cost_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("quota._cost_changed() can only be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
