/*
 * cache_rates.c
 *		The credit rate, price adjustments and counted measures, kept by each backend.
 *
 * Each is read from its table on first use, whole but for price adjustments, which are
 * read by root; cache.c says when again.
 */
#include "cost/cache_internal.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Columns of quota.price_adjustments, credit_rates and resources. */
#define ADJUSTMENTS_ROOT_ID 1
#define ADJUSTMENTS_VALID_FROM 2
#define ADJUSTMENTS_VALID_TO 3
#define ADJUSTMENTS_FACTOR 4
#define CREDIT_RATES_VALID_FROM 1
#define CREDIT_RATES_CREDITS_PER_USD 2
#define RESOURCES_RESOURCE 1
#define RESOURCES_KIND 3

/* The scale at which the table constraints hold rates and factors. */
#define RATE_SCALE 9

typedef struct CacheRoot
{
	int64 root_id; /* MUST BE FIRST */
	CacheSpans adjustments;
} CacheRoot;

static MemoryContext adjustments_context;
static HTAB *cache_roots = NULL;
static MemoryContext credit_rates_context;
static CacheSpans cache_rates;
static bool cache_has_rates;
static MemoryContext resources_context;
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

void
adjustments_begin(MemoryContext context)
{
	adjustments_context = context;
	cache_roots = cache_create_table("xavier_quota roots", context, sizeof(int64),
									 sizeof(CacheRoot), HASH_BLOBS);
}

/*
 * adjustments_are_too_many
 *		Whether the adjustments of so many roots are kept that it takes too much memory.
 */
bool
adjustments_are_too_many(void)
{
	return cache_roots != NULL && hash_get_num_entries(cache_roots) > CACHE_MAX_ENTRIES;
}

void
credit_rates_begin(MemoryContext context)
{
	credit_rates_context = context;
	memset(&cache_rates, 0, sizeof(cache_rates));
	cache_has_rates = false;
}

void
resources_begin(MemoryContext context)
{
	resources_context = context;
	cache_counted = NULL;
	cache_counted_count = -1;
}

/*
 * span_set_factor
 *		Notes a rate or factor, which the constraints of its table bound.
 */
static void
span_set_factor(CacheSpan *span, MemoryContext context, Datum numeric)
{
	DecimalStatus status =
		decimal_from_numeric(DatumGetNumeric(numeric), RATE_SCALE, &span->factor);
	char text[DECIMAL_TEXT_SIZE];

	if (status != DECIMAL_OK || span->factor < 0)
		elog(ERROR, "rate or factor out of range");
	decimal_to_cstring(span->factor, RATE_SCALE, text);
	span->text = MemoryContextStrdup(context, text);
	span->decimals = RATE_SCALE;
	while (span->decimals > 0 && span->factor % 10 == 0)
	{
		span->factor /= 10;
		span->decimals--;
	}
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

	cache_scan_begin(&scan, RELATION_CREDIT_RATES, NULL, 0, NULL);
	while ((tuple = cache_scan_next(&scan)) != NULL)
	{
		CacheSpan *span = spans_add(&rates, credit_rates_context);
		bool isnull;

		span->from =
			DatumGetTimestampTz(cache_scan_value(&scan, tuple, CREDIT_RATES_VALID_FROM, &isnull));
		span->to = DT_NOEND;
		span_set_factor(span, credit_rates_context,
						cache_scan_value(&scan, tuple, CREDIT_RATES_CREDITS_PER_USD, &isnull));
	}
	cache_scan_end(&scan);
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
		cache_scan_begin(&scan, RELATION_ADJUSTMENTS, "price_adjustments_pkey", 1, &key);
		while ((tuple = cache_scan_next(&scan)) != NULL)
		{
			CacheSpan *span = spans_add(&adjustments, adjustments_context);
			bool isnull;
			Datum to;

			span->from = DatumGetTimestampTz(
				cache_scan_value(&scan, tuple, ADJUSTMENTS_VALID_FROM, &isnull));
			to = cache_scan_value(&scan, tuple, ADJUSTMENTS_VALID_TO, &isnull);
			span->to = isnull ? DT_NOEND : DatumGetTimestampTz(to);
			span_set_factor(span, adjustments_context,
							cache_scan_value(&scan, tuple, ADJUSTMENTS_FACTOR, &isnull));
		}
		cache_scan_end(&scan);
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

	cache_scan_begin(&scan, RELATION_RESOURCES, NULL, 0, NULL);
	while ((tuple = cache_scan_next(&scan)) != NULL)
	{
		bool isnull;
		char *name =
			TextDatumGetCString(cache_scan_value(&scan, tuple, RESOURCES_RESOURCE, &isnull));
		char *kind = TextDatumGetCString(cache_scan_value(&scan, tuple, RESOURCES_KIND, &isnull));

		for (int i = 0; i < (int) lengthof(countable); i++)
			registered[i] |= strcmp(kind, "flow") == 0 && strcmp(name, countable[i].name) == 0;
	}
	cache_scan_end(&scan);
	counted = MemoryContextAlloc(resources_context, sizeof(countable));
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
