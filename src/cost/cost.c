/*
 * cost.c
 *		What a request will cost and what a generation has cost.
 *
 * An estimate has two numbers. The ceiling is what a hold takes: it must cover what
 * the generation may use, so output counts up to its bound. The expected is what
 * is shown. Actual usage has one number, which stands for both.
 *
 * The cost of the ceiling in dollars is exact; credits are that cost times the
 * credit rate and the price adjustment of the root, rounded up once to a millionth.
 */
#include "cost/cost.h"

#include "fmgr.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "cost/cache.h"
#include "cost/credit.h"
#include "cost/document.h"
#include "cost/estimate.h"
#include "cost/fit.h"
#include "errors.h"

/* The model whose card prices unknown models; empty: they are refused. */
static char *default_model = NULL;

/* The card that prices a call. */
typedef struct PricedBy
{
	const CardPlan *plan;
	const char *model;      /* under which the call counts; NULL: the caller knows */
	const char *assumption; /* how the model's name led to the card; NULL: it is its own */
} PricedBy;

/*
 * cost_init
 *		Prepares the cost layer; called once when the library is loaded.
 */
void
cost_init(void)
{
	DefineCustomStringVariable("xavier_quota.default_model",
							   "Sets the model whose rate card prices models that have none.",
							   "Models without a rate card are refused if it is empty.",
							   &default_model, "", PGC_SUSET, 0, NULL, NULL, NULL);
	vocabulary_init();
	cache_init();
}

/* Whether a model can have this name: it stands in keys of the roll-up. */
static bool
name_is_valid(const char *model)
{
	return *model != '\0' && strlen(model) < MODEL_SIZE;
}

/*
 * fail_unknown_model
 *		Raises XQ003 for a model that no card prices at the instant.
 */
pg_noreturn static void
fail_unknown_model(const char *model, TimestampTz at, bool is_known, bool by_default)
{
	const char *detail = NULL;

	if (!name_is_valid(model))
		detail = "A name has between 1 and 255 bytes.";
	else if (is_known)
		detail = psprintf("No version of its card is valid at %s.", timestamptz_to_str(at));
	else if (by_default)
		detail = psprintf("Nor has \"%s\", which xavier_quota.default_model names.",
						  usage_clip(default_model, strlen(default_model)));
	ereport(ERROR,
			(errcode(ERRCODE_QUOTA_UNKNOWN_MODEL),
			 errmsg("model \"%s\" has no rate card", usage_clip(model, strlen(model))),
			 detail != NULL ? errdetail_internal("%s", detail) : 0,
			 errhint("Add one with quota.set_rate_card() or quota.import_prices(), or say with "
					 "quota.put_model_alias() which one it has.")));
}

/*
 * find_model
 *		Finds the card that prices a model at the instant: its own, the one that its
 *		name leads to, or the one for unknown models. Raises XQ003 if there is none.
 *		A name that leads to a card counts as that card's model, so that no other
 *		spelling passes by a limit or rule; an unknown one counts as it is.
 */
static PricedBy
find_model(const char *model, TimestampTz at)
{
	PricedBy by = {.model = model};
	ModelMatch match;

	by.plan = cache_find_model(model, at, &match);
	if (by.plan != NULL && match.how == NULL)
		return by;
	if (by.plan != NULL)
	{
		by.model = pstrdup(by.plan->model);
		by.assumption = psprintf("model: %s, %s", by.model, match.how);
		return by;
	}
	if (match.is_known || *default_model == '\0' || !name_is_valid(model))
		fail_unknown_model(model, at, match.is_known, false);
	by.plan = cache_find_model(default_model, at, &match);
	if (by.plan == NULL)
		fail_unknown_model(model, at, false, true);
	by.assumption = psprintf("model: %s, the default for unknown models", by.plan->model);
	return by;
}

/*
 * quote_make
 *		Puts the answer together. expected_usage is NULL if nothing else is expected.
 */
static CostQuote *
quote_make(const PricedBy *by, const Usage *usage, bool is_ceiling, const Usage *expected_usage,
		   int64 root_id, TimestampTz at, Assumptions *assumptions)
{
	const CardPlan *plan = by->plan;
	CostQuote *quote = palloc(sizeof(CostQuote));
	CreditRate rate;
	CostResult cost;
	CostResult expected;
	int64 credit_micros;
	DocumentParts parts;

	if (by->assumption != NULL)
		usage_assume_first(assumptions, by->assumption);
	cost.lines = palloc(sizeof(CostLine) * plan->most_cost_lines);
	evaluate_cost(plan, usage, is_ceiling, &cost);
	cache_find_rate(root_id, at, &rate);
	quote->card_id = plan->card_id;
	quote->model = by->model;
	quote->cost_usd = palloc(DECIMAL_TEXT_SIZE);
	decimal_to_cstring(cost.total, COST_SCALE, quote->cost_usd);
	parts.plan = plan;
	parts.cost = &cost;
	parts.cost_usd = quote->cost_usd;
	parts.rate = &rate;
	parts.assumptions = assumptions;
	credit_micros = cost_to_micros(cost.total, &rate);
	parts.amount_count = cost_fill_amount(parts.amount, credit_micros, usage, usage);
	quote->ceiling = amount_make(parts.amount, parts.amount_count);
	quote->request = NULL;
	quote->expected_micros = -1;
	if (expected_usage == NULL)
	{
		memcpy(parts.expected, parts.amount, sizeof(AmountEntry) * parts.amount_count);
		quote->expected = quote->ceiling;
	}
	else
	{
		expected.lines = palloc(sizeof(CostLine) * plan->most_cost_lines);
		evaluate_cost(plan, expected_usage, false, &expected);
		quote->expected_micros = Min(cost_to_micros(expected.total, &rate), credit_micros);
		cost_fill_amount(parts.expected, quote->expected_micros, expected_usage, usage);
		quote->expected = amount_make(parts.expected, parts.amount_count);
	}
	quote->document = document_make(&parts);
	return quote;
}

/*
 * estimate_request
 *		Prices a request before it runs, by a card.
 */
static CostQuote *
estimate_request(PricedBy by, Jsonb *request, int64 root_id, TimestampTz at)
{
	Estimate estimate;

	CostQuote *quote;

	estimate_usage(by.plan, request, root_id, at, &estimate);
	quote = quote_make(&by, &estimate.ceiling, true, estimate.expects ? &estimate.expected : NULL,
					   root_id, at, &estimate.assumptions);
	quote->request = usage_without_text(request, &estimate.ceiling);
	return quote;
}

/*
 * find_card
 *		Returns one version of a card. Errors: XQ003 if there is none.
 */
static PricedBy
find_card(int64 card_id)
{
	PricedBy by = {.plan = cache_find_card(card_id)};

	if (by.plan == NULL)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_MODEL),
						errmsg("rate card " INT64_FORMAT " does not exist", card_id)));
	return by;
}

/*
 * cost_estimate
 *		See cost.h.
 */
CostQuote *
cost_estimate(const char *model, Jsonb *request, int64 root_id, TimestampTz at)
{
	cache_begin();
	return estimate_request(find_model(model, at), request, root_id, at);
}

/*
 * cost_estimate_by_card
 *		See cost.h.
 */
CostQuote *
cost_estimate_by_card(int64 card_id, Jsonb *request, int64 root_id, TimestampTz at)
{
	cache_begin();
	return estimate_request(find_card(card_id), request, root_id, at);
}

/*
 * cost_read_usage
 *		Reads actual usage, in the vocabulary or as a provider reports it. Raises XQ201.
 */
void
cost_read_usage(const CardPlan *plan, Jsonb *document, Usage *usage, Assumptions *assumptions)
{
	if (!usage_read(document, true, usage))
		provider_read(document, plan->reasoning_is_additional, usage, assumptions);
	else if (usage_reasoning_is_additional(usage))
		usage_set(usage, MEASURE_OUTPUT_TOKENS,
				  usage_get(usage, MEASURE_OUTPUT_TOKENS) +
					  usage_get(usage, MEASURE_REASONING_TOKENS));
}

/*
 * price_usage
 *		Prices actual usage by a card.
 */
static CostQuote *
price_usage(PricedBy by, Jsonb *document, int64 root_id, TimestampTz at)
{
	const CardPlan *plan = by.plan;
	Assumptions assumptions = {.count = 0};
	Usage usage;

	cost_read_usage(plan, document, &usage, &assumptions);
	derive_usage(plan, &usage, &assumptions);
	evaluate_require(plan, &usage);
	usage_check_parts(&usage);
	return quote_make(&by, &usage, false, NULL, root_id, at, &assumptions);
}

/*
 * cost_price
 *		See cost.h.
 */
CostQuote *
cost_price(const char *model, Jsonb *usage, int64 root_id, TimestampTz at)
{
	cache_begin();
	return price_usage(find_model(model, at), usage, root_id, at);
}

/*
 * cost_price_by_card
 *		See cost.h.
 */
CostQuote *
cost_price_by_card(int64 card_id, Jsonb *usage, int64 root_id, TimestampTz at)
{
	cache_begin();
	return price_usage(find_card(card_id), usage, root_id, at);
}

/*
 * cost_find_fits
 *		See cost.h.
 */
void
cost_find_fits(int64 card_id, Jsonb *request, int64 root_id, TimestampTz at, CostAfford afford,
			   void *arg, CostFits *fits)
{
	cache_begin();
	fit_find(find_card(card_id).plan, request, root_id, at, afford, arg, fits);
}
