/*
 * card_line.c
 *		One line of a rate card: a meter, its price, and how quantities count.
 */
#include "cost/card_internal.h"

/*
 * read_slices
 *		Reads "tiers": a list of {"up_to", "price"}, the last without "up_to".
 */
static void
read_slices(const CardPlace *place, const JsonbValue *value, PlanLine *line)
{
	JsonbContainer *list = card_value_array(value);
	int count = list == NULL ? 0 : (int) JsonContainerSize(list);
	int64 last = 0;

	if (count == 0 || count > PLAN_MAX_VALUES)
		card_fail(place, "tiers",
				  psprintf("The value is not a list of 1 to %d tiers.", PLAN_MAX_VALUES));
	line->slices = palloc(sizeof(PlanSlice) * count);
	line->slice_count = count;
	for (int i = 0; i < count; i++)
	{
		JsonbContainer *tier = card_value_object(getIthJsonbValueFromContainer(list, i));
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
		line->slices[i].price = card_read_price(place, "tiers.price", price);
		line->slices[i].up_to_micros =
			up_to == NULL ? PG_INT64_MAX : card_read_quantity(place, "tiers.up_to", up_to);
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
	int128 per = card_read_quantity(place, "per", value);

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
 * read_tiering
 *		Reads how several tiers price a quantity.
 */
static bool
read_tiering(const CardPlace *place, const JsonbValue *value)
{
	if (value->type != jbvString ||
		!(card_key_is(value, "graduated") || card_key_is(value, "volume")))
		card_fail(place, "tiering", "The value is neither \"graduated\" nor \"volume\".");
	return card_key_is(value, "graduated");
}

/*
 * read_line_prices
 *		Reads "price" or "tiers".
 */
static void
read_line_prices(const CardPlace *place, const JsonbValue *value, bool tiers, PlanLine *line)
{
	if (line->slices != NULL)
		card_fail(place, "tiers", "A line has either \"price\" or \"tiers\".");
	if (tiers)
	{
		read_slices(place, value, line);
		return;
	}
	line->slices = palloc(sizeof(PlanSlice));
	line->slice_count = 1;
	line->slices[0].up_to_micros = PG_INT64_MAX;
	line->slices[0].price = card_read_price(place, "price", value);
}

/* What reading a line notes besides the line itself. */
typedef struct LineState
{
	bool has_meter;
	bool has_tiering;
	JsonbValue per; /* jbvNull: none */
	int required;   /* what "required" says, or -1 */
} LineState;

/*
 * read_line_key
 *		Reads one key of a line.
 */
static void
read_line_key(const CardPlace *place, const JsonbValue *key, const JsonbValue *value,
			  PlanLine *line, LineState *state)
{
	if (card_key_is(key, "meter"))
	{
		line->meter = card_read_meter(place, "meter", value);
		state->has_meter = true;
	}
	else if (card_key_is(key, "price") || card_key_is(key, "tiers"))
		read_line_prices(place, value, card_key_is(key, "tiers"), line);
	else if (card_key_is(key, "tiering"))
	{
		line->graduated = read_tiering(place, value);
		state->has_tiering = true;
	}
	else if (card_key_is(key, "per"))
		state->per = *value;
	else if (card_key_is(key, "block"))
		line->block_micros = card_read_quantity(place, "block", value);
	else if (card_key_is(key, "free"))
		line->free_micros = card_read_quantity(place, "free", value);
	else if (card_key_is(key, "at_most"))
		line->most_micros = card_read_quantity(place, "at_most", value);
	else if (card_key_is(key, "required"))
	{
		if (value->type != jbvBool)
			card_fail(place, "required", "The value is neither true nor false.");
		state->required = value->val.boolean;
	}
	else if (card_key_is(key, "when") || card_key_is(key, "above"))
		card_read_conditions(place, value, card_key_is(key, "above"), &line->conditions);
	else if (!card_key_is(key, "note"))
		card_fail(place, card_key_name(key), "A line has no such key.");
}

/*
 * card_read_line
 *		Reads one line of a card. Gives what "required" says, -1 if it is not there.
 */
void
card_read_line(const CardPlace *place, JsonbContainer *object, PlanLine *line, int *required)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue key;
	JsonbValue value;
	LineState state = {.per = {.type = jbvNull}, .required = -1};

	memset(line, 0, sizeof(PlanLine));
	line->number = place->number;
	line->most_micros = PG_INT64_MAX;
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		read_line_key(place, &key, &value, line, &state);
	}
	if (!state.has_meter)
		card_fail(place, "meter", "The key is missing.");
	if (line->slices == NULL)
		card_fail(place, "price", "The key is missing.");
	if (state.has_tiering != (line->slice_count > 1))
		card_fail(place, "tiering", "Several tiers, and only they, have \"tiering\".");
	if (state.per.type != jbvNull)
		line_apply_per(place, &state.per, line);
	*required = state.required;
}
