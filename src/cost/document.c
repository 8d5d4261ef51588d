/*
 * document.c
 *		The public document of an estimate or a price, as jsonb.
 *
 * All numbers that are money or quantities are decimal strings, so that no client's
 * floating point touches them.
 */
#include "cost/document.h"

#include "cost/json_write.h"

/*
 * write_amount
 *		Writes an amount as an object; the entries are in the order of keys.
 */
static void
write_amount(StoredJson *writer, JsonFrame *document, const AmountEntry *entries, int count)
{
	const char *keys[DOCUMENT_MAX_AMOUNTS] = {NULL};
	JsonFrame frame;

	for (int i = 0; i < count; i++)
		keys[i] = entries[i].resource;
	frame = json_open_object(writer, count, keys);
	for (int i = 0; i < count; i++)
		json_write_decimal(writer, &frame, entries[i].micros, QUANTITY_SCALE);
	json_close(writer, &frame, document);
}

/*
 * write_lines
 *		Writes the lines of a cost. What is charged once is shown at what it costs.
 */
static void
write_lines(StoredJson *writer, JsonFrame *document, const CostResult *cost)
{
	static const char *const keys[] = {"meter", "cost_usd", "quantity", "unit_price_usd"};
	JsonFrame array = json_open_array(writer, cost->line_count);

	for (int i = 0; i < cost->line_count; i++)
	{
		const CostLine *line = &cost->lines[i];
		JsonFrame frame = json_open_object(writer, lengthof(keys), keys);

		json_write_text(writer, &frame, line->meter);
		json_write_decimal(writer, &frame, line->cost, COST_SCALE);
		json_write_decimal(writer, &frame, line->quantity_micros, QUANTITY_SCALE);
		if (line->quantity_micros == QUANTITY_ONE)
			json_write_decimal(writer, &frame, line->cost, COST_SCALE);
		else
			json_write_decimal(writer, &frame, line->unit_price, PRICE_SCALE);
		json_close(writer, &frame, &array);
	}
	json_close(writer, &array, document);
}

/*
 * write_assumptions
 *		Writes what was assumed. Where that is more than is kept, the last entry says how
 *		much more, so that no request makes a long document.
 */
static void
write_assumptions(StoredJson *writer, JsonFrame *document, const Assumptions *assumptions)
{
	bool all = assumptions->count <= ASSUMPTION_MAX;
	int shown = all ? assumptions->count : ASSUMPTION_MAX - 1;
	JsonFrame array = json_open_array(writer, all ? shown : shown + 1);

	for (int i = 0; i < shown; i++)
		json_write_text(writer, &array, assumptions->texts[i]);
	if (!all)
		json_write_text(writer, &array, psprintf("and %d more", assumptions->count - shown));
	json_close(writer, &array, document);
}

/*
 * document_make
 *		Builds the document; it is palloc'd in the current memory context.
 */
Jsonb *
document_make(const DocumentParts *parts)
{
	static const char *const keys[] = {"card",     "lines",    "model",       "amount",
									   "cost_usd", "expected", "assumptions", "credits_per_usd"};
	static const char *const adjusted_keys[] = {"card",       "lines",       "model",
												"amount",     "cost_usd",    "expected",
												"adjustment", "assumptions", "credits_per_usd"};
	bool adjusted = parts->rate->adjustment != NULL;
	StoredJson writer;
	JsonFrame frame;

	json_write_begin(&writer);
	frame = json_open_object(&writer, adjusted ? lengthof(adjusted_keys) : lengthof(keys),
							 adjusted ? adjusted_keys : keys);
	json_write_integer(&writer, &frame, parts->plan->card_id);
	write_lines(&writer, &frame, parts->cost);
	json_write_text(&writer, &frame, parts->plan->model);
	write_amount(&writer, &frame, parts->amount, parts->amount_count);
	json_write_text(&writer, &frame, parts->cost_usd);
	write_amount(&writer, &frame, parts->expected, parts->amount_count);
	if (adjusted)
		json_write_text(&writer, &frame, parts->rate->adjustment);
	write_assumptions(&writer, &frame, parts->assumptions);
	json_write_text(&writer, &frame, parts->rate->credits_per_usd);
	json_close(&writer, &frame, NULL);
	return json_write_end(&writer);
}
