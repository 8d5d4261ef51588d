/*
 * provider.c
 *		Reads the usage objects of the large providers unchanged.
 *
 * A shape is a table of paths: which quantity a number stands for, and which total
 * it must be added to because the provider counts it outside of the total (Anthropic
 * reports cached tokens beside input_tokens, Gemini thoughts beside candidates). A
 * shape is recognised by any one of its marks, keys that no other shape has.
 *
 * Providers add keys to their objects at any time, so an unknown one is noted among
 * the assumptions and is no error.
 */
#include "cost/usage.h"

#define MAX_DEPTH 4

/* A number that is known and says nothing new. */
#define NOTHING (-1)

typedef struct ProviderPath
{
	const char *path;
	int measure;
	int total; /* also added to this measure, or NOTHING */
} ProviderPath;

typedef struct ProviderShape
{
	const char *const *marks;
	const ProviderPath *paths;
} ProviderShape;

static const char *const openai_chat_marks[] = {"prompt_tokens", "completion_tokens", NULL};
static const ProviderPath openai_chat_paths[] = {
	{"prompt_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"completion_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"total_tokens", NOTHING, NOTHING},
	{"prompt_tokens_details.cached_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"prompt_tokens_details.cache_write_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"prompt_tokens_details.audio_tokens", MEASURE_AUDIO_INPUT_TOKENS, NOTHING},
	{"prompt_tokens_details.image_tokens", MEASURE_IMAGE_INPUT_TOKENS, NOTHING},
	{"prompt_tokens_details.video_tokens", MEASURE_VIDEO_INPUT_TOKENS, NOTHING},
	{"prompt_tokens_details.text_tokens", NOTHING, NOTHING},
	{"completion_tokens_details.reasoning_tokens", MEASURE_REASONING_TOKENS, NOTHING},
	{"completion_tokens_details.audio_tokens", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"completion_tokens_details.image_tokens", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"completion_tokens_details.video_tokens", MEASURE_VIDEO_OUTPUT_TOKENS, NOTHING},
	{"completion_tokens_details.text_tokens", NOTHING, NOTHING},
	{"completion_tokens_details.accepted_prediction_tokens", NOTHING, NOTHING},
	{"completion_tokens_details.rejected_prediction_tokens", NOTHING, NOTHING},
	{"prompt_cache_hit_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"prompt_cache_miss_tokens", NOTHING, NOTHING},
	{"num_search_queries", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const openai_responses_marks[] = {"input_tokens_details",
													 "output_tokens_details", "input_token_details",
													 "output_token_details", NULL};
static const ProviderPath openai_responses_paths[] = {
	{"input_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"output_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"total_tokens", NOTHING, NOTHING},
	{"input_tokens_details.cached_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"input_tokens_details.cache_write_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"input_tokens_details.audio_tokens", MEASURE_AUDIO_INPUT_TOKENS, NOTHING},
	{"input_tokens_details.image_tokens", MEASURE_IMAGE_INPUT_TOKENS, NOTHING},
	{"input_tokens_details.text_tokens", NOTHING, NOTHING},
	{"output_tokens_details.reasoning_tokens", MEASURE_REASONING_TOKENS, NOTHING},
	{"output_tokens_details.audio_tokens", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"output_tokens_details.image_tokens", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"output_tokens_details.text_tokens", NOTHING, NOTHING},
	{"input_token_details.cached_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"input_token_details.audio_tokens", MEASURE_AUDIO_INPUT_TOKENS, NOTHING},
	{"input_token_details.image_tokens", MEASURE_IMAGE_INPUT_TOKENS, NOTHING},
	{"input_token_details.text_tokens", NOTHING, NOTHING},
	{"input_token_details.cached_tokens_details.audio_tokens", MEASURE_CACHED_AUDIO_INPUT_TOKENS,
	 NOTHING},
	{"input_token_details.cached_tokens_details.image_tokens", MEASURE_CACHED_IMAGE_INPUT_TOKENS,
	 NOTHING},
	{"input_token_details.cached_tokens_details.text_tokens", NOTHING, NOTHING},
	{"output_token_details.reasoning_tokens", MEASURE_REASONING_TOKENS, NOTHING},
	{"output_token_details.audio_tokens", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"output_token_details.text_tokens", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const anthropic_marks[] = {"cache_read_input_tokens",
											  "cache_creation_input_tokens", "cache_creation",
											  "server_tool_use", NULL};
static const ProviderPath anthropic_paths[] = {
	{"input_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"output_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"cache_read_input_tokens", MEASURE_CACHED_INPUT_TOKENS, MEASURE_INPUT_TOKENS},
	{"cache_creation_input_tokens", MEASURE_CACHE_WRITE_TOKENS, MEASURE_INPUT_TOKENS},
	{"cache_creation.ephemeral_5m_input_tokens", NOTHING, NOTHING},
	{"cache_creation.ephemeral_1h_input_tokens", MEASURE_CACHE_WRITE_1H_TOKENS, NOTHING},
	{"server_tool_use.web_search_requests", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{"server_tool_use.web_fetch_requests", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const bedrock_marks[] = {"inputTokens", "outputTokens", NULL};
static const ProviderPath bedrock_paths[] = {
	{"inputTokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"outputTokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"totalTokens", NOTHING, NOTHING},
	{"cacheReadInputTokens", MEASURE_CACHED_INPUT_TOKENS, MEASURE_INPUT_TOKENS},
	{"cacheReadInputTokenCount", NOTHING, NOTHING},
	{"cacheWriteInputTokens", MEASURE_CACHE_WRITE_TOKENS, MEASURE_INPUT_TOKENS},
	{"cacheWriteInputTokenCount", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const gemini_marks[] = {"promptTokenCount", "candidatesTokenCount",
										   "totalTokenCount", NULL};
static const ProviderPath gemini_paths[] = {
	{"promptTokenCount", MEASURE_INPUT_TOKENS, NOTHING},
	{"toolUsePromptTokenCount", MEASURE_INPUT_TOKENS, NOTHING},
	{"cachedContentTokenCount", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"candidatesTokenCount", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"responseTokenCount", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"thoughtsTokenCount", MEASURE_REASONING_TOKENS, MEASURE_OUTPUT_TOKENS},
	{"totalTokenCount", NOTHING, NOTHING},
	{"promptTokensDetails.TEXT", NOTHING, NOTHING},
	{"promptTokensDetails.DOCUMENT", NOTHING, NOTHING},
	{"promptTokensDetails.AUDIO", MEASURE_AUDIO_INPUT_TOKENS, NOTHING},
	{"promptTokensDetails.IMAGE", MEASURE_IMAGE_INPUT_TOKENS, NOTHING},
	{"promptTokensDetails.VIDEO", MEASURE_VIDEO_INPUT_TOKENS, NOTHING},
	{"cacheTokensDetails.TEXT", NOTHING, NOTHING},
	{"cacheTokensDetails.DOCUMENT", NOTHING, NOTHING},
	{"cacheTokensDetails.VIDEO", NOTHING, NOTHING},
	{"cacheTokensDetails.AUDIO", MEASURE_CACHED_AUDIO_INPUT_TOKENS, NOTHING},
	{"cacheTokensDetails.IMAGE", MEASURE_CACHED_IMAGE_INPUT_TOKENS, NOTHING},
	{"candidatesTokensDetails.TEXT", NOTHING, NOTHING},
	{"candidatesTokensDetails.AUDIO", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"candidatesTokensDetails.IMAGE", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"candidatesTokensDetails.VIDEO", MEASURE_VIDEO_OUTPUT_TOKENS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const opentelemetry_marks[] = {"gen_ai.usage.input_tokens",
												  "gen_ai.usage.output_tokens",
												  "gen_ai.usage.prompt_tokens",
												  "gen_ai.usage.completion_tokens", NULL};
static const ProviderPath opentelemetry_paths[] = {
	{"gen_ai.usage.input_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"gen_ai.usage.output_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"gen_ai.usage.prompt_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"gen_ai.usage.completion_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"gen_ai.usage.total_tokens", NOTHING, NOTHING},
	{"gen_ai.usage.cache_read.input_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"gen_ai.usage.cache_creation.input_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"gen_ai.usage.reasoning.output_tokens", MEASURE_REASONING_TOKENS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const ProviderShape shapes[] = {
	{openai_chat_marks, openai_chat_paths}, {openai_responses_marks, openai_responses_paths},
	{anthropic_marks, anthropic_paths},     {bedrock_marks, bedrock_paths},
	{gemini_marks, gemini_paths},           {opentelemetry_marks, opentelemetry_paths},
};

typedef struct ProviderReader
{
	const ProviderPath *paths;
	Usage *usage;
	Assumptions *assumptions;
} ProviderReader;

/*
 * shape_find
 *		Returns the paths of the shape of a document, NULL if it has none.
 */
static const ProviderPath *
shape_find(Jsonb *document)
{
	JsonbValue value;

	for (int i = 0; i < (int) lengthof(shapes); i++)
	{
		for (const char *const *mark = shapes[i].marks; *mark != NULL; mark++)
		{
			if (getKeyJsonValueFromContainer(&document->root, *mark, strlen(*mark), &value) != NULL)
				return shapes[i].paths;
		}
	}
	return NULL;
}

static const ProviderPath *
path_find(const ProviderPath *paths, const char *path)
{
	for (; paths->path != NULL; paths++)
	{
		if (strcmp(paths->path, path) == 0)
			return paths;
	}
	return NULL;
}

/*
 * usage_add
 *		Adds to a quantity. Sums of quantities below 10^12 do not overflow.
 */
static void
usage_add(Usage *usage, int measure, int64 micros)
{
	usage_set(usage, measure, usage_get(usage, measure) + micros);
	if (usage->micros[measure] > QUANTITY_MAX_MICROS)
		usage_fail(measures[measure].name, "The quantity is larger than 1000000000000.", NULL);
}

/*
 * read_leaf
 *		Takes one value of the object.
 */
static void
read_leaf(ProviderReader *reader, const char *path, const JsonbValue *value)
{
	const ProviderPath *known = path_find(reader->paths, path);
	Word word;

	if (value->type == jbvNull)
		return;
	if (known != NULL)
	{
		if (known->measure == NOTHING)
			return;

		int64 micros = usage_read_quantity(known->measure, value);

		usage_add(reader->usage, known->measure, micros);
		if (known->total != NOTHING)
			usage_add(reader->usage, known->total, micros);
		return;
	}
	word = vocabulary_find(path, strlen(path));
	if (word.kind == WORD_PARAMETER)
		usage_read_parameter(reader->usage, word.index, value);
	else if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_KEY))
		usage_add(reader->usage, word.index, usage_read_quantity(word.index, value));
	else if (word.kind == WORD_UNKNOWN && value->type != jbvBinary)
		usage_assume(reader->assumptions, psprintf("%s: unknown, ignored", path));
}

static void
read_object(ProviderReader *reader, const char *prefix, JsonbContainer *container, int depth);

/*
 * read_modalities
 *		Reads Gemini's lists [{"modality": "AUDIO", "tokenCount": 12}, ...].
 */
static void
read_modalities(ProviderReader *reader, const char *prefix, JsonbContainer *list)
{
	for (uint32 i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(list, i);
		JsonbValue *modality;
		JsonbValue *count;

		if (item->type != jbvBinary || !JsonContainerIsObject(item->val.binary.data))
			continue;
		modality = getKeyJsonValueFromContainer(item->val.binary.data, "modality", 8, NULL);
		count = getKeyJsonValueFromContainer(item->val.binary.data, "tokenCount", 10, NULL);
		if (modality != NULL && modality->type == jbvString && count != NULL)
			read_leaf(reader,
					  psprintf("%s.%s", prefix,
							   usage_clip(modality->val.string.val, modality->val.string.len)),
					  count);
	}
}

/*
 * read_value
 *		Takes one value under its path, whatever it is.
 */
static void
read_value(ProviderReader *reader, const char *path, const JsonbValue *value, int depth)
{
	if (value->type != jbvBinary)
		read_leaf(reader, path, value);
	else if (JsonContainerIsArray(value->val.binary.data))
		read_modalities(reader, path, value->val.binary.data);
	else if (depth < MAX_DEPTH)
		read_object(reader, path, value->val.binary.data, depth + 1);
}

/*
 * read_object
 *		Takes every value of an object, however deep.
 */
static void
read_object(ProviderReader *reader, const char *prefix, JsonbContainer *container, int depth)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbValue key;
	JsonbValue value;

	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		char *path = psprintf("%s%s%s", prefix, *prefix != '\0' ? "." : "",
							  usage_clip(key.val.string.val, key.val.string.len));

		JsonbIteratorNext(&iterator, &value, true);
		if (depth == 0 && strcmp(path, "metadata") == 0)
			continue;
		read_value(reader, path, &value, depth);
	}
}

/*
 * provider_read
 *		Fills usage from the usage object of a provider. reasoning_is_additional: the
 *		provider of this model counts reasoning tokens outside of the output tokens.
 *		Raises XQ201 if the document is no such object.
 */
void
provider_read(Jsonb *document, bool reasoning_is_additional, Usage *usage, Assumptions *assumptions)
{
	ProviderReader reader = {shape_find(document), usage, assumptions};

	usage->given = 0;
	usage->given_parameters = 0;
	if (reader.paths == NULL)
	{
		/* Neither vocabulary nor provider: name the first unknown key. */
		usage_read(document, false, usage);
		return;
	}
	read_object(&reader, "", &document->root, 0);

	/* Anthropic: what is written for an hour is part of all that is written. */
	if (reader.paths == anthropic_paths && usage_has(usage, MEASURE_CACHE_WRITE_1H_TOKENS))
	{
		int64 hour = usage_get(usage, MEASURE_CACHE_WRITE_1H_TOKENS);

		if (hour > usage_get(usage, MEASURE_CACHE_WRITE_TOKENS))
			usage_fail("cache_creation.ephemeral_1h_input_tokens",
					   "The part is more than cache_creation_input_tokens.", NULL);
		usage_add(usage, MEASURE_CACHE_WRITE_TOKENS, -hour);
	}
	if (reasoning_is_additional && usage_has(usage, MEASURE_REASONING_TOKENS))
		usage_add(usage, MEASURE_OUTPUT_TOKENS, usage_get(usage, MEASURE_REASONING_TOKENS));
}
