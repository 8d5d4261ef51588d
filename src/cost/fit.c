/*
 * fit.c
 *		What of a request would fit: the most output, images or seconds that can be
 *		afforded, everything else being as it is.
 *
 * A ceiling rises with each of them, so the most is found by halving: what is found is
 * afforded, and one more is not. (On a card whose price falls above a size, that may
 * hold for several quantities; one of them is found.) This is for requests that have
 * been refused; nothing here raises an error that the estimate has not raised.
 */
#include "cost/fit.h"

#include "cost/credit.h"
#include "cost/document.h"
#include "cost/estimate.h"

/* A request, and whether it can be afforded. */
typedef struct FitSearch
{
	const CardPlan *plan;
	const Usage *request;
	CreditRate rate;
	CostResult cost; /* room for lines */
	CostAfford afford;
	void *arg;
} FitSearch;

/* Meters that follow from the key of a fit; the price depends on it if one is priced. */
static const struct
{
	Measure key;
	uint64 meters;
} dimensions[] = {
	{MEASURE_N, MEASURE_BIT(MEASURE_IMAGES) | MEASURE_BIT(MEASURE_PIXELS) |
					MEASURE_BIT(MEASURE_MEGAPIXELS) | MEASURE_BIT(MEASURE_VIDEO_SECONDS)},
	{MEASURE_DURATION_SECONDS, MEASURE_BIT(MEASURE_DURATION_SECONDS) |
								   MEASURE_BIT(MEASURE_VIDEO_SECONDS) |
								   MEASURE_BIT(MEASURE_AUDIO_SECONDS)},
};

/*
 * is_afforded
 *		Whether the request is afforded with so much of something. Less than the request
 *		itself says of its output is no such request.
 */
static bool
is_afforded(FitSearch *search, int key, int64 micros, bool *is_request)
{
	Usage usage;
	AmountEntry entries[DOCUMENT_MAX_AMOUNTS];
	int64 credit_micros;
	int count;

	usage_copy(&usage, search->request);
	usage_set(&usage, key, micros);
	*is_request = estimate_try_ceiling(search->plan, &usage);
	if (!*is_request)
		return true;
	if (!evaluate_try_ceiling(search->plan, &usage, &search->cost) ||
		!cost_try_micros(search->cost.total, &search->rate, &credit_micros))
		return false;
	count = cost_fill_amount(entries, credit_micros, &usage, &usage);
	return search->afford(entries, count, search->arg);
}

/*
 * asked_for
 *		Returns how much of something a request asks for; -1 if nothing says.
 */
static int64
asked_for(const FitSearch *search, int key)
{
	if (usage_has(search->request, key))
		return usage_get(search->request, key);
	if (usage_has(&search->plan->defaults, key))
		return usage_get(&search->plan->defaults, key);
	if (key == MEASURE_MAX_OUTPUT_TOKENS)
		return search->plan->max_output_micros;
	return key == MEASURE_N ? QUANTITY_ONE : -1;
}

/*
 * find_most
 *		Looks for the most of something that is afforded, given that what the request
 *		asks for is not, and adds it to fits.
 */
static void
find_most(FitSearch *search, int key, CostFits *fits)
{
	bool is_whole = (measures[key].flags & MEASURE_IS_WHOLE) != 0;
	int64 unit = is_whole ? QUANTITY_ONE : 1;
	int64 most = -1;
	int64 too_much = asked_for(search, key) / unit;
	bool is_request = false;

	while (too_much - most > 1)
	{
		int64 middle = most + (too_much - most) / 2;

		if (is_afforded(search, key, middle * unit, &is_request))
			most = middle;
		else
			too_much = middle;
	}
	if (most < 0)
		return;
	(void) is_afforded(search, key, most * unit, &is_request);
	if (is_request)
		fits->items[fits->count++] =
			(CostFit){.key = measures[key].name, .micros = most * unit, .is_whole = is_whole};
}

/*
 * fit_find
 *		See cost_find_fits().
 */
void
fit_find(const CardPlan *plan, Jsonb *document, int64 root_id, TimestampTz at, CostAfford afford,
		 void *arg, CostFits *fits)
{
	Usage request;
	FitSearch search = {.plan = plan, .request = &request, .afford = afford, .arg = arg};
	int output_key;

	usage_read(document, false, &request);
	cache_find_rate(root_id, at, &search.rate);
	search.cost.lines = palloc(sizeof(CostLine) * plan->most_cost_lines);
	fits->count = 0;
	output_key = estimate_output_key(plan, &request);
	if (output_key >= 0)
		find_most(&search, output_key, fits);
	for (int i = 0; i < (int) lengthof(dimensions); i++)
	{
		if ((plan->priced & dimensions[i].meters) != 0)
			find_most(&search, dimensions[i].key, fits);
	}
}
