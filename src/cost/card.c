/*
 * card.c
 *		Reads a rate card: validates its JSON form and compiles it into a plan.
 *
 * The form is documented in docs/cost.md. Parsing is validating: a card that
 * card_compile() accepts can price any request, or says what the request lacks.
 * Errors (XQ202) name the line and the key.
 *
 * Lines of one meter are tried in the order of the card, and the first whose
 * conditions hold prices the meter. A line behind one without conditions could
 * never apply and is refused.
 */
#include "cost/card_internal.h"

#define MAX_MULTIPLIERS 16

static const CardPlace whole_card = {NULL, 0};

/*
 * plan_understand
 *		Notes what the price depends on because of conditions.
 */
static void
plan_understand(CardPlan *plan, const PlanConditions *conditions)
{
	for (int i = 0; i < conditions->count; i++)
	{
		const PlanCondition *condition = &conditions->items[i];

		if (condition->kind == CONDITION_TEXT || condition->kind == CONDITION_ABSENT_PARAMETER)
			plan->used_parameters |= 1u << condition->subject;
		else
			plan->understood |= MEASURE_BIT(condition->subject);
	}
}

/*
 * compare_lines
 *		Sorts lines by meter, those of one meter as in the card.
 */
static int
compare_lines(const void *a, const void *b)
{
	const PlanLine *line_a = a;
	const PlanLine *line_b = b;

	if (line_a->meter != line_b->meter)
		return line_a->meter < line_b->meter ? -1 : 1;
	return line_a->number < line_b->number ? -1 : 1;
}

/*
 * read_lines
 *		Reads the list of lines.
 */
static void
read_lines(const JsonbValue *value, CardPlan *plan)
{
	JsonbContainer *list = card_value_array(value);
	uint64 optional = 0;

	if (list == NULL || JsonContainerSize(list) == 0 || JsonContainerSize(list) > PLAN_MAX_LINES)
		card_fail(&whole_card, "lines",
				  psprintf("The value is not a list of 1 to %d lines.", PLAN_MAX_LINES));
	plan->line_count = (int) JsonContainerSize(list);
	plan->lines = palloc(sizeof(PlanLine) * plan->line_count);
	for (int i = 0; i < plan->line_count; i++)
	{
		CardPlace place = {"line", i + 1};
		JsonbContainer *object = card_value_object(getIthJsonbValueFromContainer(list, i));
		PlanLine *line = &plan->lines[i];
		int required;

		if (object == NULL)
			card_fail(&place, "meter", "A line is an object.");
		card_read_line(&place, object, line, &required);
		if (required < 0)
			required = (measures[line->meter].flags & MEASURE_IS_REQUIRED) != 0;
		if (required)
			plan->required |= MEASURE_BIT(line->meter);
		else
			optional |= MEASURE_BIT(line->meter);
		plan->priced |= MEASURE_BIT(line->meter);
		plan->most_cost_lines += line->slice_count;
		plan_understand(plan, &line->conditions);
	}
	plan->required &= ~optional;

	qsort(plan->lines, plan->line_count, sizeof(PlanLine), compare_lines);
	for (int i = plan->line_count - 1; i >= 0; i--)
		plan->first_line[plan->lines[i].meter] = (int16) i;
	for (int i = 1; i < plan->line_count; i++)
	{
		if (plan->lines[i].meter == plan->lines[i - 1].meter &&
			plan->lines[i - 1].conditions.count == 0)
		{
			CardPlace place = {"line", plan->lines[i].number};

			card_fail(&place, "meter",
					  psprintf("The line can never apply: line %d of the same meter has no "
							   "conditions and comes first.",
							   plan->lines[i - 1].number));
		}
	}
}

/*
 * read_multiplier
 *		Reads one multiplier: {"factor", "when", "above", "meters"}.
 */
static void
read_multiplier(const CardPlace *place, JsonbContainer *object, PlanMultiplier *multiplier)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue key;
	JsonbValue value;

	memset(multiplier, 0, sizeof(PlanMultiplier));
	multiplier->factor = -1;
	multiplier->meters = PG_UINT64_MAX;
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		if (card_key_is(&key, "factor"))
			multiplier->factor = card_read_decimal(place, "factor", &value, PRICE_SCALE);
		else if (card_key_is(&key, "when") || card_key_is(&key, "above"))
			card_read_conditions(place, &value, card_key_is(&key, "above"),
								 &multiplier->conditions);
		else if (card_key_is(&key, "meters"))
		{
			JsonbContainer *list = card_value_array(&value);

			if (list == NULL || JsonContainerSize(list) == 0)
				card_fail(place, "meters", "The value is not a list of meters.");
			multiplier->meters = 0;
			for (int i = 0; i < (int) JsonContainerSize(list); i++)
				multiplier->meters |= MEASURE_BIT(
					card_read_meter(place, "meters", getIthJsonbValueFromContainer(list, i)));
		}
		else
			card_fail(place, card_key_name(&key), "A multiplier has no such key.");
	}
	if (multiplier->factor < 0)
		card_fail(place, "factor", "The key is missing.");
	if (multiplier->conditions.count == 0)
		card_fail(place, "when", "A multiplier has conditions.");
	multiplier->decimals = PRICE_SCALE;
	while (multiplier->decimals > 0 && multiplier->factor % 10 == 0)
	{
		multiplier->factor /= 10;
		multiplier->decimals--;
	}
}

/*
 * read_multipliers
 *		Reads the list of multipliers.
 */
static void
read_multipliers(const JsonbValue *value, CardPlan *plan)
{
	JsonbContainer *list = card_value_array(value);

	if (list == NULL || JsonContainerSize(list) > MAX_MULTIPLIERS)
		card_fail(&whole_card, "multipliers",
				  psprintf("The value is not a list of at most %d multipliers.", MAX_MULTIPLIERS));
	plan->multiplier_count = (int) JsonContainerSize(list);
	plan->multipliers = palloc(sizeof(PlanMultiplier) * Max(plan->multiplier_count, 1));
	for (int i = 0; i < plan->multiplier_count; i++)
	{
		CardPlace place = {"multiplier", i + 1};
		JsonbContainer *object = card_value_object(getIthJsonbValueFromContainer(list, i));

		if (object == NULL)
			card_fail(&place, "factor", "A multiplier is an object.");
		read_multiplier(&place, object, &plan->multipliers[i]);
		plan_understand(plan, &plan->multipliers[i].conditions);
	}
}

/*
 * check_multipliers
 *		Makes sure that a price times all multipliers is exact.
 */
static void
check_multipliers(const CardPlan *plan)
{
	for (int i = 0; i < plan->line_count; i++)
	{
		const PlanLine *line = &plan->lines[i];
		CardPlace place = {"line", line->number};
		int decimals = 0;

		for (int j = 0; j < plan->multiplier_count; j++)
		{
			if (plan->multipliers[j].meters & MEASURE_BIT(line->meter))
				decimals += plan->multipliers[j].decimals;
		}
		for (int j = 0; j < line->slice_count && decimals > 0; j++)
		{
			if (decimal_count(line->slices[j].price, PRICE_SCALE) + decimals > PRICE_SCALE)
				card_fail(&place, "price",
						  psprintf("The price times the multipliers has more than %d decimals.",
								   PRICE_SCALE));
		}
	}
}

/*
 * read_defaults
 *		Reads what the card takes for keys that a request leaves out.
 */
static void
read_defaults(const JsonbValue *value, CardPlan *plan)
{
	JsonbContainer *object = card_value_object(value);
	JsonbIterator *iterator;
	JsonbValue key;
	JsonbValue item;

	if (object == NULL)
		card_fail(&whole_card, "defaults", "The value is not an object.");
	iterator = JsonbIteratorInit(object);
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		Word word = vocabulary_find(key.val.string.val, key.val.string.len);
		char *name = psprintf("defaults.%s", card_key_name(&key));

		JsonbIteratorNext(&iterator, &item, true);
		if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_KEY))
			usage_set(&plan->defaults, word.index, card_read_quantity(&whole_card, name, &item));
		else if (word.kind == WORD_PARAMETER && item.type == jbvString)
		{
			plan->defaults.given_parameters |= 1u << word.index;
			plan->defaults.texts[word.index].text =
				pnstrdup(item.val.string.val, item.val.string.len);
			plan->defaults.texts[word.index].length = item.val.string.len;
		}
		else
			card_fail(&whole_card, name, "The key is no word of requests, or its value no text.");
	}
}

/*
 * plan_finish
 *		Completes the sets of measures once everything is read.
 */
static void
plan_finish(CardPlan *plan)
{
	static const struct
	{
		Measure meter;
		Measure key;
	} sources[] = {
		{MEASURE_IMAGES, MEASURE_N},
		{MEASURE_PIXELS, MEASURE_N},
		{MEASURE_MEGAPIXELS, MEASURE_N},
		{MEASURE_VIDEO_SECONDS, MEASURE_N},
		{MEASURE_VIDEO_SECONDS, MEASURE_DURATION_SECONDS},
		{MEASURE_AUDIO_SECONDS, MEASURE_DURATION_SECONDS},
		{MEASURE_STORAGE_GB_DAYS, MEASURE_STORAGE_GB},
		{MEASURE_STORAGE_GB_DAYS, MEASURE_DAYS},
		{MEASURE_OUTPUT_TOKENS, MEASURE_N},
	};

	plan->walked = plan->priced;
	for (int i = MEASURE_COUNT - 1; i >= 0; i--)
	{
		if ((plan->walked & MEASURE_BIT(i)) && measures[i].part_of >= 0)
			plan->walked |= MEASURE_BIT(measures[i].part_of);
	}
	plan->understood |= plan->walked | MEASURE_BIT(MEASURE_REQUESTS) |
						MEASURE_BIT(MEASURE_MAX_OUTPUT_TOKENS) |
						MEASURE_BIT(MEASURE_EXPECTED_OUTPUT_TOKENS);
	for (int i = 0; i < MEASURE_COUNT; i++)
	{
		if (measures[i].part_of >= 0 && (plan->understood & MEASURE_BIT(measures[i].part_of)))
			plan->understood |= MEASURE_BIT(i);
	}
	if (plan->understood & MEASURE_BIT(MEASURE_INPUT_TOKENS))
		plan->understood |= MEASURE_BIT(MEASURE_INPUT_BYTES);
	for (int i = 0; i < (int) lengthof(sources); i++)
	{
		if (plan->priced & MEASURE_BIT(sources[i].meter))
			plan->understood |= MEASURE_BIT(sources[i].key);
	}
	if (plan->priced & (MEASURE_BIT(MEASURE_PIXELS) | MEASURE_BIT(MEASURE_MEGAPIXELS)))
		plan->used_parameters |= 1u << PARAMETER_SIZE;
	plan->used_parameters |= 1u << PARAMETER_REASONING_IS_ADDITIONAL;
	plan->most_cost_lines += 1;
}

/*
 * card_compile
 *		Compiles a card into a plan, palloc'd in the current memory context. Raises
 *		XQ202 with the line and the key if the card is not well-formed.
 */
CardPlan *
card_compile(Jsonb *card, int64 card_id, const char *model)
{
	CardPlan *plan = palloc0(sizeof(CardPlan));
	JsonbIterator *iterator;
	JsonbValue key;
	JsonbValue value;

	plan->card_id = card_id;
	plan->model = pstrdup(model);
	plan->max_output_micros = -1;
	memset(plan->first_line, -1, sizeof(plan->first_line));
	if (!JB_ROOT_IS_OBJECT(card))
		card_fail(&whole_card, "lines", "A rate card is a JSON object.");
	iterator = JsonbIteratorInit(&card->root);
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		if (card_key_is(&key, "lines"))
			read_lines(&value, plan);
		else if (card_key_is(&key, "multipliers"))
			read_multipliers(&value, plan);
		else if (card_key_is(&key, "defaults"))
			read_defaults(&value, plan);
		else if (card_key_is(&key, "minimum_charge"))
			plan->minimum = card_read_price(&whole_card, "minimum_charge", &value);
		else if (card_key_is(&key, "max_output_tokens"))
			plan->max_output_micros = card_read_quantity(&whole_card, "max_output_tokens", &value);
		else if (card_key_is(&key, "max_input_tokens"))
			(void) card_read_quantity(&whole_card, "max_input_tokens", &value);
		else if (card_key_is(&key, "reasoning_is_additional"))
		{
			if (value.type != jbvBool)
				card_fail(&whole_card, "reasoning_is_additional",
						  "The value is neither true nor false.");
			plan->reasoning_is_additional = value.val.boolean;
		}
		else if (card_key_is(&key, "mode") || card_key_is(&key, "provider"))
		{
			if (value.type != jbvString)
				card_fail(&whole_card, card_key_name(&key), "The value is not a string.");
			if (card_key_is(&key, "provider"))
				plan->provider = pnstrdup(value.val.string.val, value.val.string.len);
		}
		else if (!card_key_is(&key, "metadata"))
			card_fail(&whole_card, card_key_name(&key), "A card has no such key.");
	}
	if (plan->lines == NULL)
		card_fail(&whole_card, "lines", "The key is missing.");
	plan_finish(plan);
	check_multipliers(plan);
	return plan;
}
