/*
 * price_draft.c
 *		The lines of a card to be, made of one entry of the community price map.
 *
 * What a key means depends on the mode of the model. The rules, each of which the
 * reference cases in data/ test:
 *
 * - Audio and runs carry a price per second in and out: one side is billed, the
 *   output if it has a price. Seconds of a video model are seconds of video.
 * - The price per image of an image model is per generated image; where tokens of
 *   the output are given instead, they are priced and the image is not.
 * - A price per pixel beside a price per image is the same price in another form, and
 *   goes into the note of its line.
 * - Prices above a context size move the whole request; a service tier without a
 *   price of its own has the standard price.
 * - Batch prices hold for all tokens of text, cached or reasoning or not. Tokens of
 *   audio, images and video, and models without batch prices, cost half in a batch.
 * - Web searches cost by the size of the context, medium unless said. Gemini charges
 *   one search and one look-up on maps per request unless its entry says per_query;
 *   Perplexity's price is for a thousand.
 * - Multipliers by region apply to all tokens; Anthropic's by speed and geography to
 *   uncached input and to output.
 */
#include "cost/price_draft.h"

static bool
mode_is(const MapModel *model, const char *mode)
{
	return strcmp(model->mode, mode) == 0;
}

static bool
mode_makes_images(const MapModel *model)
{
	return mode_is(model, "image_generation") || mode_is(model, "image_edit");
}

/* Models that answer with tokens. */
static bool
mode_is_text(const MapModel *model)
{
	return mode_is(model, "chat") || mode_is(model, "completion") || mode_is(model, "responses") ||
		   mode_is(model, "realtime") || mode_is(model, "");
}

/* Tokens that a price "per token" speaks of, not those of audio, images and video. */
static bool
is_text_meter(int meter)
{
	return meter == MEASURE_INPUT_TOKENS || meter == MEASURE_CACHED_INPUT_TOKENS ||
		   meter == MEASURE_CACHE_WRITE_TOKENS || meter == MEASURE_CACHE_WRITE_1H_TOKENS ||
		   meter == MEASURE_OUTPUT_TOKENS || meter == MEASURE_REASONING_TOKENS;
}

/*
 * find_standard
 *		Returns the first price of a kind without tier and threshold, or NULL.
 */
static MapPrice *
find_standard(const MapModel *model, PriceKind kind)
{
	ListCell *cell;

	foreach (cell, model->prices)
	{
		MapPrice *price = lfirst(cell);

		if (price->key.kind == kind && price->key.tier == NULL && price->key.above_tokens < 0 &&
			price->key.above_seconds < 0 && price->key.variant[0] == '\0')
			return price;
	}
	return NULL;
}

/*
 * price_draft_find
 *		Returns the last line of a meter, the one without conditions if there is one.
 */
CardLine *
price_draft_find(const CardDraft *draft, int meter)
{
	CardLine *found = NULL;

	for (int i = 0; i < draft->count; i++)
	{
		const MapPrice *price = &draft->lines[i].price;

		if (draft->lines[i].meter != (Measure) meter)
			continue;
		if (found == NULL || (price->key.tier == NULL && price->key.above_tokens < 0))
			found = &draft->lines[i];
	}
	return found;
}

/*
 * price_draft_costs_tokens
 *		Whether any token has a price above zero.
 */
bool
price_draft_costs_tokens(const CardDraft *draft)
{
	for (int i = 0; i < draft->count; i++)
	{
		if (price_is_token(draft->lines[i].meter) && draft->lines[i].price.price > 0)
			return true;
	}
	return false;
}

static CardLine *
draft_add(CardDraft *draft, int meter, const MapPrice *price)
{
	CardLine *line;

	draft->lines = repalloc(draft->lines, sizeof(CardLine) * (draft->count + 1));
	line = &draft->lines[draft->count];
	memset(line, 0, sizeof(CardLine));
	line->price = *price;
	line->meter = (Measure) meter;
	line->absent = -1;
	line->order = draft->count++;
	return line;
}

static bool
texts_equal(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/*
 * same_conditions
 *		Whether two prices of one meter hold in the same cases.
 */
static bool
same_conditions(const MapPrice *a, const MapPrice *b)
{
	return a->key.above_tokens == b->key.above_tokens &&
		   a->key.above_seconds == b->key.above_seconds && a->above_results == b->above_results &&
		   texts_equal(a->key.tier, b->key.tier) && strcmp(a->key.variant, b->key.variant) == 0 &&
		   texts_equal(a->size, b->size) && texts_equal(a->quality, b->quality) &&
		   texts_equal(a->steps, b->steps) && texts_equal(a->search_context, b->search_context);
}

/*
 * draft_add_once
 *		Adds a line unless the entry states the same under another key.
 */
static void
draft_add_once(CardDraft *draft, int meter, const MapPrice *price)
{
	for (int i = 0; i < draft->count; i++)
	{
		if (draft->lines[i].meter != (Measure) meter ||
			!same_conditions(&draft->lines[i].price, price))
			continue;
		if (draft->lines[i].price.price != price->price)
			price_skip(draft->model, measures[meter].name, "stated twice; the first is taken");
		return;
	}
	draft_add(draft, meter, price);
}

/*
 * add_seconds
 *		Seconds of video are video; of audio and runs one side is billed.
 */
static void
add_seconds(CardDraft *draft)
{
	const MapModel *model = draft->model;
	bool video = mode_is(model, "video_generation");
	bool audio = mode_is(model, "audio_transcription") || mode_is(model, "audio_speech");
	const MapPrice *out = find_standard(model, PRICE_SECOND_OUT);
	PriceKind side =
		out != NULL && (out->price > 0 || find_standard(model, PRICE_SECOND_IN) == NULL)
			? PRICE_SECOND_OUT
			: PRICE_SECOND_IN;
	ListCell *cell;

	foreach (cell, model->prices)
	{
		const MapPrice *price = lfirst(cell);

		if (video && price->key.kind == PRICE_SECOND_OUT)
			draft_add_once(draft, MEASURE_VIDEO_SECONDS, price);
		else if (video && price->key.kind == PRICE_SECOND_IN)
			draft_add_once(draft, MEASURE_VIDEO_INPUT_SECONDS, price);
		else if (!video && price->key.kind == side)
			draft_add_once(draft, audio ? MEASURE_AUDIO_SECONDS : MEASURE_DURATION_SECONDS, price);
	}
}

/*
 * note_pixels
 *		A price per pixel beside a price per image must come to the same for the size
 *		that the entry's name spells, but for a thousandth: it is rounded.
 */
static void
note_pixels(CardDraft *draft, int128 per_pixel, const char *key)
{
	CardLine *image = price_draft_find(draft, MEASURE_IMAGES);
	int128 product;
	char text[DECIMAL_TEXT_SIZE];

	if (image == NULL || draft->model->pixels == 0 ||
		__builtin_mul_overflow(per_pixel, (int128) draft->model->pixels, &product) ||
		product > image->price.price + image->price.price / 1000 ||
		product < image->price.price - image->price.price / 1000)
	{
		price_skip(draft->model, key, "is not the price per image in another form");
		return;
	}
	decimal_to_cstring(per_pixel, PRICE_SCALE, text);
	image->note = psprintf("the map also says %s per pixel", text);
}

/*
 * add_images
 *		Prices per image and pixel.
 */
static void
add_images(CardDraft *draft)
{
	MapModel *model = draft->model;
	MapPrice *in = find_standard(model, PRICE_IMAGE_IN);
	MapPrice *out = find_standard(model, PRICE_IMAGE_OUT);
	MapPrice *pixel_in = find_standard(model, PRICE_PIXEL_IN);
	MapPrice *pixel_out = find_standard(model, PRICE_PIXEL_OUT);
	bool generates = mode_makes_images(model) || (out != NULL && !price_draft_costs_tokens(draft));
	ListCell *cell;

	foreach (cell, model->sized)
		draft_add_once(draft, MEASURE_IMAGES, lfirst(cell));
	foreach (cell, model->prices)
	{
		const MapPrice *price = lfirst(cell);

		if (price->key.kind == PRICE_IMAGE_OUT)
			draft_add_once(draft, generates ? MEASURE_IMAGES : MEASURE_OUTPUT_IMAGES, price);
		else if (price->key.kind == PRICE_IMAGE_IN)
			draft_add_once(draft, generates && out == NULL ? MEASURE_IMAGES : MEASURE_INPUT_IMAGES,
						   price);
	}
	if (pixel_in == NULL && pixel_out == NULL)
		return;

	MapPrice sum = pixel_in != NULL ? *pixel_in : *pixel_out;

	if (pixel_in != NULL && pixel_out != NULL)
		sum.price += pixel_out->price;
	if (in != NULL || out != NULL)
	{
		note_pixels(draft, sum.price,
					pixel_in != NULL ? "input_cost_per_pixel" : "output_cost_per_pixel");
		return;
	}
	draft_add_once(draft, MEASURE_PIXELS, &sum);
}

/*
 * add_searches
 *		Web searches by size of the context; medium, or else the dearest, where the
 *		request does not say.
 */
static void
add_searches(CardDraft *draft)
{
	const MapPrice *other = NULL;
	bool differ = false;
	ListCell *cell;

	foreach (cell, draft->model->prices)
	{
		const MapPrice *price = lfirst(cell);

		if (price->key.kind != PRICE_SEARCH_CONTEXT)
			continue;
		differ |= other != NULL && price->price != other->price;
		if (other == NULL || strcmp(price->search_context, "medium") == 0 ||
			(strcmp(other->search_context, "medium") != 0 && price->price > other->price))
			other = price;
	}
	foreach (cell, draft->model->prices)
	{
		const MapPrice *price = lfirst(cell);

		if (price->key.kind == PRICE_SEARCH_CONTEXT && differ && price != other)
			draft_add_once(draft, MEASURE_WEB_SEARCH_REQUESTS, price);
	}
	if (other != NULL)
	{
		MapPrice unconditional = *other;

		unconditional.search_context = NULL;
		draft_add_once(draft, MEASURE_WEB_SEARCH_REQUESTS, &unconditional);
	}
}

/*
 * add_missing_totals
 *		A total without a price has that of its first part that has one: audio models
 *		whose text input is not priced apart, image models whose output is images.
 */
static void
add_missing_totals(CardDraft *draft)
{
	static const Measure totals[] = {MEASURE_INPUT_TOKENS, MEASURE_OUTPUT_TOKENS};

	for (int i = 0; i < (int) lengthof(totals); i++)
	{
		if (price_draft_find(draft, totals[i]) != NULL)
			continue;
		for (int meter = MEASURE_AUDIO_INPUT_TOKENS; meter < MEASURE_CITATION_TOKENS; meter++)
		{
			CardLine *part = price_draft_find(draft, meter);

			if (part == NULL || measures[meter].part_of != (int) totals[i])
				continue;

			MapPrice price = part->price;

			draft_add(draft, totals[i], &price);
			break;
		}
	}
}

/*
 * add_batches
 *		Batch prices of one side hold for every text token of that side.
 */
static void
add_batches(CardDraft *draft)
{
	static const Measure sides[] = {MEASURE_INPUT_TOKENS, MEASURE_OUTPUT_TOKENS};
	int count = draft->count;

	for (int side = 0; side < (int) lengthof(sides); side++)
	{
		MapPrice batch;
		bool has_batch = false;
		uint64 meters = 0;
		uint64 priced = 0;

		for (int i = 0; i < count; i++)
		{
			const CardLine *line = &draft->lines[i];
			bool is_batch = texts_equal(line->price.key.tier, "batch");

			if (price_token_side(line->meter) != (int) sides[side])
				continue;
			meters |= MEASURE_BIT(line->meter);
			if (is_batch)
				priced |= MEASURE_BIT(line->meter);
			if (is_batch && line->meter == sides[side] && line->price.key.above_tokens < 0)
			{
				has_batch = true;
				batch = line->price;
			}
		}
		if (!has_batch)
		{
			draft->half_meters |= meters;
			continue;
		}
		for (int meter = 0; meter < MEASURE_COUNT; meter++)
		{
			if ((meters & ~priced & MEASURE_BIT(meter)) == 0)
				continue;
			if (is_text_meter(meter))
				draft_add(draft, meter, &batch);
			else
				draft->half_meters |= MEASURE_BIT(meter);
		}
	}
}

/*
 * drop_free_tokens
 *		Where something else than tokens is sold, the map gives tokens the price zero.
 */
static void
drop_free_tokens(CardDraft *draft)
{
	static const Measure totals[] = {MEASURE_OUTPUT_TOKENS, MEASURE_INPUT_TOKENS};

	if (mode_is_text(draft->model))
		return;
	for (int i = 0; i < (int) lengthof(totals); i++)
	{
		bool free = true;
		int others = 0;
		int kept = 0;

		for (int j = 0; j < draft->count; j++)
		{
			if (price_token_side(draft->lines[j].meter) == (int) totals[i])
				free &= draft->lines[j].price.price == 0;
			else
				others++;
		}
		if (!free || others == 0)
			continue;
		for (int j = 0; j < draft->count; j++)
		{
			if (price_token_side(draft->lines[j].meter) != (int) totals[i])
				draft->lines[kept++] = draft->lines[j];
		}
		draft->count = kept;
	}
}

/*
 * set_requirements
 *		Which quantities a request must have, and which stand for each other.
 */
static void
set_requirements(CardDraft *draft)
{
	const MapModel *model = draft->model;
	bool has_input = price_draft_find(draft, MEASURE_INPUT_TOKENS) != NULL;
	bool has_output = price_draft_find(draft, MEASURE_OUTPUT_TOKENS) != NULL;
	bool has_images = price_draft_find(draft, MEASURE_IMAGES) != NULL;
	bool has_seconds = price_draft_find(draft, MEASURE_AUDIO_SECONDS) != NULL;
	bool has_characters = price_draft_find(draft, MEASURE_CHARACTERS) != NULL;
	bool has_other_input = price_draft_find(draft, MEASURE_INPUT_IMAGES) != NULL ||
						   price_draft_find(draft, MEASURE_VIDEO_INPUT_SECONDS) != NULL ||
						   price_draft_find(draft, MEASURE_AUDIO_INPUT_SECONDS) != NULL;
	bool embeds = mode_is(model, "embedding");

	for (int i = 0; i < draft->count; i++)
	{
		CardLine *line = &draft->lines[i];

		switch (line->meter)
		{
			case MEASURE_INPUT_TOKENS:
				line->optional = has_images || has_characters || (embeds && has_other_input) ||
								 price_draft_find(draft, MEASURE_PAGES) != NULL ||
								 price_draft_find(draft, MEASURE_QUERIES) != NULL;
				break;
			case MEASURE_OUTPUT_TOKENS:
				line->optional = !mode_is_text(model) || has_characters || has_images;
				if (mode_makes_images(model) && !has_images)
					line->optional = false;
				if (mode_is(model, "audio_speech") || mode_is(model, "audio_transcription"))
					line->optional = has_seconds;
				break;
			case MEASURE_IMAGES:
			case MEASURE_AUDIO_SECONDS:
				line->absent = has_output ? MEASURE_OUTPUT_TOKENS : -1;
				break;
			case MEASURE_CHARACTERS:
				line->optional = has_input;
				line->absent = has_input ? MEASURE_INPUT_TOKENS : -1;
				break;
			case MEASURE_OUTPUT_CHARACTERS:
				line->optional = has_output;
				line->absent = has_output ? MEASURE_OUTPUT_TOKENS : -1;
				break;
			case MEASURE_VIDEO_INPUT_SECONDS:
				line->required = mode_is_text(model) && !has_input;
				break;
			default:
				break;
		}
	}
}

/*
 * compare_lines
 *		The order of a card: by meter; batches first, then by falling threshold, then
 *		by the number of conditions.
 */
static int
compare_lines(const void *a, const void *b)
{
	const CardLine *line_a = a;
	const CardLine *line_b = b;
	int batch_a = texts_equal(line_a->price.key.tier, "batch");
	int batch_b = texts_equal(line_b->price.key.tier, "batch");

	if (line_a->meter != line_b->meter)
		return line_a->meter < line_b->meter ? -1 : 1;
	if (batch_a != batch_b)
		return batch_b - batch_a;
	if (line_a->price.key.above_tokens != line_b->price.key.above_tokens)
		return line_a->price.key.above_tokens > line_b->price.key.above_tokens ? -1 : 1;
	if (line_a->price.key.above_seconds != line_b->price.key.above_seconds)
		return line_a->price.key.above_seconds > line_b->price.key.above_seconds ? -1 : 1;
	if (line_a->price.above_results != line_b->price.above_results)
		return line_a->price.above_results > line_b->price.above_results ? -1 : 1;
	if (price_condition_count(&line_a->price) != price_condition_count(&line_b->price))
		return price_condition_count(&line_b->price) - price_condition_count(&line_a->price);
	return line_a->order - line_b->order;
}

/*
 * price_draft_make
 *		Assembles the lines of a card.
 */
void
price_draft_make(CardDraft *draft)
{
	ListCell *cell;

	draft->lines = palloc(sizeof(CardLine));
	foreach (cell, draft->model->prices)
	{
		const MapPrice *price = lfirst(cell);

		if (price->key.kind == PRICE_METER || price->key.kind == PRICE_CHARACTER_IN ||
			price->key.kind == PRICE_CHARACTER_OUT)
			draft_add_once(draft, price->key.meter, price);
	}
	add_missing_totals(draft);
	add_seconds(draft);
	add_images(draft);
	add_searches(draft);
	drop_free_tokens(draft);
	add_batches(draft);
	set_requirements(draft);
	qsort(draft->lines, draft->count, sizeof(CardLine), compare_lines);
}
