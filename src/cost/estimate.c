/*
 * estimate.c
 *		What a request may use at most.
 *
 * The ceiling must cover whatever the generation does: output counts up to its bound,
 * which the request gives, or else the card; of text each byte counts as a token. What
 * is expected is in expect.c.
 */
#include "cost/estimate.h"

#include "cost/decimal.h"

/* Special tokens at the beginning of the input and of the answer, generously counted. */
#define FRAME_TOKENS 16

/*
 * output_bound
 *		Returns how many output tokens a request may take, or -1 if nothing says.
 */
static int64
output_bound(const CardPlan *plan, const Usage *usage, Assumptions *assumptions)
{
	int64 answers = usage_has(usage, MEASURE_N) ? usage_get(usage, MEASURE_N) : QUANTITY_ONE;
	int64 bound;
	char text[DECIMAL_TEXT_SIZE];

	if (usage_has(usage, MEASURE_MAX_OUTPUT_TOKENS))
		bound = usage_get(usage, MEASURE_MAX_OUTPUT_TOKENS);
	else if (usage_has(usage, MEASURE_OUTPUT_TOKENS))
		return usage_get(usage, MEASURE_OUTPUT_TOKENS);
	else if (plan->max_output_micros >= 0 &&
			 (plan->required & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) != 0)
	{
		bound = plan->max_output_micros;
		decimal_to_cstring(bound, QUANTITY_SCALE, text);
		usage_assume(assumptions,
					 psprintf("max_output_tokens: %s, the maximum of the model", text));
	}
	else
		return -1;
	if (answers != QUANTITY_ONE)
	{
		bound = usage_multiply(bound, answers, "n");
		usage_assume(assumptions, "max_output_tokens: for each of n answers");
	}
	return bound;
}

/*
 * raise_to_dearest
 *		Where some kind of output (reasoning, audio, images, video) is dearer than other
 *		output, and the request does not say how much of it there will be, the ceiling
 *		takes all open output for the dearest kind.
 */
static void
raise_to_dearest(const CardPlan *plan, Usage *usage, Assumptions *assumptions)
{
	int64 open = usage_get(usage, MEASURE_OUTPUT_TOKENS);
	int128 highest = 0;
	int dearest = -1;

	if ((plan->priced & PARTS_OF_OUTPUT & ~usage->given) == 0)
		return;
	for (int i = MEASURE_OUTPUT_TOKENS + 1; i <= MEASURE_VIDEO_OUTPUT_TOKENS; i++)
		open -= usage_get(usage, i);
	if (open <= 0)
		return;
	for (int i = MEASURE_OUTPUT_TOKENS; i <= MEASURE_VIDEO_OUTPUT_TOKENS; i++)
	{
		const PlanLine *line = NULL;
		int128 cost;

		if (i == MEASURE_OUTPUT_TOKENS || !usage_has(usage, i))
			line = evaluate_find_line(plan, i, usage);
		if (line == NULL)
			continue;
		cost = evaluate_line_ceiling(plan, line, usage, open);
		if (cost <= highest)
			continue;
		highest = cost;
		dearest = i;
	}
	if (dearest < 0 || dearest == MEASURE_OUTPUT_TOKENS)
		return;
	usage_set(usage, dearest, open);
	usage_assume(assumptions,
				 psprintf("%s: all output, because they are dearer", measures[dearest].name));
}

/*
 * bound_output
 *		Sets the output tokens of the ceiling. Raises XQ201 if the card prices them
 *		and nothing bounds them.
 */
static void
bound_output(const CardPlan *plan, Usage *usage, Assumptions *assumptions)
{
	const PlanLine *line;
	int64 bound;

	if ((plan->priced & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) == 0)
		return;
	bound = output_bound(plan, usage, assumptions);
	if (bound >= 0)
	{
		usage_set(usage, MEASURE_OUTPUT_TOKENS, bound);
		return;
	}
	if ((plan->required & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) == 0)
		return;
	line = evaluate_find_line(plan, MEASURE_OUTPUT_TOKENS, usage);
	if (line != NULL && line->slice_count == 1 && line->slices[0].price == 0)
	{
		usage_set(usage, MEASURE_OUTPUT_TOKENS, 0);
		usage_assume(assumptions, "output_tokens: not bounded, and free");
		return;
	}
	usage_fail("max_output_tokens",
			   psprintf("Nothing bounds the output, and the card of model %s has no maximum.",
						plan->model),
			   "Give max_output_tokens with the request.");
}

/*
 * bound_input
 *		Sets the input tokens of the ceiling of a request that states text instead: a
 *		tokenizer that can fall back on bytes makes at most one token of each.
 */
static void
bound_input(const CardPlan *plan, Usage *usage, Assumptions *assumptions)
{
	char bytes[DECIMAL_TEXT_SIZE];

	if (!usage_has(usage, MEASURE_INPUT_BYTES) || usage_has(usage, MEASURE_INPUT_TOKENS) ||
		(plan->walked & MEASURE_BIT(MEASURE_INPUT_TOKENS)) == 0)
		return;
	usage_set(usage, MEASURE_INPUT_TOKENS,
			  Min(usage->micros[MEASURE_INPUT_BYTES] + FRAME_TOKENS * QUANTITY_ONE,
				  QUANTITY_MAX_MICROS));
	decimal_to_cstring(usage->micros[MEASURE_INPUT_BYTES], QUANTITY_SCALE, bytes);
	usage_assume(assumptions, psprintf("input_tokens: at most one for each of %s bytes, and %d",
									   bytes, FRAME_TOKENS));
}

/*
 * stated_output
 *		Returns the output that the request, as it was read, says to expect; -1 if it
 *		says nothing.
 */
static int64
stated_output(const CardPlan *plan, const Usage *request)
{
	if ((plan->priced & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) == 0)
		return -1;
	if (usage_has(request, MEASURE_EXPECTED_OUTPUT_TOKENS))
		return usage_get(request, MEASURE_EXPECTED_OUTPUT_TOKENS);
	if (usage_has(request, MEASURE_OUTPUT_TOKENS))
		return usage_get(request, MEASURE_OUTPUT_TOKENS);
	return -1;
}

/*
 * estimate_usage
 *		See estimate.h.
 */
void
estimate_usage(const CardPlan *plan, Jsonb *request, int64 root_id, TimestampTz at,
			   Estimate *estimate)
{
	Usage *ceiling = &estimate->ceiling;
	Assumptions *assumptions = &estimate->assumptions;
	Stated stated;

	assumptions->count = 0;
	usage_read(request, false, ceiling);
	stated.given = ceiling->given;
	stated.output = stated_output(plan, ceiling);
	bound_input(plan, ceiling, assumptions);
	derive_usage(plan, ceiling, assumptions);
	bound_output(plan, ceiling, assumptions);
	evaluate_require(plan, ceiling);
	usage_check_parts(ceiling);
	raise_to_dearest(plan, ceiling, assumptions);
	expect_usage(plan, &stated, root_id, at, estimate);
}

/*
 * estimate_try_ceiling
 *		See estimate.h.
 */
bool
estimate_try_ceiling(const CardPlan *plan, Usage *usage)
{
	Assumptions assumptions = {.count = 0};
	int64 output = stated_output(plan, usage);

	bound_input(plan, usage, &assumptions);
	derive_usage(plan, usage, &assumptions);
	bound_output(plan, usage, &assumptions);
	if (!usage_parts_fit(usage) || output > usage_get(usage, MEASURE_OUTPUT_TOKENS))
		return false;
	raise_to_dearest(plan, usage, &assumptions);
	return true;
}

/*
 * estimate_output_key
 *		See estimate.h.
 */
int
estimate_output_key(const CardPlan *plan, const Usage *request)
{
	if ((plan->priced & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) == 0)
		return -1;
	if (!usage_has(request, MEASURE_MAX_OUTPUT_TOKENS) && usage_has(request, MEASURE_OUTPUT_TOKENS))
		return MEASURE_OUTPUT_TOKENS;
	return MEASURE_MAX_OUTPUT_TOKENS;
}
