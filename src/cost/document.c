/*
 * document.c
 *		The public document of an estimate or a price, as jsonb.
 *
 * All numbers that are money or quantities are decimal strings, so that no client's
 * floating point touches them.
 */
#include "cost/document.h"

#include "cost/json_build.h"

static void
push_amount(JsonBuild *build, const char *key, const AmountEntry *entries, int count)
{
	json_key(build, key);
	json_begin(build, false);
	for (int i = 0; i < count; i++)
		json_key_decimal(build, entries[i].resource, entries[i].micros, QUANTITY_SCALE);
	json_end(build, false);
}

/*
 * push_line
 *		Adds one line. What is charged once is shown at what it costs.
 */
static void
push_line(JsonBuild *build, const CostLine *line)
{
	json_begin(build, false);
	json_key_text(build, "meter", line->meter);
	json_key_decimal(build, "quantity", line->quantity_micros, QUANTITY_SCALE);
	if (line->quantity_micros == QUANTITY_ONE)
		json_key_decimal(build, "unit_price_usd", line->cost, COST_SCALE);
	else
		json_key_decimal(build, "unit_price_usd", line->unit_price, PRICE_SCALE);
	json_key_decimal(build, "cost_usd", line->cost, COST_SCALE);
	json_end(build, false);
}

/*
 * document_make
 *		Builds the document; it is palloc'd in the current memory context.
 */
Jsonb *
document_make(const DocumentParts *parts)
{
	JsonBuild build = NULL;

	json_begin(&build, false);
	json_key_text(&build, "model", parts->plan->model);
	json_key_integer(&build, "card", parts->plan->card_id);
	json_key_text(&build, "cost_usd", parts->cost_usd);
	json_key_text(&build, "credits_per_usd", parts->rate->credits_per_usd);
	if (parts->rate->adjustment != NULL)
		json_key_text(&build, "adjustment", parts->rate->adjustment);
	push_amount(&build, "amount", parts->amount, parts->amount_count);
	push_amount(&build, "expected", parts->expected, parts->amount_count);
	json_key(&build, "lines");
	json_begin(&build, true);
	for (int i = 0; i < parts->cost->line_count; i++)
		push_line(&build, &parts->cost->lines[i]);
	json_end(&build, true);
	json_key(&build, "assumptions");
	json_begin(&build, true);
	for (int i = 0; i < parts->assumptions->count; i++)
		json_text(&build, WJB_ELEM, parts->assumptions->texts[i]);
	json_end(&build, true);
	return JsonbValueToJsonb(json_end(&build, false));
}
