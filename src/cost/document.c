/*
 * document.c
 *		The public document of an estimate or a price, as jsonb.
 *
 * All numbers that are money or quantities are decimal strings, so that no client's
 * floating point touches them.
 */
#include "cost/document.h"

#include "utils/numeric.h"

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	pushJsonbValue(state, token, &value);
}

/*
 * push_decimal
 *		Adds a decimal as a string. The text lives as long as the document is built.
 */
static void
push_decimal(JsonbParseState **state, int128 decimal, int scale)
{
	char *text = palloc(DECIMAL_TEXT_SIZE);

	decimal_to_cstring(decimal, scale, text);
	push_text(state, WJB_VALUE, text);
}

static void
push_amount(JsonbParseState **state, const char *key, const AmountEntry *entries, int count)
{
	push_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		push_key(state, entries[i].resource);
		push_decimal(state, entries[i].micros, QUANTITY_SCALE);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/*
 * push_line
 *		Adds one line. What is charged once is shown at what it costs.
 */
static void
push_line(JsonbParseState **state, const CostLine *line)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_key(state, "meter");
	push_text(state, WJB_VALUE, line->meter);
	push_key(state, "quantity");
	push_decimal(state, line->quantity_micros, QUANTITY_SCALE);
	push_key(state, "unit_price_usd");
	if (line->quantity_micros == QUANTITY_ONE)
		push_decimal(state, line->cost, COST_SCALE);
	else
		push_decimal(state, line->unit_price, PRICE_SCALE);
	push_key(state, "cost_usd");
	push_decimal(state, line->cost, COST_SCALE);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/*
 * document_make
 *		Builds the document; it is palloc'd in the current memory context.
 */
Jsonb *
document_make(const DocumentParts *parts)
{
	JsonbParseState *state = NULL;
	JsonbValue card = {.type = jbvNumeric};

	card.val.numeric = int64_to_numeric(parts->plan->card_id);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "model");
	push_text(&state, WJB_VALUE, parts->plan->model);
	push_key(&state, "card");
	pushJsonbValue(&state, WJB_VALUE, &card);
	push_key(&state, "cost_usd");
	push_text(&state, WJB_VALUE, parts->cost_usd);
	push_key(&state, "credits_per_usd");
	push_text(&state, WJB_VALUE, parts->rate->credits_per_usd);
	if (parts->rate->adjustment != NULL)
	{
		push_key(&state, "adjustment");
		push_text(&state, WJB_VALUE, parts->rate->adjustment);
	}
	push_amount(&state, "amount", parts->amount, parts->amount_count);
	push_amount(&state, "expected", parts->expected, parts->amount_count);
	push_key(&state, "lines");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < parts->cost->line_count; i++)
		push_line(&state, &parts->cost->lines[i]);
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_key(&state, "assumptions");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < parts->assumptions->count; i++)
		push_text(&state, WJB_ELEM, parts->assumptions->texts[i]);
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
