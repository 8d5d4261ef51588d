/*
 * estimate.c
 *		What a request may use at most, and what it is expected to use.
 *
 * The ceiling must cover whatever the generation does: output counts up to its bound,
 * which the request gives, or else the card. The expected usage is the ceiling with
 * the output that the caller expects.
 */
#include "cost/estimate.h"

#include "cost/decimal.h"

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

#define PARTS_OF_OUTPUT                                                                 \
	(MEASURE_BIT(MEASURE_REASONING_TOKENS) | MEASURE_BIT(MEASURE_AUDIO_OUTPUT_TOKENS) | \
	 MEASURE_BIT(MEASURE_IMAGE_OUTPUT_TOKENS) | MEASURE_BIT(MEASURE_VIDEO_OUTPUT_TOKENS))

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
 * expected_output
 *		Returns the output that the request, as it was read, says to expect; -1 if it
 *		says nothing.
 */
static int64
expected_output(const CardPlan *plan, const Usage *request)
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
 * expect_output
 *		Makes the usage of the ceiling the expected one, with so much output.
 */
static void
expect_output(Usage *usage, int64 output)
{
	if (output > usage_get(usage, MEASURE_OUTPUT_TOKENS))
		usage_fail(usage_has(usage, MEASURE_EXPECTED_OUTPUT_TOKENS) ? "expected_output_tokens"
																	: "output_tokens",
				   "More output is expected than the request may have.", NULL);
	usage_set(usage, MEASURE_OUTPUT_TOKENS, output);

	/* Parts of the ceiling that the expected output cannot have. */
	for (int i = MEASURE_OUTPUT_TOKENS + 1; i <= MEASURE_VIDEO_OUTPUT_TOKENS; i++)
	{
		if (!usage_has(usage, i))
			continue;
		usage->micros[i] = Min(usage->micros[i], output);
		output -= usage->micros[i];
	}
}

/*
 * estimate_usage
 *		See estimate.h.
 */
void
estimate_usage(const CardPlan *plan, Jsonb *request, Estimate *estimate)
{
	Usage *ceiling = &estimate->ceiling;
	Assumptions *assumptions = &estimate->assumptions;
	int64 output;

	assumptions->count = 0;
	usage_read(request, false, ceiling);
	output = expected_output(plan, ceiling);
	estimate->expects = output >= 0;
	evaluate_derive(plan, ceiling, assumptions);
	bound_output(plan, ceiling, assumptions);
	evaluate_require(plan, ceiling);
	usage_check_parts(ceiling);
	if (estimate->expects)
	{
		estimate->expected = *ceiling;
		expect_output(&estimate->expected, output);
	}
	raise_to_dearest(plan, ceiling, assumptions);
	if (!estimate->expects && usage_get(ceiling, MEASURE_OUTPUT_TOKENS) != 0 &&
		(plan->priced & MEASURE_BIT(MEASURE_OUTPUT_TOKENS)) != 0)
		usage_assume(assumptions, "expected: the ceiling, for want of expected_output_tokens");
}

/*
 * estimate_try_ceiling
 *		See estimate.h.
 */
bool
estimate_try_ceiling(const CardPlan *plan, Usage *usage)
{
	Assumptions assumptions = {.count = 0};
	int64 output = expected_output(plan, usage);

	evaluate_derive(plan, usage, &assumptions);
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
