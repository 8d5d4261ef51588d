/*
 * price_card.c
 *		Writes the card of one entry of the community price map.
 */
#include "cost/price_draft.h"

#include "types/json_writer.h"

/* A price or factor, as a string: no reader takes it for a float. */
static void
write_decimal(JsonWriter *writer, const char *key, int128 decimal)
{
	char *text = palloc(DECIMAL_TEXT_SIZE);

	(void) decimal_to_cstring(decimal, PRICE_SCALE, text);
	json_text(writer, key, text);
}

/*
 * write_conditions
 *		Writes "when" and "above" of a line.
 */
static void
write_conditions(JsonWriter *writer, const CardLine *line)
{
	const MapPrice *price = &line->price;

	if (price_condition_count(price) > 0 || line->absent >= 0)
	{
		json_begin_object(writer, "when");
		if (price->key.tier != NULL)
			json_text(writer, "service_tier", price->key.tier);
		if (price->key.variant[0] != '\0')
			json_text(writer, "resolution", price->key.variant);
		if (price->size != NULL)
			json_text(writer, "size", price->size);
		if (price->quality != NULL)
			json_text(writer, "quality", price->quality);
		if (price->steps != NULL)
			json_text(writer, "steps", price->steps);
		if (price->search_context != NULL)
			json_text(writer, "search_context_size", price->search_context);
		if (line->absent >= 0)
			json_null(writer, measures[line->absent].name);
		json_end_object(writer);
	}
	if (price->key.above_tokens >= 0 || price->key.above_seconds >= 0 || price->above_results >= 0)
	{
		json_begin_object(writer, "above");
		if (price->key.above_tokens >= 0)
			json_int(writer, "input_tokens", price->key.above_tokens);
		if (price->key.above_seconds >= 0)
			json_int(writer, "interval_seconds", price->key.above_seconds);
		if (price->above_results >= 0)
			json_int(writer, "max_results", price->above_results);
		json_end_object(writer);
	}
}

/*
 * write_line
 *		Writes one line.
 */
static void
write_line(JsonWriter *writer, const MapModel *model, const CardLine *line)
{
	bool search = line->meter == MEASURE_WEB_SEARCH_REQUESTS;
	bool grounding = search || line->meter == MEASURE_MAPS_REQUESTS;
	bool gemini =
		strncmp(model->provider, "vertex_ai", 9) == 0 || strncmp(model->provider, "gemini", 6) == 0;

	json_begin_object(writer, NULL);
	json_text(writer, "meter", measures[line->meter].name);
	write_decimal(writer, "price", line->price.price);
	if (search && strcmp(model->provider, "perplexity") == 0)
		json_int(writer, "per", 1000);
	if (grounding && gemini && !model->search_per_query)
		json_int(writer, "at_most", 1);
	if (line->optional || line->required)
		json_bool(writer, "required", line->required);
	write_conditions(writer, line);
	if (line->note != NULL)
		json_text(writer, "note", line->note);
	json_end_object(writer);
}

/*
 * write_multiplier
 *		Writes one multiplier for those of the meters that the card has.
 */
static void
write_multiplier(JsonWriter *writer, const CardDraft *draft, int128 factor, const char *key,
				 const char *text, uint64 meters)
{
	uint64 written = 0;

	json_begin_object(writer, NULL);
	write_decimal(writer, "factor", factor);
	json_begin_object(writer, "when");
	json_text(writer, key, text);
	json_end_object(writer);
	json_begin_array(writer, "meters");
	for (int i = 0; i < draft->count; i++)
	{
		uint64 bit = MEASURE_BIT(draft->lines[i].meter);

		if ((bit & meters) != 0 && (bit & written) == 0)
			json_text(writer, NULL, measures[draft->lines[i].meter].name);
		written |= bit;
	}
	json_end_array(writer);
	json_end_object(writer);
}

/*
 * write_multipliers
 *		Writes what scales prices: half for batches, uplifts by region, factors by
 *		speed and geography.
 */
static void
write_multipliers(JsonWriter *writer, const CardDraft *draft)
{
	uint64 tokens = 0;
	uint64 whole = MEASURE_BIT(MEASURE_INPUT_TOKENS) | MEASURE_BIT(MEASURE_OUTPUT_TOKENS);
	ListCell *cell;

	for (int i = 0; i < draft->count; i++)
	{
		if (price_is_token(draft->lines[i].meter))
			tokens |= MEASURE_BIT(draft->lines[i].meter);
	}
	if (tokens == 0 || (!draft->half_batches && draft->model->factors == NIL))
		return;
	json_begin_array(writer, "multipliers");
	if (draft->half_batches)
		write_multiplier(writer, draft, decimal_power_of_ten(PRICE_SCALE) / 2, "service_tier",
						 "batch", draft->half_meters);
	foreach (cell, draft->model->factors)
	{
		const MapPrice *factor = lfirst(cell);

		if (factor->key.kind == PRICE_UPLIFT)
			write_multiplier(writer, draft, factor->price, "data_residency", factor->key.variant,
							 tokens);
		else
			write_multiplier(writer, draft, factor->price,
							 strcmp(factor->key.variant, "fast") == 0 ? "speed" : "inference_geo",
							 factor->key.variant, whole);
	}
	json_end_array(writer);
}

/*
 * multipliers_are_exact
 *		Whether every price times all factors still has at most 24 decimals.
 */
static bool
multipliers_are_exact(const CardDraft *draft)
{
	int decimals = draft->half_batches ? 1 : 0;
	ListCell *cell;

	foreach (cell, draft->model->factors)
		decimals += decimal_count(((MapPrice *) lfirst(cell))->price, PRICE_SCALE);
	for (int i = 0; i < draft->count; i++)
	{
		if (price_is_token(draft->lines[i].meter) &&
			decimal_count(draft->lines[i].price.price, PRICE_SCALE) + decimals > PRICE_SCALE)
			return false;
	}
	return true;
}

/*
 * write_defaults
 *		Writes what a request stands for that leaves a parameter out.
 */
static void
write_defaults(JsonWriter *writer, const CardDraft *draft)
{
	bool results = false;
	bool steps = false;

	for (int i = 0; i < draft->count; i++)
	{
		results |= draft->lines[i].price.above_results >= 0;
		steps |= draft->lines[i].price.steps != NULL;
	}
	if (!results && !steps)
		return;
	json_begin_object(writer, "defaults");
	if (results)
		json_int(writer, "max_results", 10);
	if (steps)
		json_text(writer, "steps", "50");
	json_end_object(writer);
}

/*
 * price_card_make
 *		Returns the card of an entry, NULL if it has no price or an unusable one.
 */
Jsonb *
price_card_make(MapModel *model, int *line_count)
{
	CardDraft draft = {.model = model};
	JsonWriter writer = {NULL, NULL};

	*line_count = 0;
	if (model->unusable)
		return NULL;
	price_draft_make(&draft);
	draft.half_batches = draft.half_meters != 0 && price_draft_costs_tokens(&draft);
	if (draft.count == 0)
	{
		if (model->skipped == NIL)
			price_skip(model, "*", "no price");
		return NULL;
	}
	if (!multipliers_are_exact(&draft))
	{
		price_skip(model, "*", "a price times its factors has more than 24 decimals");
		return NULL;
	}
	json_begin_object(&writer, NULL);
	if (model->mode[0] != '\0')
		json_text(&writer, "mode", model->mode);
	if (model->provider[0] != '\0')
		json_text(&writer, "provider", model->provider);
	if (model->max_input_tokens > 0)
		json_int(&writer, "max_input_tokens", model->max_input_tokens);
	if (model->max_output_tokens > 0 && price_draft_find(&draft, MEASURE_OUTPUT_TOKENS) != NULL)
		json_int(&writer, "max_output_tokens", model->max_output_tokens);
	if (price_draft_find(&draft, MEASURE_OUTPUT_TOKENS) != NULL &&
		(strcmp(model->provider, "xai") == 0 || strcmp(model->provider, "perplexity") == 0))
		json_bool(&writer, "reasoning_is_additional", true);
	write_defaults(&writer, &draft);
	write_multipliers(&writer, &draft);
	json_begin_array(&writer, "lines");
	for (int i = 0; i < draft.count; i++)
		write_line(&writer, model, &draft.lines[i]);
	json_end_array(&writer);
	*line_count = draft.count;
	json_end_object(&writer);
	return json_finish(&writer);
}
