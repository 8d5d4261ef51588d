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
#include "cost/plan.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "errors.h"

#define MAX_MULTIPLIERS 16

/* Where in the card an error is. */
typedef struct CardPlace
{
	const char *list; /* "line", "multiplier", or NULL for the card itself */
	int number;
} CardPlace;

static const CardPlace whole_card = {NULL, 0};

/*
 * card_fail
 *		Raises the error of a card; detail is a full sentence.
 */
static void
pg_attribute_noreturn() card_fail(const CardPlace *place, const char *key, const char *detail)
{
	if (place->list != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_QUOTA_INVALID_RATE_CARD),
				 errmsg("invalid rate card: %s %d, key \"%s\"", place->list, place->number, key),
				 errdetail_internal("%s", detail)));
	ereport(ERROR,
			(errcode(ERRCODE_QUOTA_INVALID_RATE_CARD), errmsg("invalid rate card: key \"%s\"", key),
			 errdetail_internal("%s", detail)));
}

/*
 * key_name
 *		Returns a key for use in an error, cut if it is long.
 */
static char *
key_name(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, Min(key->val.string.len, 64));
}

static inline bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		   memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/* The containers of a value; NULL if it is of another type. */
static JsonbContainer *
value_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data)
			   ? value->val.binary.data
			   : NULL;
}

static JsonbContainer *
value_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
				   !JsonContainerIsScalar(value->val.binary.data)
			   ? value->val.binary.data
			   : NULL;
}

/*
 * read_decimal
 *		Reads a decimal that is not negative, a JSON number or a string.
 */
static int128
read_decimal(const CardPlace *place, const char *key, const JsonbValue *value, int scale)
{
	int128 decimal = 0;
	DecimalStatus status = DECIMAL_MALFORMED;

	if (value->type == jbvNumeric)
		status = decimal_from_numeric(value->val.numeric, scale, &decimal);
	else if (value->type == jbvString)
		status = decimal_from_text(value->val.string.val, value->val.string.len, scale, &decimal);
	if (status == DECIMAL_MALFORMED)
		card_fail(place, key, "The value is not a decimal number.");
	if (status == DECIMAL_INEXACT)
		card_fail(place, key, psprintf("The value has more than %d decimals.", scale));
	if (status == DECIMAL_OVERFLOW ||
		decimal / decimal_power_of_ten(scale) >= QUANTITY_MAX_MICROS / QUANTITY_ONE)
		card_fail(place, key, "The value is not below 1000000000000.");
	if (decimal < 0)
		card_fail(place, key, "The value is negative.");
	return decimal;
}

static int128
read_price(const CardPlace *place, const char *key, const JsonbValue *value)
{
	int128 price = read_decimal(place, key, value, PRICE_SCALE);

	if (price >= decimal_power_of_ten(PRICE_SCALE) * PRICE_MAX_USD)
		card_fail(place, key, psprintf("The price is not below %d dollars.", PRICE_MAX_USD));
	return price;
}

static int64
read_quantity(const CardPlace *place, const char *key, const JsonbValue *value)
{
	return (int64) read_decimal(place, key, value, QUANTITY_SCALE);
}

/*
 * read_meter
 *		Reads the name of a meter.
 */
static Measure
read_meter(const CardPlace *place, const char *key, const JsonbValue *value)
{
	if (value->type == jbvString)
	{
		Word word = vocabulary_find(value->val.string.val, value->val.string.len);

		if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_METER))
			return (Measure) word.index;
		card_fail(place, key,
				  psprintf("\"%s\" is no meter; docs/cost.md lists them.", key_name(value)));
	}
	card_fail(place, key, "A meter is a string.");
}

/*
 * read_condition_value
 *		Adds one value that a condition accepts: a number of a measure, a text of a
 *		parameter, or null for "not given".
 */
static void
read_condition_value(const CardPlace *place, const char *key, PlanCondition *condition,
					 const JsonbValue *value)
{
	bool of_measure = condition->kind == CONDITION_NUMBER;

	if (condition->count == PLAN_MAX_VALUES)
		card_fail(place, key, psprintf("A condition has at most %d values.", PLAN_MAX_VALUES));
	if (of_measure)
	{
		condition->numbers[condition->count++] = read_quantity(place, key, value);
		return;
	}

	UsageText text;
	UsageText *normal = &condition->texts[condition->count++];

	if (value->type == jbvString)
		text = (UsageText){value->val.string.val, value->val.string.len};
	else if (value->type == jbvBool)
		text = (UsageText){value->val.boolean ? "true" : "false", value->val.boolean ? 4 : 5};
	else if (value->type == jbvNumeric)
	{
		text.text =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		text.length = (int) strlen(text.text);
	}
	else
		card_fail(place, key,
				  "A condition is a text, a number, a boolean, null, or a list of "
				  "texts, numbers and booleans.");
	normal->text = palloc(NORMAL_SIZE);
	normal->length = vocabulary_normalize(text.text, text.length, (char *) normal->text);
	if (normal->length <= 0)
		card_fail(place, key, "The text has no letters and digits, or more than 64.");
}

/*
 * read_condition
 *		Reads one key of "when".
 */
static PlanCondition
read_condition(const CardPlace *place, const char *key, Word word, JsonbValue *value)
{
	bool of_measure = word.kind == WORD_MEASURE;
	PlanCondition condition = {.kind = of_measure ? CONDITION_NUMBER : CONDITION_TEXT,
							   .subject = word.index};
	JsonbContainer *list = value_array(value);
	int count = list != NULL ? (int) JsonContainerSize(list) : 1;

	if (value->type == jbvNull)
	{
		condition.kind = of_measure ? CONDITION_ABSENT : CONDITION_ABSENT_PARAMETER;
		return condition;
	}
	if (count == 0)
		card_fail(place, key, "The list is empty.");
	count = Min(count, PLAN_MAX_VALUES);
	if (of_measure)
		condition.numbers = palloc(sizeof(int64) * count);
	else
		condition.texts = palloc(sizeof(UsageText) * count);
	if (list == NULL)
		read_condition_value(place, key, &condition, value);
	else
	{
		for (int i = 0; i < (int) JsonContainerSize(list); i++)
			read_condition_value(place, key, &condition, getIthJsonbValueFromContainer(list, i));
	}
	return condition;
}

/*
 * read_conditions
 *		Appends the conditions of "when" (above = false) or "above".
 */
static void
read_conditions(const CardPlace *place, const JsonbValue *value, bool above,
				PlanConditions *conditions)
{
	const char *list = above ? "above" : "when";
	JsonbContainer *object = value_object(value);
	JsonbIterator *iterator;
	JsonbValue key;
	JsonbValue item;

	if (object == NULL)
		card_fail(place, list, "The value is not an object.");
	conditions->items =
		conditions->items == NULL
			? palloc(sizeof(PlanCondition) * (JsonContainerSize(object) + 1))
			: repalloc(conditions->items,
					   sizeof(PlanCondition) * (conditions->count + JsonContainerSize(object) + 1));
	iterator = JsonbIteratorInit(object);
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		Word word = vocabulary_find(key.val.string.val, key.val.string.len);
		char *name = psprintf("%s.%s", list, key_name(&key));
		PlanCondition *condition = &conditions->items[conditions->count++];

		JsonbIteratorNext(&iterator, &item, true);
		if ((word.kind != WORD_MEASURE && (above || word.kind != WORD_PARAMETER)) ||
			(word.kind == WORD_MEASURE && !(measures[word.index].flags & MEASURE_IS_KEY)))
			card_fail(place, name,
					  above ? "The key is no quantity of requests."
							: "The key is no word of requests.");
		if (above)
		{
			*condition =
				(PlanCondition){.kind = CONDITION_ABOVE, .subject = word.index, .count = 1};
			condition->numbers = palloc(sizeof(int64));
			condition->numbers[0] = read_quantity(place, name, &item);
		}
		else
			*condition = read_condition(place, name, word, &item);
	}
}

/*
 * read_slices
 *		Reads "tiers": a list of {"up_to", "price"}, the last without "up_to".
 */
static void
read_slices(const CardPlace *place, const JsonbValue *value, PlanLine *line)
{
	JsonbContainer *list = value_array(value);
	int count = list == NULL ? 0 : (int) JsonContainerSize(list);
	int64 last = 0;

	if (count == 0 || count > PLAN_MAX_VALUES)
		card_fail(place, "tiers",
				  psprintf("The value is not a list of 1 to %d tiers.", PLAN_MAX_VALUES));
	line->slices = palloc(sizeof(PlanSlice) * count);
	line->slice_count = count;
	for (int i = 0; i < count; i++)
	{
		JsonbContainer *tier = value_object(getIthJsonbValueFromContainer(list, i));
		JsonbValue *up_to = NULL;
		JsonbValue *price = NULL;

		if (tier != NULL)
		{
			up_to = getKeyJsonValueFromContainer(tier, "up_to", 5, NULL);
			price = getKeyJsonValueFromContainer(tier, "price", 5, NULL);
		}
		if (price == NULL || (int) JsonContainerSize(tier) != 1 + (up_to != NULL))
			card_fail(place, "tiers", "A tier is an object of \"up_to\" and \"price\".");
		if ((up_to == NULL) != (i == count - 1))
			card_fail(place, "tiers", "Every tier but the last has \"up_to\".");
		line->slices[i].price = read_price(place, "tiers.price", price);
		line->slices[i].up_to_micros =
			up_to == NULL ? PG_INT64_MAX : read_quantity(place, "tiers.up_to", up_to);
		if (line->slices[i].up_to_micros <= last)
			card_fail(place, "tiers.up_to", "The tiers do not rise.");
		last = line->slices[i].up_to_micros;
	}
}

/*
 * line_apply_per
 *		Divides the prices of a line by the quantity they are given for.
 */
static void
line_apply_per(const CardPlace *place, const JsonbValue *value, PlanLine *line)
{
	int128 per = read_quantity(place, "per", value);

	if (per == 0)
		card_fail(place, "per", "The value is zero.");
	for (int i = 0; i < line->slice_count; i++)
	{
		PlanSlice *slice = &line->slices[i];
		int128 whole = slice->price / per;
		int128 rest = slice->price % per;

		/* per is in millionths; price and rest are below 10^32, per below 10^18. */
		if (rest * QUANTITY_ONE % per != 0)
			card_fail(place, "per",
					  psprintf("The price of one unit has more than %d decimals.", PRICE_SCALE));
		slice->price = whole * QUANTITY_ONE + rest * QUANTITY_ONE / per;
		if (slice->price >= decimal_power_of_ten(PRICE_SCALE) * PRICE_MAX_USD)
			card_fail(place, "per", "The price of one unit is too large.");
	}
}

/*
 * read_line
 *		Reads one line of a card; required is what "required" says, or -1.
 */
static void
read_line(const CardPlace *place, JsonbContainer *object, PlanLine *line, int *required)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue key;
	JsonbValue value;
	JsonbValue per = {.type = jbvNull};
	bool has_meter = false;
	bool has_tiering = false;

	memset(line, 0, sizeof(PlanLine));
	line->number = place->number;
	line->most_micros = PG_INT64_MAX;
	*required = -1;
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		if (key_is(&key, "meter"))
		{
			line->meter = read_meter(place, "meter", &value);
			has_meter = true;
		}
		else if (key_is(&key, "price") || key_is(&key, "tiers"))
		{
			if (line->slices != NULL)
				card_fail(place, "tiers", "A line has either \"price\" or \"tiers\".");
			if (key_is(&key, "tiers"))
			{
				read_slices(place, &value, line);
				continue;
			}
			line->slices = palloc(sizeof(PlanSlice));
			line->slice_count = 1;
			line->slices[0].up_to_micros = PG_INT64_MAX;
			line->slices[0].price = read_price(place, "price", &value);
		}
		else if (key_is(&key, "tiering"))
		{
			bool is_text = value.type == jbvString;

			if (!is_text || !(key_is(&value, "graduated") || key_is(&value, "volume")))
				card_fail(place, "tiering", "The value is neither \"graduated\" nor \"volume\".");
			line->graduated = key_is(&value, "graduated");
			has_tiering = true;
		}
		else if (key_is(&key, "per"))
			per = value;
		else if (key_is(&key, "block"))
			line->block_micros = read_quantity(place, "block", &value);
		else if (key_is(&key, "free"))
			line->free_micros = read_quantity(place, "free", &value);
		else if (key_is(&key, "at_most"))
			line->most_micros = read_quantity(place, "at_most", &value);
		else if (key_is(&key, "required"))
		{
			if (value.type != jbvBool)
				card_fail(place, "required", "The value is neither true nor false.");
			*required = value.val.boolean;
		}
		else if (key_is(&key, "when") || key_is(&key, "above"))
			read_conditions(place, &value, key_is(&key, "above"), &line->conditions);
		else if (!key_is(&key, "note"))
			card_fail(place, key_name(&key), "A line has no such key.");
	}
	if (!has_meter)
		card_fail(place, "meter", "The key is missing.");
	if (line->slices == NULL)
		card_fail(place, "price", "The key is missing.");
	if (has_tiering != (line->slice_count > 1))
		card_fail(place, "tiering", "Several tiers, and only they, have \"tiering\".");
	if (per.type != jbvNull)
		line_apply_per(place, &per, line);
}

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
	JsonbContainer *list = value_array(value);
	uint64 optional = 0;

	if (list == NULL || JsonContainerSize(list) == 0 || JsonContainerSize(list) > PLAN_MAX_LINES)
		card_fail(&whole_card, "lines",
				  psprintf("The value is not a list of 1 to %d lines.", PLAN_MAX_LINES));
	plan->line_count = (int) JsonContainerSize(list);
	plan->lines = palloc(sizeof(PlanLine) * plan->line_count);
	for (int i = 0; i < plan->line_count; i++)
	{
		CardPlace place = {"line", i + 1};
		JsonbContainer *object = value_object(getIthJsonbValueFromContainer(list, i));
		PlanLine *line = &plan->lines[i];
		int required;

		if (object == NULL)
			card_fail(&place, "meter", "A line is an object.");
		read_line(&place, object, line, &required);
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
		if (key_is(&key, "factor"))
			multiplier->factor = read_decimal(place, "factor", &value, PRICE_SCALE);
		else if (key_is(&key, "when") || key_is(&key, "above"))
			read_conditions(place, &value, key_is(&key, "above"), &multiplier->conditions);
		else if (key_is(&key, "meters"))
		{
			JsonbContainer *list = value_array(&value);

			if (list == NULL || JsonContainerSize(list) == 0)
				card_fail(place, "meters", "The value is not a list of meters.");
			multiplier->meters = 0;
			for (int i = 0; i < (int) JsonContainerSize(list); i++)
				multiplier->meters |= MEASURE_BIT(
					read_meter(place, "meters", getIthJsonbValueFromContainer(list, i)));
		}
		else
			card_fail(place, key_name(&key), "A multiplier has no such key.");
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
	JsonbContainer *list = value_array(value);

	if (list == NULL || JsonContainerSize(list) > MAX_MULTIPLIERS)
		card_fail(&whole_card, "multipliers",
				  psprintf("The value is not a list of at most %d multipliers.", MAX_MULTIPLIERS));
	plan->multiplier_count = (int) JsonContainerSize(list);
	plan->multipliers = palloc(sizeof(PlanMultiplier) * Max(plan->multiplier_count, 1));
	for (int i = 0; i < plan->multiplier_count; i++)
	{
		CardPlace place = {"multiplier", i + 1};
		JsonbContainer *object = value_object(getIthJsonbValueFromContainer(list, i));

		if (object == NULL)
			card_fail(&place, "factor", "A multiplier is an object.");
		read_multiplier(&place, object, &plan->multipliers[i]);
		plan_understand(plan, &plan->multipliers[i].conditions);
	}
}

/*
 * price_decimals
 *		Returns how many decimals a price has.
 */
static int
price_decimals(int128 price)
{
	int decimals = PRICE_SCALE;

	while (decimals > 0 && price % 10 == 0)
	{
		price /= 10;
		decimals--;
	}
	return decimals;
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
			if (price_decimals(line->slices[j].price) + decimals > PRICE_SCALE)
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
	JsonbContainer *object = value_object(value);
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
		char *name = psprintf("defaults.%s", key_name(&key));

		JsonbIteratorNext(&iterator, &item, true);
		if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_KEY))
			usage_set(&plan->defaults, word.index, read_quantity(&whole_card, name, &item));
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
		if (key_is(&key, "lines"))
			read_lines(&value, plan);
		else if (key_is(&key, "multipliers"))
			read_multipliers(&value, plan);
		else if (key_is(&key, "defaults"))
			read_defaults(&value, plan);
		else if (key_is(&key, "minimum_charge"))
			plan->minimum = read_price(&whole_card, "minimum_charge", &value);
		else if (key_is(&key, "max_output_tokens"))
			plan->max_output_micros = read_quantity(&whole_card, "max_output_tokens", &value);
		else if (key_is(&key, "max_input_tokens"))
			(void) read_quantity(&whole_card, "max_input_tokens", &value);
		else if (key_is(&key, "reasoning_is_additional"))
		{
			if (value.type != jbvBool)
				card_fail(&whole_card, "reasoning_is_additional",
						  "The value is neither true nor false.");
			plan->reasoning_is_additional = value.val.boolean;
		}
		else if (key_is(&key, "mode") || key_is(&key, "provider"))
		{
			if (value.type != jbvString)
				card_fail(&whole_card, key_name(&key), "The value is not a string.");
		}
		else if (!key_is(&key, "metadata"))
			card_fail(&whole_card, key_name(&key), "A card has no such key.");
	}
	if (plan->lines == NULL)
		card_fail(&whole_card, "lines", "The key is missing.");
	plan_finish(plan);
	check_multipliers(plan);
	return plan;
}
