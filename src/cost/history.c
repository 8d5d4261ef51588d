/*
 * history.c
 *		What generations have used of what requests leave open.
 *
 * The fold counts, for each root, model and week, what each settled generation has used, in
 * buckets (histogram.c), in the transaction that rolls the events up. So every event
 * is counted once, whatever becomes of the job, and merging is adding. An estimate
 * takes the median of the running week and the four before it: what is older neither
 * counts nor is kept, so that expectations follow change. Nobody's expectation depends
 * on what another root has used.
 *
 * What is read is kept by root and card until the next change of the table. A fold
 * changes it once, and tells every backend, which then reads some hundred rows again at
 * the next estimate of that root and model; between two folds an expectation costs a
 * look into a hash table.
 */
#include "cost/history.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "cost/cache_internal.h"
#include "cost/estimate.h"
#include "cost/histogram.h"
#include "errors.h"
#include "types/micros.h"

PG_FUNCTION_INFO_V1(quota_observations);
PG_FUNCTION_INFO_V1(quota_histogram_bucket);
PG_FUNCTION_INFO_V1(quota_histogram_value);

/* Columns of quota.usage_histogram. */
#define HISTOGRAM_ROOT_ID 1
#define HISTOGRAM_MODEL 2
#define HISTOGRAM_QUANTITY 3
#define HISTOGRAM_WEEK 4
#define HISTOGRAM_BUCKET 5
#define HISTOGRAM_EVENTS 6

/* Fewer are no distribution. */
#define MINIMUM_COUNT 20

/* Weeks before the running one that count. */
#define WEEKS_BEFORE 4

#define DAYS_PER_WEEK 7

/* The first Monday of PostgreSQL's days, which begin with Saturday, 1 January 2000. */
#define FIRST_MONDAY 2

static const struct
{
	const char *name;
	int measure; /* of usage, or -1 */
} learned[LEARNED_COUNT] = {
	[LEARNED_OUTPUT_TOKENS] = {"output_tokens", MEASURE_OUTPUT_TOKENS},
	[LEARNED_REASONING_TOKENS] = {"reasoning_tokens", MEASURE_REASONING_TOKENS},
	[LEARNED_AUDIO_OUTPUT_TOKENS] = {"audio_output_tokens", MEASURE_AUDIO_OUTPUT_TOKENS},
	[LEARNED_IMAGE_OUTPUT_TOKENS] = {"image_output_tokens", MEASURE_IMAGE_OUTPUT_TOKENS},
	[LEARNED_VIDEO_OUTPUT_TOKENS] = {"video_output_tokens", MEASURE_VIDEO_OUTPUT_TOKENS},
	[LEARNED_DURATION_SECONDS] = {"duration_seconds", MEASURE_DURATION_SECONDS},
	[LEARNED_N] = {"n", MEASURE_N},
	[LEARNED_TOKENS_PER_BYTE] = {"tokens_per_byte", -1},
	[LEARNED_CEILING_RATIO] = {"charged_of_ceiling", -1},
	[LEARNED_EXPECTED_RATIO] = {"charged_of_expected", -1},
};

typedef struct HistoryKey
{
	int64 root_id;
	int64 card_id;
} HistoryKey;

typedef struct HistoryEntry
{
	HistoryKey key; /* MUST BE FIRST */
	DateADT week;   /* the last that counts */
	History history;
} HistoryEntry;

static HTAB *entries = NULL;

/*
 * history_begin
 *		See cache_internal.h.
 */
void
history_begin(MemoryContext context)
{
	entries = cache_create_table("xavier_quota history", context, sizeof(HistoryKey),
								 sizeof(HistoryEntry), HASH_BLOBS);
}

/*
 * history_is_too_large
 *		Whether so much is kept that it takes too much memory.
 */
bool
history_is_too_large(void)
{
	return entries != NULL && hash_get_num_entries(entries) > CACHE_MAX_ENTRIES;
}

/*
 * week_of
 *		Returns the Monday, in UTC, of the week of an instant.
 */
static DateADT
week_of(TimestampTz at)
{
	int64 day = at / USECS_PER_DAY - (at % USECS_PER_DAY < 0);
	int64 weekday = (day - FIRST_MONDAY) % DAYS_PER_WEEK;

	return (DateADT) (day - weekday - (weekday < 0 ? DAYS_PER_WEEK : 0));
}

static int
learned_find(const char *name)
{
	int i = 0;

	while (i < LEARNED_COUNT && strcmp(learned[i].name, name) != 0)
		i++;
	return i;
}

/*
 * history_read
 *		Adds up the weeks that count and takes the medians.
 */
static void
history_read(int64 root_id, const char *model, DateADT week, History *history)
{
	int64(*counts)[HISTOGRAM_BUCKETS] = palloc0(sizeof(*counts) * LEARNED_COUNT);
	CacheScan scan;
	ScanKeyData keys[2];
	HeapTuple tuple;

	memset(history, 0, sizeof(History));
	ScanKeyInit(&keys[0], HISTOGRAM_ROOT_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(root_id));
	ScanKeyInit(&keys[1], HISTOGRAM_MODEL, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(model));
	cache_scan_begin(&scan, RELATION_HISTOGRAM, "usage_histogram_pkey", 2, keys);
	while ((tuple = cache_scan_next(&scan)) != NULL)
	{
		bool isnull;
		char *name =
			TextDatumGetCString(cache_scan_value(&scan, tuple, HISTOGRAM_QUANTITY, &isnull));
		int quantity = learned_find(name);
		DateADT of = DatumGetDateADT(cache_scan_value(&scan, tuple, HISTOGRAM_WEEK, &isnull));
		int bucket = DatumGetInt16(cache_scan_value(&scan, tuple, HISTOGRAM_BUCKET, &isnull));
		int64 events = DatumGetInt64(cache_scan_value(&scan, tuple, HISTOGRAM_EVENTS, &isnull));

		pfree(name);
		if (quantity == LEARNED_COUNT || of > week || of < week - WEEKS_BEFORE * DAYS_PER_WEEK)
			continue;
		counts[quantity][bucket] += events;
		history->quantities[quantity].count += events;
	}
	cache_scan_end(&scan);
	for (int i = 0; i < LEARNED_COUNT; i++)
	{
		LearnedQuantity *quantity = &history->quantities[i];

		if (quantity->count < MINIMUM_COUNT)
			quantity->count = 0;
		else
			quantity->median_micros = histogram_median(counts[i], quantity->count);
	}
	pfree(counts);
}

const History *
history_find(int64 root_id, const CardPlan *plan, TimestampTz at)
{
	HistoryKey key = {.root_id = root_id, .card_id = plan->card_id};
	HistoryEntry *entry = hash_search(entries, &key, HASH_FIND, NULL);
	DateADT week = week_of(at);

	if (entry == NULL || entry->week != week)
	{
		History history;

		history_read(root_id, plan->model, week, &history);
		entry = hash_search(entries, &key, HASH_ENTER, NULL);
		entry->week = week;
		entry->history = history;
	}
	return &entry->history;
}

/* Where observations go. The largest quantity stands for all beyond it. */
typedef struct Observer
{
	ReturnSetInfo *result;
	const char *model;
} Observer;

static void
observe(const Observer *observer, Learned quantity, int64 micros)
{
	Datum values[3];
	bool nulls[3] = {false};

	values[0] = CStringGetTextDatum(observer->model);
	values[1] = CStringGetTextDatum(learned[quantity].name);
	values[2] = Int16GetDatum(histogram_bucket(Min(micros, QUANTITY_MAX_MICROS)));
	tuplestore_putvalues(observer->result->setResult, observer->result->setDesc, values, nulls);
}

/* Notes a / b, unless there is no b. */
static void
observe_ratio(const Observer *observer, Learned quantity, int64 a, int64 b)
{
	int128 ratio;

	if (a < 0 || b <= 0)
		return;
	ratio = (int128) a * QUANTITY_ONE / b;
	observe(observer, quantity, (int64) Min(ratio, QUANTITY_MAX_MICROS));
}

/*
 * read_used
 *		Reads usage by a card. Returns false if it cannot be read: the engine has priced
 *		what it has written itself, but a row by somebody else must not stop the fold.
 */
static bool
read_used(const CardPlan *plan, Jsonb *document, Usage *usage)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool readable = true;

	/* Reading takes no locks and no other resources, so that no subtransaction is needed. */
	PG_TRY();
	{
		Assumptions assumptions = {.count = 0};

		cost_read_usage(plan, document, usage, &assumptions);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_QUOTA_INVALID_REQUEST)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		readable = false;
	}
	PG_END_TRY();
	return readable;
}

/*
 * quota_observations
 *		quota._observations(card_id, usage, input_bytes, ceiling, expected, charged): what
 *		one settled event teaches, as rows of (model, quantity, bucket). Nothing, where its
 *		card does not exist or its usage cannot be read.
 */
Datum
quota_observations(PG_FUNCTION_ARGS)
{
	Observer observer = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	const CardPlan *plan = NULL;
	Usage usage;

	InitMaterializedSRF(fcinfo, 0);
	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
	{
		cache_begin();
		plan = cache_find_card(PG_GETARG_INT64(0));
	}
	if (plan == NULL || !read_used(plan, PG_GETARG_JSONB_P(1), &usage))
		return (Datum) 0;
	observer.model = plan->model;

	/* Who reports output, and none of a kind that has a price of its own, had none of it. */
	if (usage_has(&usage, MEASURE_OUTPUT_TOKENS))
	{
		for (uint64 none = plan->priced & PARTS_OF_OUTPUT & ~usage.given; none != 0;
			 none &= none - 1)
			usage_set(&usage, pg_rightmost_one_pos64(none), 0);
	}
	for (int i = 0; i < LEARNED_COUNT; i++)
	{
		if (learned[i].measure >= 0 && usage_has(&usage, learned[i].measure))
			observe(&observer, i, usage_get(&usage, learned[i].measure));
	}
	if (!PG_ARGISNULL(2) && usage_has(&usage, MEASURE_INPUT_TOKENS))
		observe_ratio(&observer, LEARNED_TOKENS_PER_BYTE, usage_get(&usage, MEASURE_INPUT_TOKENS),
					  PG_GETARG_INT64(2) * QUANTITY_ONE);
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4) && !PG_ARGISNULL(5))
	{
		int64 charged = micros_from_numeric(PG_GETARG_NUMERIC(5), "credit");

		observe_ratio(&observer, LEARNED_CEILING_RATIO, charged,
					  micros_from_numeric(PG_GETARG_NUMERIC(3), "credit"));
		observe_ratio(&observer, LEARNED_EXPECTED_RATIO, charged,
					  micros_from_numeric(PG_GETARG_NUMERIC(4), "credit"));
	}
	return (Datum) 0;
}

/*
 * quota_histogram_bucket
 *		quota._histogram_bucket(value): the bucket of a quantity.
 */
Datum
quota_histogram_bucket(PG_FUNCTION_ARGS)
{
	int64 micros = micros_from_numeric(PG_GETARG_NUMERIC(0), "value");

	if (micros < 0 || micros > QUANTITY_MAX_MICROS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("quantity is out of range"),
				 errdetail("It is at least 0 and at most 1000000000000.")));
	PG_RETURN_INT16(histogram_bucket(micros));
}

/*
 * quota_histogram_value
 *		quota._histogram_value(bucket): the middle of a bucket.
 */
Datum
quota_histogram_value(PG_FUNCTION_ARGS)
{
	int bucket = PG_GETARG_INT16(0);

	if (bucket < 0 || bucket >= HISTOGRAM_BUCKETS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no bucket %d", bucket),
				 errdetail("Buckets are numbered from 0 to %d.", HISTOGRAM_BUCKETS - 1)));
	PG_RETURN_NUMERIC(micros_to_numeric(histogram_value(bucket)));
}
