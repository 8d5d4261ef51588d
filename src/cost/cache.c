/*
 * cache.c
 *		Compiled cards, the credit rate, price adjustments and counted measures, kept
 *		by each backend.
 *
 * Everything is read from the tables on first use and dropped together when one of
 * the four tables changes. Row triggers on the tables register a relcache
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
 * The callback only marks the cache as stale. It is dropped by cache_begin(), at the
 * start of a computation, so that pointers into it stay valid throughout one.
 */
#include "cost/cache.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(quota_cost_changed);

/* Columns of quota.rate_cards, price_adjustments, credit_rates and resources. */
#define RATE_CARDS_CARD_ID 1
#define RATE_CARDS_MODEL 2
#define RATE_CARDS_VALID_FROM 3
#define RATE_CARDS_VALID_TO 4
#define RATE_CARDS_CARD 5
#define ADJUSTMENTS_ROOT_ID 1
#define ADJUSTMENTS_VALID_FROM 2
#define ADJUSTMENTS_VALID_TO 3
#define ADJUSTMENTS_FACTOR 4
#define CREDIT_RATES_VALID_FROM 1
#define CREDIT_RATES_CREDITS_PER_USD 2
#define RESOURCES_RESOURCE 1
#define RESOURCES_KIND 3

/* Beyond this many cards or roots the cache starts afresh, to bound its memory. */
#define CACHE_MAX_ENTRIES 20000

/* The scale at which the table constraints hold rates and factors. */
#define RATE_SCALE 9

/* A span of time in which one card, rate or factor is valid. */
typedef struct CacheSpan
{
	TimestampTz from;
	TimestampTz to; /* DT_NOEND: open */
	int64 card_id;  /* of a card */
	CardPlan *plan; /* of a card, once it has been looked for */
	int128 factor;  /* of a rate or adjustment: factor * 10^-decimals */
	int decimals;
	char *text; /* of a rate or adjustment */
} CacheSpan;

typedef struct CacheSpans
{
	int count;
	int room;
	CacheSpan *items;
} CacheSpans;

typedef struct CacheModel
{
	char model[MODEL_SIZE]; /* MUST BE FIRST */
	CacheSpans versions;
} CacheModel;

typedef struct CacheCard
{
	int64 card_id; /* MUST BE FIRST */
	CardPlan *plan;
} CacheCard;

typedef struct CacheRoot
{
	int64 root_id; /* MUST BE FIRST */
	CacheSpans adjustments;
} CacheRoot;

typedef enum CacheRelation
{
	RELATION_RATE_CARDS,
	RELATION_ADJUSTMENTS,
	RELATION_CREDIT_RATES,
	RELATION_RESOURCES,
	RELATION_COUNT
} CacheRelation;

static const char *const relation_names[RELATION_COUNT] = {"rate_cards", "price_adjustments",
														   "credit_rates", "resources"};

static bool cache_is_fresh = false;
static uint64 cache_invalidations = 0;
static MemoryContext cache_context = NULL; /* all of the below */
static Oid relation_oids[RELATION_COUNT];
static HTAB *cache_models = NULL;
static HTAB *cache_cards = NULL;
static HTAB *cache_roots = NULL;
static CacheSpans cache_rates;
static bool cache_has_rates;
static CountedResource *cache_counted;
static int cache_counted_count; /* -1: not read yet */

/*
 * The resources an amount can have, in the order of keys in jsonb. Those that follow
 * from measures are counted where a flow of that name is registered.
 */
static const CountedResource countable[] = {
	{"calls", COUNTED_CALLS, -1},
	{"pages", MEASURE_PAGES, -1},
	{"credit", COUNTED_CREDIT, -1},
	{"images", MEASURE_IMAGES, MEASURE_OUTPUT_IMAGES},
	{"tokens", MEASURE_INPUT_TOKENS, MEASURE_OUTPUT_TOKENS},
	{"characters", MEASURE_CHARACTERS, MEASURE_OUTPUT_CHARACTERS},
	{"input_tokens", MEASURE_INPUT_TOKENS, -1},
	{"audio_seconds", MEASURE_AUDIO_SECONDS, MEASURE_AUDIO_INPUT_SECONDS},
	{"output_tokens", MEASURE_OUTPUT_TOKENS, -1},
	{"video_seconds", MEASURE_VIDEO_SECONDS, -1},
};

/*
 * cache_invalidate
 *		Relcache callback: something about a relation has changed, or about all.
 */
static void
cache_invalidate(Datum arg pg_attribute_unused(), Oid relation)
{
	bool concerned = relation == InvalidOid;

	for (int i = 0; i < RELATION_COUNT; i++)
		concerned |= relation_oids[i] == relation;
	if (concerned)
	{
		cache_is_fresh = false;
		cache_invalidations++;
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

static HTAB *
cache_create_table(const char *name, Size key_size, Size entry_size, int flags)
{
	HASHCTL control = {.keysize = key_size, .entrysize = entry_size, .hcxt = cache_context};

	return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

/*
 * cache_reset
 *		Drops everything and looks the tables up. An error on the way leaves the cache
 *		stale, as does an invalidation of a table that comes in between.
 */
static void
cache_reset(void)
{
	Oid schema = get_namespace_oid(QUOTA_SCHEMA, false);
	uint64 before = cache_invalidations;

	cache_is_fresh = false;
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext, "xavier_quota cost cache",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(cache_context);
	cache_models =
		cache_create_table("xavier_quota models", MODEL_SIZE, sizeof(CacheModel), HASH_STRINGS);
	cache_cards =
		cache_create_table("xavier_quota cards", sizeof(int64), sizeof(CacheCard), HASH_BLOBS);
	cache_roots =
		cache_create_table("xavier_quota roots", sizeof(int64), sizeof(CacheRoot), HASH_BLOBS);
	memset(&cache_rates, 0, sizeof(cache_rates));
	cache_has_rates = false;
	cache_counted = NULL;
	cache_counted_count = -1;

	for (int i = 0; i < RELATION_COUNT; i++)
		relation_oids[i] = get_relname_relid(relation_names[i], schema);
	cache_is_fresh = before == cache_invalidations;
}

/*
 * cache_begin
 *		Starts a computation: what changed before it is seen from here on, and what
 *		the cache gives stays in place until the next call.
 */
void
cache_begin(void)
{
	if (!cache_is_fresh || hash_get_num_entries(cache_cards) > CACHE_MAX_ENTRIES ||
		hash_get_num_entries(cache_roots) > CACHE_MAX_ENTRIES)
		cache_reset();
}

/* A scan of one of the tables. */
typedef struct CacheScan
{
	Relation relation;
	Snapshot snapshot;
	SysScanDesc scan;
} CacheScan;

/*
 * scan_begin
 *		Starts a scan with the latest snapshot, through an index where one is named.
 */
static void
scan_begin(CacheScan *scan, CacheRelation relation, const char *index, int nkeys, ScanKey keys)
{
	Oid index_oid = InvalidOid;

	scan->relation = table_open(relation_oids[relation], AccessShareLock);
	if (index != NULL)
		index_oid = get_relname_relid(index, RelationGetNamespace(scan->relation));
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan->scan = systable_beginscan(scan->relation, index_oid, OidIsValid(index_oid),
									scan->snapshot, nkeys, keys);
}

static HeapTuple
scan_next(CacheScan *scan)
{
	return systable_getnext(scan->scan);
}

static Datum
scan_value(CacheScan *scan, HeapTuple tuple, int column, bool *isnull)
{
	return heap_getattr(tuple, column, RelationGetDescr(scan->relation), isnull);
}

static void
scan_end(CacheScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	table_close(scan->relation, AccessShareLock);
}

/*
 * spans_add
 *		Adds an empty span, allocated in the cache.
 */
static CacheSpan *
spans_add(CacheSpans *spans)
{
	if (spans->count == spans->room)
	{
		spans->room = Max(2 * spans->room, 2);
		if (spans->items == NULL)
			spans->items = MemoryContextAlloc(cache_context, spans->room * sizeof(CacheSpan));
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
static CacheSpan *
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
 * span_set_factor
 *		Notes a rate or factor, which the constraints of its table bound.
 */
static void
span_set_factor(CacheSpan *span, Datum numeric)
{
	DecimalStatus status =
		decimal_from_numeric(DatumGetNumeric(numeric), RATE_SCALE, &span->factor);
	char text[DECIMAL_TEXT_SIZE];

	if (status != DECIMAL_OK || span->factor < 0)
		elog(ERROR, "rate or factor out of range");
	decimal_to_cstring(span->factor, RATE_SCALE, text);
	span->text = MemoryContextStrdup(cache_context, text);
	span->decimals = RATE_SCALE;
	while (span->decimals > 0 && span->factor % 10 == 0)
	{
		span->factor /= 10;
		span->decimals--;
	}
}

/*
 * cache_read_card
 *		Reads and compiles one version of a card; NULL if it does not exist.
 */
static CardPlan *
cache_read_card(int64 card_id)
{
	CacheScan scan;
	ScanKeyData key;
	HeapTuple tuple;
	CardPlan *plan = NULL;

	ScanKeyInit(&key, RATE_CARDS_CARD_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(card_id));
	scan_begin(&scan, RELATION_RATE_CARDS, "rate_cards_pkey", 1, &key);
	tuple = scan_next(&scan);
	if (tuple != NULL)
	{
		bool isnull;
		char *model = TextDatumGetCString(scan_value(&scan, tuple, RATE_CARDS_MODEL, &isnull));
		Jsonb *card = DatumGetJsonbP(scan_value(&scan, tuple, RATE_CARDS_CARD, &isnull));
		MemoryContext caller = MemoryContextSwitchTo(cache_context);

		plan = card_compile(card, card_id, model);
		MemoryContextSwitchTo(caller);
	}
	scan_end(&scan);
	return plan;
}

/*
 * cache_find_card
 *		Returns one version of a card, compiled; NULL if it does not exist.
 */
CardPlan *
cache_find_card(int64 card_id)
{
	CacheCard *entry = hash_search(cache_cards, &card_id, HASH_FIND, NULL);
	CardPlan *plan;

	if (entry != NULL)
		return entry->plan;
	plan = cache_read_card(card_id);
	if (plan != NULL)
	{
		entry = hash_search(cache_cards, &card_id, HASH_ENTER, NULL);
		entry->plan = plan;
	}
	return plan;
}

/*
 * cache_read_versions
 *		Reads when each version of a model's card is valid.
 */
static void
cache_read_versions(const char *model, CacheSpans *versions)
{
	CacheScan scan;
	ScanKeyData key;
	HeapTuple tuple;

	memset(versions, 0, sizeof(CacheSpans));
	ScanKeyInit(&key, RATE_CARDS_MODEL, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(model));
	scan_begin(&scan, RELATION_RATE_CARDS, "rate_cards_model_idx", 1, &key);
	while ((tuple = scan_next(&scan)) != NULL)
	{
		CacheSpan *span = spans_add(versions);
		bool isnull;
		Datum to;

		span->card_id = DatumGetInt64(scan_value(&scan, tuple, RATE_CARDS_CARD_ID, &isnull));
		span->from = DatumGetTimestampTz(scan_value(&scan, tuple, RATE_CARDS_VALID_FROM, &isnull));
		to = scan_value(&scan, tuple, RATE_CARDS_VALID_TO, &isnull);
		span->to = isnull ? DT_NOEND : DatumGetTimestampTz(to);
	}
	scan_end(&scan);
}

/*
 * cache_find_model
 *		Returns the card of the model that is valid at the instant; NULL if there is
 *		none. Unknown names are not remembered: there is no end to them.
 */
CardPlan *
cache_find_model(const char *model, TimestampTz at)
{
	CacheModel *entry;
	CacheSpan *version;

	if (strlen(model) >= MODEL_SIZE)
		return NULL;
	entry = hash_search(cache_models, model, HASH_FIND, NULL);
	if (entry == NULL)
	{
		CacheSpans versions;

		cache_read_versions(model, &versions);
		if (versions.count == 0)
			return NULL;
		entry = hash_search(cache_models, model, HASH_ENTER, NULL);
		entry->versions = versions;
	}
	version = spans_find(&entry->versions, at);
	if (version == NULL)
		return NULL;
	if (version->plan == NULL)
		version->plan = cache_find_card(version->card_id);
	return version->plan;
}

static int
compare_spans(const void *a, const void *b)
{
	const CacheSpan *span_a = a;
	const CacheSpan *span_b = b;

	return span_a->from < span_b->from ? -1 : span_a->from > span_b->from;
}

/*
 * cache_read_rates
 *		Reads all credit rates; each is valid until the next.
 */
static void
cache_read_rates(void)
{
	CacheScan scan;
	HeapTuple tuple;
	CacheSpans rates = {0};

	scan_begin(&scan, RELATION_CREDIT_RATES, NULL, 0, NULL);
	while ((tuple = scan_next(&scan)) != NULL)
	{
		CacheSpan *span = spans_add(&rates);
		bool isnull;

		span->from =
			DatumGetTimestampTz(scan_value(&scan, tuple, CREDIT_RATES_VALID_FROM, &isnull));
		span->to = DT_NOEND;
		span_set_factor(span, scan_value(&scan, tuple, CREDIT_RATES_CREDITS_PER_USD, &isnull));
	}
	scan_end(&scan);
	if (rates.count > 0)
		qsort(rates.items, rates.count, sizeof(CacheSpan), compare_spans);
	for (int i = 1; i < rates.count; i++)
		rates.items[i - 1].to = rates.items[i].from;
	cache_rates = rates;
	cache_has_rates = true;
}

/*
 * cache_find_adjustment
 *		Returns the price adjustment of a root at the instant; NULL if there is none.
 */
static const CacheSpan *
cache_find_adjustment(int64 root_id, TimestampTz at)
{
	CacheRoot *entry = hash_search(cache_roots, &root_id, HASH_FIND, NULL);

	if (entry == NULL)
	{
		CacheSpans adjustments = {0};
		CacheScan scan;
		ScanKeyData key;
		HeapTuple tuple;

		ScanKeyInit(&key, ADJUSTMENTS_ROOT_ID, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(root_id));
		scan_begin(&scan, RELATION_ADJUSTMENTS, "price_adjustments_pkey", 1, &key);
		while ((tuple = scan_next(&scan)) != NULL)
		{
			CacheSpan *span = spans_add(&adjustments);
			bool isnull;
			Datum to;

			span->from =
				DatumGetTimestampTz(scan_value(&scan, tuple, ADJUSTMENTS_VALID_FROM, &isnull));
			to = scan_value(&scan, tuple, ADJUSTMENTS_VALID_TO, &isnull);
			span->to = isnull ? DT_NOEND : DatumGetTimestampTz(to);
			span_set_factor(span, scan_value(&scan, tuple, ADJUSTMENTS_FACTOR, &isnull));
		}
		scan_end(&scan);
		entry = hash_search(cache_roots, &root_id, HASH_ENTER, NULL);
		entry->adjustments = adjustments;
	}
	return spans_find(&entry->adjustments, at);
}

/*
 * cache_find_rate
 *		Gives how many credits a dollar is for a root (0: no root) at the instant.
 */
void
cache_find_rate(int64 root_id, TimestampTz at, CreditRate *rate)
{
	const CacheSpan *credits;
	const CacheSpan *adjustment = NULL;

	if (!cache_has_rates)
		cache_read_rates();
	credits = spans_find(&cache_rates, at);
	if (credits == NULL)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("no credit rate is valid at %s", timestamptz_to_str(at)),
						errhint("Set one with quota.set_credit_rate().")));
	if (root_id != 0)
		adjustment = cache_find_adjustment(root_id, at);
	rate->factor = credits->factor;
	rate->decimals = credits->decimals;
	rate->credits_per_usd = credits->text;
	rate->adjustment = NULL;
	if (adjustment != NULL)
	{
		rate->factor *= adjustment->factor;
		rate->decimals += adjustment->decimals;
		rate->adjustment = adjustment->text;
	}
}

/*
 * cache_read_counted
 *		Reads which flows are registered under the name of a measure.
 */
static void
cache_read_counted(void)
{
	CacheScan scan;
	HeapTuple tuple;
	bool registered[lengthof(countable)] = {false};
	CountedResource *counted;
	int count = 0;

	scan_begin(&scan, RELATION_RESOURCES, NULL, 0, NULL);
	while ((tuple = scan_next(&scan)) != NULL)
	{
		bool isnull;
		char *name = TextDatumGetCString(scan_value(&scan, tuple, RESOURCES_RESOURCE, &isnull));
		char *kind = TextDatumGetCString(scan_value(&scan, tuple, RESOURCES_KIND, &isnull));

		for (int i = 0; i < (int) lengthof(countable); i++)
			registered[i] |= strcmp(kind, "flow") == 0 && strcmp(name, countable[i].name) == 0;
	}
	scan_end(&scan);
	counted = MemoryContextAlloc(cache_context, sizeof(countable));
	for (int i = 0; i < (int) lengthof(countable); i++)
	{
		if (registered[i] || countable[i].first < 0)
			counted[count++] = countable[i];
	}
	cache_counted = counted;
	cache_counted_count = count;
}

/*
 * cache_counted_resources
 *		Returns the resources that an amount carries, in the order of keys in jsonb.
 */
const CountedResource *
cache_counted_resources(int *count)
{
	if (cache_counted_count < 0)
		cache_read_counted();
	*count = cache_counted_count;
	return cache_counted;
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
