/*
 * price_key.c
 *		The keys of the community price map (LiteLLM's
 *		model_prices_and_context_window.json).
 *
 * A price key is <base>[_above_<N>k_tokens|_above_<N>s_interval] and then perhaps
 * _batches, _flex, _priority or _ultrafast. Bases are listed in one table; the suffixes are parsed,
 *so that thresholds and tiers that the map gains later are understood. A key that is in no table
 *and that looks like a price is PRICE_UNKNOWN, which the import reports.
 */
#include "cost/price_map.h"

#include <ctype.h>

typedef struct PriceBase
{
	const char *name;
	PriceKind kind;
	int meter;
	int per;
} PriceBase;

static const PriceBase bases[] = {
	{"input_cost_per_token", PRICE_METER, MEASURE_INPUT_TOKENS, 1},
	{"output_cost_per_token", PRICE_METER, MEASURE_OUTPUT_TOKENS, 1},
	{"output_cost_per_reasoning_token", PRICE_METER, MEASURE_REASONING_TOKENS, 1},
	{"cache_read_input_token_cost", PRICE_METER, MEASURE_CACHED_INPUT_TOKENS, 1},
	{"input_cost_per_token_cache_hit", PRICE_METER, MEASURE_CACHED_INPUT_TOKENS, 1},
	{"cache_read_input_audio_token_cost", PRICE_METER, MEASURE_CACHED_AUDIO_INPUT_TOKENS, 1},
	{"cache_read_input_image_token_cost", PRICE_METER, MEASURE_CACHED_IMAGE_INPUT_TOKENS, 1},
	{"cache_creation_input_token_cost", PRICE_METER, MEASURE_CACHE_WRITE_TOKENS, 1},
	{"cache_creation_input_token_cost_above_1hr", PRICE_METER, MEASURE_CACHE_WRITE_1H_TOKENS, 1},
	{"cache_creation_input_audio_token_cost", PRICE_METER, MEASURE_CACHE_WRITE_AUDIO_TOKENS, 1},
	{"citation_cost_per_token", PRICE_METER, MEASURE_CITATION_TOKENS, 1},
	{"input_cost_per_audio_token", PRICE_METER, MEASURE_AUDIO_INPUT_TOKENS, 1},
	{"output_cost_per_audio_token", PRICE_METER, MEASURE_AUDIO_OUTPUT_TOKENS, 1},
	{"input_cost_per_image_token", PRICE_METER, MEASURE_IMAGE_INPUT_TOKENS, 1},
	{"output_cost_per_image_token", PRICE_METER, MEASURE_IMAGE_OUTPUT_TOKENS, 1},
	{"input_cost_per_video_token", PRICE_METER, MEASURE_VIDEO_INPUT_TOKENS, 1},
	{"output_cost_per_video_token", PRICE_METER, MEASURE_VIDEO_OUTPUT_TOKENS, 1},
	{"input_dbu_cost_per_token", PRICE_NOT_USD, 0, 1},
	{"output_dbu_cost_per_token", PRICE_NOT_USD, 0, 1},
	{"input_cost_per_second", PRICE_SECOND_IN, 0, 1},
	{"output_cost_per_second", PRICE_SECOND_OUT, 0, 1},
	{"input_cost_per_audio_per_second", PRICE_METER, MEASURE_AUDIO_INPUT_SECONDS, 1},
	{"input_cost_per_video_per_second", PRICE_METER, MEASURE_VIDEO_INPUT_SECONDS, 1},
	{"output_cost_per_video_per_second", PRICE_METER, MEASURE_VIDEO_SECONDS, 1},
	{"input_cost_per_character", PRICE_CHARACTER_IN, MEASURE_CHARACTERS, 1},
	{"output_cost_per_character", PRICE_CHARACTER_OUT, MEASURE_OUTPUT_CHARACTERS, 1},
	{"input_cost_per_image", PRICE_IMAGE_IN, 0, 1},
	{"output_cost_per_image", PRICE_IMAGE_OUT, 0, 1},
	{"input_cost_per_pixel", PRICE_PIXEL_IN, MEASURE_PIXELS, 1},
	{"output_cost_per_pixel", PRICE_PIXEL_OUT, MEASURE_PIXELS, 1},
	{"input_cost_per_query", PRICE_METER, MEASURE_QUERIES, 1},
	{"input_cost_per_request", PRICE_METER, MEASURE_REQUESTS, 1},
	{"ocr_cost_per_page", PRICE_METER, MEASURE_PAGES, 1},
	{"ocr_cost_per_credit", PRICE_METER, MEASURE_PROVIDER_CREDITS, 1},
	{"annotation_cost_per_page", PRICE_METER, MEASURE_ANNOTATED_PAGES, 1},
	{"code_interpreter_cost_per_session", PRICE_METER, MEASURE_SESSIONS, 1},
	{"google_maps_grounding_cost_per_query", PRICE_METER, MEASURE_MAPS_REQUESTS, 1},
	{"computer_use_input_cost_per_1k_tokens", PRICE_METER, MEASURE_COMPUTER_USE_INPUT_TOKENS, 1000},
	{"computer_use_output_cost_per_1k_tokens", PRICE_METER, MEASURE_COMPUTER_USE_OUTPUT_TOKENS,
	 1000},

	/* Named per 1,000 calls, but the map holds the price of one. */
	{"file_search_cost_per_1k_calls", PRICE_METER, MEASURE_FILE_SEARCH_CALLS, 1},
	{"file_search_cost_per_gb_per_day", PRICE_METER, MEASURE_STORAGE_GB_DAYS, 1},
	{"vector_store_cost_per_gb_per_day", PRICE_METER, MEASURE_STORAGE_GB_DAYS, 1},
	{"search_context_cost_per_query", PRICE_SEARCH_CONTEXT, MEASURE_WEB_SEARCH_REQUESTS, 1},
	{"tiered_pricing", PRICE_TIERED, 0, 1},
	{"provider_specific_entry", PRICE_PROVIDER, 0, 1},
	{"web_search_billing_unit", PRICE_NONE, 0, 1},
};

static const struct
{
	const char *suffix;
	const char *tier;
} tiers[] = {
	{"_batches", "batch"},
	{"_flex", "flex"},
	{"_priority", "priority"},
	{"_ultrafast", "ultrafast"},
};

/*
 * strip_suffix
 *		Cuts a suffix off; returns whether it was there.
 */
static bool
strip_suffix(char *text, const char *suffix)
{
	size_t length = strlen(text);
	size_t suffix_length = strlen(suffix);

	if (length <= suffix_length || strcmp(text + length - suffix_length, suffix) != 0)
		return false;
	text[length - suffix_length] = '\0';
	return true;
}

/*
 * strip_threshold
 *		Cuts "_above_<N><unit>" off the end; returns N, or -1 if it is not there.
 */
static int64
strip_threshold(char *text, const char *unit)
{
	static const char marker[] = "_above_";
	char *found = NULL;
	char *end;
	long threshold;

	for (char *p = text; (p = strstr(p, marker)) != NULL; p++)
		found = p;
	if (found == NULL || !isdigit((unsigned char) found[sizeof(marker) - 1]))
		return -1;
	threshold = strtol(found + sizeof(marker) - 1, &end, 10);
	if (strcmp(end, unit) != 0 || threshold > 1000000)
		return -1;
	*found = '\0';
	return threshold;
}

/*
 * looks_like_price
 *		Whether an unknown key may be a price.
 */
static bool
looks_like_price(const char *text)
{
	static const char *const signs[] = {"cost", "pric", "multiplier", "uplift", "fee", "rate_"};

	for (int i = 0; i < (int) lengthof(signs); i++)
	{
		if (strstr(text, signs[i]) != NULL)
			return true;
	}
	return false;
}

/*
 * variant_after
 *		Notes what follows a prefix, if it is one word; returns whether it is.
 */
static bool
variant_after(const char *text, const char *prefix, PriceKey *key)
{
	size_t length = strlen(prefix);

	if (strncmp(text, prefix, length) != 0 || text[length] == '\0' ||
		strspn(text + length, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(text + length))
		return false;
	strlcpy(key->variant, text + length, sizeof(key->variant));
	return true;
}

/*
 * price_key_parse
 *		Takes a key of the map apart.
 */
PriceKey
price_key_parse(const char *text, int length)
{
	PriceKey key = {.kind = PRICE_UNKNOWN, .per = 1, .above_tokens = -1, .above_seconds = -1};
	char base[PRICE_KEY_SIZE];

	if (length >= PRICE_KEY_SIZE)
		return key;
	memcpy(base, text, length);
	base[length] = '\0';
	for (int i = 0; i < (int) lengthof(tiers) && key.tier == NULL; i++)
	{
		if (strip_suffix(base, tiers[i].suffix))
			key.tier = tiers[i].tier;
	}
	key.above_tokens = strip_threshold(base, "k_tokens");
	if (key.above_tokens >= 0)
		key.above_tokens *= 1000;
	key.above_seconds = strip_threshold(base, "s_interval");
	for (int i = 0; i < (int) lengthof(bases); i++)
	{
		if (strcmp(base, bases[i].name) == 0)
		{
			key.kind = bases[i].kind;
			key.meter = bases[i].meter;
			key.per = bases[i].per;
			return key;
		}
	}
	if (variant_after(base, "output_cost_per_second_", &key))
		key.kind = PRICE_SECOND_OUT;
	else if (variant_after(base, "regional_processing_uplift_multiplier_", &key))
		key.kind = PRICE_UPLIFT;
	else if (!looks_like_price(base))
		key.kind = PRICE_NONE;
	return key;
}
