/*
 * expect.c
 *		What a request is expected to use, of what it leaves open.
 *
 * A request states some quantities, and leaves others open: how much output there will
 * be, how many tokens a text has, and what the card's defaults stand in for. The
 * ceiling takes the bound of each. The expected takes what the request says to expect,
 * else the median of what generations of the model have used under the same root
 * (history.c), else what the card says to expect, else the ceiling. It never takes more
 * than the ceiling. The assumptions of the estimate say which it was.
 */
#include "cost/estimate.h"

#include "port/pg_bitutils.h"

#include "cost/decimal.h"
#include "cost/history.h"

/* Input tokens of a byte of text where nothing is known: the rule of thumb for English. */
#define TOKENS_PER_BYTE_MICROS (QUANTITY_ONE / 4)

/* What is expected of each quantity, in millionths; -1: the same as in the ceiling. */
typedef struct Expected
{
	int64 input;
	int64 output;
	int part;        /* the kind of output that the ceiling takes all of it for, or -1 */
	int64 part_used; /* of that kind */
	int64 duration;
	int64 n;
} Expected;

static int64
round_to_whole(int64 micros)
{
	return (micros + QUANTITY_ONE / 2) / QUANTITY_ONE * QUANTITY_ONE;
}

/* Notes what is expected, and why. */
static void
assume_expected(Assumptions *assumptions, const char *name, int64 micros, const char *why)
{
	char text[DECIMAL_TEXT_SIZE];

	decimal_to_cstring(micros, QUANTITY_SCALE, text);
	usage_assume(assumptions, psprintf("%s: %s expected, %s", name, text, why));
}

static const char *
by_median(const LearnedQuantity *quantity)
{
	return psprintf("by the median of " INT64_FORMAT " generations", quantity->count);
}

/*
 * learn
 *		Returns what history says of a measure, at most as much as in the ceiling; -1 if
 *		it says nothing.
 */
static int64
learn(const History *history, Learned which, int measure, Estimate *estimate)
{
	const LearnedQuantity *quantity = &history->quantities[which];
	int64 micros = quantity->median_micros;

	if (quantity->count == 0)
		return -1;
	if (measures[measure].flags & MEASURE_IS_WHOLE)
		micros = round_to_whole(micros);
	micros = Min(micros, usage_get(&estimate->ceiling, measure));
	assume_expected(&estimate->assumptions, measures[measure].name, micros, by_median(quantity));
	return micros;
}

/*
 * expect_input
 *		Returns how many tokens the text of the request is expected to have. They are not
 *		fewer than those parts of the input that the request states.
 */
static int64
expect_input(const History *history, Estimate *estimate)
{
	const LearnedQuantity *quantity = &history->quantities[LEARNED_TOKENS_PER_BYTE];
	const Usage *ceiling = &estimate->ceiling;
	bool known = quantity->count > 0;
	int128 tokens = (int128) usage_get(ceiling, MEASURE_INPUT_BYTES) *
					(known ? quantity->median_micros : TOKENS_PER_BYTE_MICROS) / QUANTITY_ONE;
	int64 parts = 0;
	int64 expected;

	for (int i = MEASURE_INPUT_TOKENS + 1; i < MEASURE_OUTPUT_TOKENS; i++)
	{
		if (measures[i].part_of == MEASURE_INPUT_TOKENS)
			parts += usage_get(ceiling, i);
	}
	expected = round_to_whole((int64) Min(tokens, QUANTITY_MAX_MICROS));
	expected = Min(Max(expected, parts), usage_get(ceiling, MEASURE_INPUT_TOKENS));
	assume_expected(&estimate->assumptions, measures[MEASURE_INPUT_TOKENS].name, expected,
					known ? by_median(quantity) : "one for each four bytes");
	return expected;
}

/*
 * expect_output
 *		Returns how much output is expected; -1 if nothing is known but the ceiling.
 */
static int64
expect_output(const Stated *stated, const History *history, Estimate *estimate)
{
	const Usage *ceiling = &estimate->ceiling;
	int64 most = usage_get(ceiling, MEASURE_OUTPUT_TOKENS);
	int64 expected;

	if (stated->output > most)
		usage_fail((stated->given & MEASURE_BIT(MEASURE_EXPECTED_OUTPUT_TOKENS))
					   ? "expected_output_tokens"
					   : "output_tokens",
				   "More output is expected than the request may have.", NULL);
	if (stated->output >= 0 || most == 0)
		return stated->output;
	expected = learn(history, LEARNED_OUTPUT_TOKENS, MEASURE_OUTPUT_TOKENS, estimate);
	if (expected >= 0)
		return expected;

	/* The card's default. */
	if (usage_has(ceiling, MEASURE_EXPECTED_OUTPUT_TOKENS))
		return Min(usage_get(ceiling, MEASURE_EXPECTED_OUTPUT_TOKENS), most);
	usage_assume(&estimate->assumptions,
				 "expected: the ceiling, for want of expected_output_tokens");
	return -1;
}

/*
 * expected_apply
 *		Turns the usage of the ceiling into the expected one.
 */
static void
expected_apply(const CardPlan *plan, const Expected *expected, Usage *usage)
{
	int64 output = expected->output;

	/* Not all output is of the dearest kind: that was for the ceiling. */
	if (expected->part >= 0)
		usage->given &= ~MEASURE_BIT(expected->part);
	if (expected->part_used >= 0)
		usage_set(usage, expected->part, expected->part_used);
	if (expected->input >= 0)
		usage_set(usage, MEASURE_INPUT_TOKENS, expected->input);
	if (expected->duration >= 0)
		usage_set(usage, MEASURE_DURATION_SECONDS, expected->duration);
	if (expected->n >= 0)
		usage_set(usage, MEASURE_N, expected->n);
	if (expected->duration >= 0 || expected->n >= 0)
	{
		Assumptions known = {.count = 0};

		derive_usage(plan, usage, &known);
	}
	if (output < 0)
		return;
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
 * expect_usage
 *		Fills the expected usage of an estimate whose ceiling is complete. XQ201 if more
 *		output is expected than there may be.
 */
void
expect_usage(const CardPlan *plan, const Stated *stated, int64 root_id, TimestampTz at,
			 Estimate *estimate)
{
	static const History nothing;
	const History *history = root_id == 0 ? &nothing : history_find(root_id, plan, at);
	const Usage *ceiling = &estimate->ceiling;
	uint64 open = ceiling->given & ~stated->given;
	uint64 raised = open & PARTS_OF_OUTPUT & ~plan->defaults.given;
	Expected expected = {-1, -1, -1, -1, -1, -1};

	if ((open & MEASURE_BIT(MEASURE_INPUT_TOKENS)) && usage_has(ceiling, MEASURE_INPUT_BYTES))
		expected.input = expect_input(history, estimate);
	if (plan->priced & MEASURE_BIT(MEASURE_OUTPUT_TOKENS))
		expected.output = expect_output(stated, history, estimate);
	if (expected.output >= 0 && raised != 0)
	{
		expected.part = pg_rightmost_one_pos64(raised);
		expected.part_used =
			learn(history, LEARNED_REASONING_TOKENS + expected.part - MEASURE_REASONING_TOKENS,
				  expected.part, estimate);
	}
	if (open & plan->defaults.given & MEASURE_BIT(MEASURE_DURATION_SECONDS))
		expected.duration =
			learn(history, LEARNED_DURATION_SECONDS, MEASURE_DURATION_SECONDS, estimate);
	if (open & plan->defaults.given & MEASURE_BIT(MEASURE_N))
		expected.n = learn(history, LEARNED_N, MEASURE_N, estimate);
	estimate->expects =
		expected.input >= 0 || expected.output >= 0 || expected.duration >= 0 || expected.n >= 0;
	if (!estimate->expects)
		return;
	usage_copy(&estimate->expected, ceiling);
	expected_apply(plan, &expected, &estimate->expected);
}
