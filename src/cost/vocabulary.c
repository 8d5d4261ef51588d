/*
 * vocabulary.c
 *		The words of requests, usage and rate cards, in one table.
 *
 * Keys of requests and usage, meters of cards and subjects of conditions are all
 * words of this vocabulary. Totals include their parts: input_tokens includes
 * cached, cache-written, audio, image and video tokens, output_tokens includes
 * reasoning, audio, image and video tokens. A part that a card has no price for is
 * priced with its total.
 *
 * Words are found through a small hash table that vocabulary_init() fills once per
 * process.
 */
#include "cost/vocabulary.h"

#define KEY MEASURE_IS_KEY
#define METER MEASURE_IS_METER
#define WHOLE MEASURE_IS_WHOLE
#define REQUIRED MEASURE_IS_REQUIRED
#define TOKENS (KEY | METER | WHOLE)

const MeasureInfo measures[MEASURE_COUNT] = {
	/* All input tokens, those of every part below included */
	[MEASURE_INPUT_TOKENS] = {"input_tokens", TOKENS | REQUIRED, -1},
	/* Input tokens read from a cache */
	[MEASURE_CACHED_INPUT_TOKENS] = {"cached_input_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	/* Cached tokens that are audio; also in audio_input_tokens */
	[MEASURE_CACHED_AUDIO_INPUT_TOKENS] = {"cached_audio_input_tokens", TOKENS,
										   MEASURE_CACHED_INPUT_TOKENS},
	/* Cached tokens of images; also in image_input_tokens */
	[MEASURE_CACHED_IMAGE_INPUT_TOKENS] = {"cached_image_input_tokens", TOKENS,
										   MEASURE_CACHED_INPUT_TOKENS},
	/* Cached tokens of video; also in video_input_tokens */
	[MEASURE_CACHED_VIDEO_INPUT_TOKENS] = {"cached_video_input_tokens", TOKENS,
										   MEASURE_CACHED_INPUT_TOKENS},
	/* Input tokens written to a cache for five minutes */
	[MEASURE_CACHE_WRITE_TOKENS] = {"cache_write_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	/* Cache-written tokens that are audio; also in audio_input_tokens */
	[MEASURE_CACHE_WRITE_AUDIO_TOKENS] = {"cache_write_audio_tokens", TOKENS,
										  MEASURE_CACHE_WRITE_TOKENS},
	/* Input tokens written to a cache for an hour; not in cache_write_tokens */
	[MEASURE_CACHE_WRITE_1H_TOKENS] = {"cache_write_1h_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	[MEASURE_AUDIO_INPUT_TOKENS] = {"audio_input_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	[MEASURE_IMAGE_INPUT_TOKENS] = {"image_input_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	[MEASURE_VIDEO_INPUT_TOKENS] = {"video_input_tokens", TOKENS, MEASURE_INPUT_TOKENS},
	/* All output tokens, those of every part below included */
	[MEASURE_OUTPUT_TOKENS] = {"output_tokens", TOKENS | REQUIRED, -1},
	[MEASURE_REASONING_TOKENS] = {"reasoning_tokens", TOKENS, MEASURE_OUTPUT_TOKENS},
	[MEASURE_AUDIO_OUTPUT_TOKENS] = {"audio_output_tokens", TOKENS, MEASURE_OUTPUT_TOKENS},
	[MEASURE_IMAGE_OUTPUT_TOKENS] = {"image_output_tokens", TOKENS, MEASURE_OUTPUT_TOKENS},
	[MEASURE_VIDEO_OUTPUT_TOKENS] = {"video_output_tokens", TOKENS, MEASURE_OUTPUT_TOKENS},
	/* Tokens of citations, in no other total */
	[MEASURE_CITATION_TOKENS] = {"citation_tokens", TOKENS, -1},
	/* Bytes of the input's text, for requests that do not know its tokens */
	[MEASURE_INPUT_BYTES] = {"input_bytes", KEY | WHOLE, -1},
	/* How many images, videos or answers one request asks for */
	[MEASURE_N] = {"n", KEY | WHOLE, -1},
	/* Generated images: n */
	[MEASURE_IMAGES] = {"images", METER | WHOLE | REQUIRED, -1},
	/* Generated pixels: width x height of size, times n */
	[MEASURE_PIXELS] = {"pixels", METER | WHOLE | REQUIRED, -1},
	/* Generated millions of pixels */
	[MEASURE_MEGAPIXELS] = {"megapixels", METER | REQUIRED, -1},
	[MEASURE_INPUT_IMAGES] = {"input_images", TOKENS, -1},
	/* Images in the answer of a model that also writes text */
	[MEASURE_OUTPUT_IMAGES] = {"output_images", TOKENS, -1},
	/* Length of the audio or video, or of the run; up to six decimals */
	[MEASURE_DURATION_SECONDS] = {"duration_seconds", KEY | METER | REQUIRED, -1},
	/* Generated video: duration_seconds times n */
	[MEASURE_VIDEO_SECONDS] = {"video_seconds", METER | REQUIRED, -1},
	/* Audio heard or spoken: duration_seconds */
	[MEASURE_AUDIO_SECONDS] = {"audio_seconds", METER | REQUIRED, -1},
	/* Audio in the input of a model that takes other input too */
	[MEASURE_AUDIO_INPUT_SECONDS] = {"audio_input_seconds", KEY | METER, -1},
	[MEASURE_VIDEO_INPUT_SECONDS] = {"video_input_seconds", KEY | METER, -1},
	/* Time between two embeddings of a video */
	[MEASURE_INTERVAL_SECONDS] = {"interval_seconds", KEY, -1},
	[MEASURE_CHARACTERS] = {"characters", TOKENS | REQUIRED, -1},
	[MEASURE_OUTPUT_CHARACTERS] = {"output_characters", TOKENS | REQUIRED, -1},
	[MEASURE_PAGES] = {"pages", TOKENS | REQUIRED, -1},
	/* Pages that were also annotated */
	[MEASURE_ANNOTATED_PAGES] = {"annotated_pages", TOKENS, -1},
	/* Credits of the provider's own currency */
	[MEASURE_PROVIDER_CREDITS] = {"provider_credits", KEY | METER | REQUIRED, -1},
	/* Search or rerank queries */
	[MEASURE_QUERIES] = {"queries", TOKENS | REQUIRED, -1},
	/* Web searches that the model made */
	[MEASURE_WEB_SEARCH_REQUESTS] = {"web_search_requests", TOKENS, -1},
	/* Look-ups on maps that the model made */
	[MEASURE_MAPS_REQUESTS] = {"maps_requests", TOKENS, -1},
	/* File searches that the model made */
	[MEASURE_FILE_SEARCH_CALLS] = {"file_search_calls", TOKENS, -1},
	/* Sessions of a code interpreter */
	[MEASURE_SESSIONS] = {"sessions", TOKENS, -1},
	/* Input tokens of computer use, in no other total */
	[MEASURE_COMPUTER_USE_INPUT_TOKENS] = {"computer_use_input_tokens", TOKENS, -1},
	/* Output tokens of computer use, in no other total */
	[MEASURE_COMPUTER_USE_OUTPUT_TOKENS] = {"computer_use_output_tokens", TOKENS, -1},
	[MEASURE_STORAGE_GB] = {"storage_gb", KEY, -1},
	[MEASURE_DAYS] = {"days", KEY, -1},
	/* storage_gb times days */
	[MEASURE_STORAGE_GB_DAYS] = {"storage_gb_days", METER, -1},
	[MEASURE_REQUESTS] = {"requests", TOKENS, -1},
	/* Results that a search may return */
	[MEASURE_MAX_RESULTS] = {"max_results", KEY | WHOLE, -1},
	/* Bound of the output tokens of one answer, before it exists */
	[MEASURE_MAX_OUTPUT_TOKENS] = {"max_output_tokens", KEY | WHOLE, -1},
	/* Output tokens that the caller expects */
	[MEASURE_EXPECTED_OUTPUT_TOKENS] = {"expected_output_tokens", KEY | WHOLE, -1},
};

const char *const parameters[PARAMETER_COUNT] = {
	[PARAMETER_SIZE] = "size",
	[PARAMETER_QUALITY] = "quality",
	[PARAMETER_RESOLUTION] = "resolution",
	[PARAMETER_SERVICE_TIER] = "service_tier",
	[PARAMETER_SEARCH_CONTEXT_SIZE] = "search_context_size",
	[PARAMETER_DATA_RESIDENCY] = "data_residency",
	[PARAMETER_INFERENCE_GEO] = "inference_geo",
	[PARAMETER_SPEED] = "speed",
	[PARAMETER_AUDIO] = "audio",
	[PARAMETER_STYLE] = "style",
	[PARAMETER_STEPS] = "steps",
	[PARAMETER_FORMAT] = "format",
	[PARAMETER_REASONING_IS_ADDITIONAL] = "reasoning_is_additional",
};

/* Other names under which the same words are known. */
static const struct
{
	const char *name;
	WordKind kind;
	int index;
} aliases[] = {
	{"max_tokens", WORD_MEASURE, MEASURE_MAX_OUTPUT_TOKENS},
	{"max_completion_tokens", WORD_MEASURE, MEASURE_MAX_OUTPUT_TOKENS},
	{"image_count", WORD_MEASURE, MEASURE_INPUT_IMAGES},
	{"search_units", WORD_MEASURE, MEASURE_QUERIES},
	{"credits", WORD_MEASURE, MEASURE_PROVIDER_CREDITS},
	{"code_interpreter_sessions", WORD_MEASURE, MEASURE_SESSIONS},
	{"context_size", WORD_PARAMETER, PARAMETER_SEARCH_CONTEXT_SIZE},
	{INPUT_TEXT, WORD_TEXT, MEASURE_INPUT_BYTES},
	{"metadata", WORD_IGNORED, 0},
};

/* Open addressing; a slot holds 1 + the number of an entry, or 0. */
#define SLOT_BITS 10
#define SLOT_COUNT (1 << SLOT_BITS)

typedef struct VocabularyEntry
{
	const char *name;
	int length;
	Word word;
} VocabularyEntry;

static VocabularyEntry entries[MEASURE_COUNT + PARAMETER_COUNT + lengthof(aliases)];
static uint8 slots[SLOT_COUNT];

StaticAssertDecl(lengthof(entries) < SLOT_COUNT / 2, "the table is at most half full");

/*
 * word_slot
 *		Returns where the search for a word begins: its length and three of its bytes
 *		tell the words apart well. The multiplication is Fibonacci hashing (Knuth, TAOCP 3, 6.4).
 */
static inline uint32
word_slot(const char *text, int length)
{
	uint32 hash = (uint32) length;

	if (length > 0)
	{
		hash |= (uint32) (unsigned char) text[0] << 8;
		hash |= (uint32) (unsigned char) text[(uint32) length * 3 / 8] << 16;
		hash |= (uint32) (unsigned char) text[(uint32) length * 3 / 4] << 24;
	}
	return (hash * 0x9E3779B1U) >> (32 - SLOT_BITS);
}

static void
vocabulary_add(int entry, const char *name, WordKind kind, int index)
{
	uint32 slot = word_slot(name, strlen(name));

	while (slots[slot] != 0)
		slot = (slot + 1) % SLOT_COUNT;
	slots[slot] = (uint8) (entry + 1);
	entries[entry].name = name;
	entries[entry].length = (int) strlen(name);
	entries[entry].word.kind = kind;
	entries[entry].word.index = index;
}

/*
 * vocabulary_init
 *		Fills the table of words; called once when the library is loaded.
 */
void
vocabulary_init(void)
{
	int entry = 0;

	for (int i = 0; i < MEASURE_COUNT; i++)
		vocabulary_add(entry++, measures[i].name, WORD_MEASURE, i);
	for (int i = 0; i < PARAMETER_COUNT; i++)
		vocabulary_add(entry++, parameters[i], WORD_PARAMETER, i);
	for (int i = 0; i < (int) lengthof(aliases); i++)
		vocabulary_add(entry++, aliases[i].name, aliases[i].kind, aliases[i].index);
}

/*
 * vocabulary_find
 *		Returns what a word means; kind is WORD_UNKNOWN if it has no meaning.
 */
Word
vocabulary_find(const char *text, int length)
{
	uint32 slot = word_slot(text, length);

	for (; slots[slot] != 0; slot = (slot + 1) % SLOT_COUNT)
	{
		const VocabularyEntry *entry = &entries[slots[slot] - 1];

		if (entry->length == length && memcmp(entry->name, text, length) == 0)
			return entry->word;
	}
	return (Word){.kind = WORD_UNKNOWN};
}

/*
 * vocabulary_normalize
 *		Writes the letters and digits of text in lower case into normal, so that
 *		'1024-x-1024' and '1024x1024', '1080P' and '1080p' are the same. Returns the
 *		length, or -1 if there are more than NORMAL_SIZE of them.
 */
int
vocabulary_normalize(const char *text, int length, char *normal)
{
	int count = 0;

	for (int i = 0; i < length; i++)
	{
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || IS_HIGHBIT_SET(c)))
			continue;
		if (count == NORMAL_SIZE)
			return -1;
		normal[count++] = c;
	}
	return count;
}
