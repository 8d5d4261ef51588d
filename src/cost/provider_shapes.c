/*
 * provider_shapes.c
 *		The usage objects of the large providers, as tables.
 *
 * A shape is a table of paths: which quantity a number states, and which total it
 * must be added to because the provider counts it outside of the total (Anthropic
 * reports cached tokens beside input_tokens, Gemini thoughts beside candidates). A
 * shape is recognised by any one of its marks, keys that no shape before it has.
 *
 * Where two paths state one quantity, a provider reports it under both, and they
 * must agree.
 */
#include "cost/provider.h"

#define NOTHING PROVIDER_NOTHING
#define TOTAL PROVIDER_TOTAL
#define WRITTEN PROVIDER_WRITTEN
#define WRITTEN_BESIDE PROVIDER_WRITTEN_BESIDE
#define SERVICE_TIER PROVIDER_SERVICE_TIER

static const char *const openai_chat_marks[] = {"prompt_tokens", "completion_tokens", NULL};
static const ProviderPath openai_chat_paths[] = {
	{"prompt_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"completion_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"total_tokens", TOTAL, NOTHING},
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
	{"cached_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"cache_read_input_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"cache_creation_input_tokens", WRITTEN, NOTHING},
	{"prompt_tokens_details.cache_creation_tokens", WRITTEN, NOTHING},
	{"prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
	 MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
	 MEASURE_CACHE_WRITE_1H_TOKENS, NOTHING},
	{"prompt_tokens_details.cache_creation_input_tokens", WRITTEN, NOTHING},
	{"prompt_tokens_details.cache_creation.ephemeral_5m_input_tokens", MEASURE_CACHE_WRITE_TOKENS,
	 NOTHING},
	{"prompt_tokens_details.cache_creation.ephemeral_1h_input_tokens",
	 MEASURE_CACHE_WRITE_1H_TOKENS, NOTHING},
	{"prompt_cache_miss_tokens", NOTHING, NOTHING},
	{"num_search_queries", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{"server_tool_use.web_search_requests", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{"prompt_tokens_details.web_search_requests", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const anthropic_marks[] = {"cache_read_input_tokens",
											  "cache_creation_input_tokens", "cache_creation",
											  "server_tool_use", NULL};
static const ProviderPath anthropic_paths[] = {
	{"input_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"output_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"cache_read_input_tokens", MEASURE_CACHED_INPUT_TOKENS, MEASURE_INPUT_TOKENS},
	{"cache_creation_input_tokens", WRITTEN_BESIDE, NOTHING},
	{"cache_creation.ephemeral_5m_input_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"cache_creation.ephemeral_1h_input_tokens", MEASURE_CACHE_WRITE_1H_TOKENS, NOTHING},
	{"server_tool_use.web_search_requests", MEASURE_WEB_SEARCH_REQUESTS, NOTHING},
	{"server_tool_use.web_fetch_requests", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const openai_responses_marks[] = {"input_tokens_details",
													 "output_tokens_details", "input_token_details",
													 "output_token_details", NULL};
static const ProviderPath openai_responses_paths[] = {
	{"type", NOTHING, NOTHING},
	{"input_tokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"output_tokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"total_tokens", TOTAL, NOTHING},
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
	{"output_token_details.image_tokens", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"output_token_details.text_tokens", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const bedrock_marks[] = {"inputTokens", "outputTokens", NULL};
static const ProviderPath bedrock_paths[] = {
	{"inputTokens", MEASURE_INPUT_TOKENS, NOTHING},
	{"outputTokens", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"totalTokens", TOTAL, NOTHING},
	{"cacheReadInputTokens", MEASURE_CACHED_INPUT_TOKENS, MEASURE_INPUT_TOKENS},
	{"cacheReadInputTokenCount", NOTHING, NOTHING},
	{"cacheWriteInputTokens", WRITTEN_BESIDE, NOTHING},
	{"cacheWriteInputTokenCount", NOTHING, NOTHING},
	{"cacheDetails.5m", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"cacheDetails.1h", MEASURE_CACHE_WRITE_1H_TOKENS, NOTHING},
	{"cachedInputTokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"reasoningTokens", MEASURE_REASONING_TOKENS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

static const char *const gemini_marks[] = {"promptTokenCount", "candidatesTokenCount",
										   "totalTokenCount", NULL};
static const ProviderPath gemini_paths[] = {
	{"promptTokenCount", MEASURE_INPUT_TOKENS, NOTHING},
	{"toolUsePromptTokenCount", NOTHING, MEASURE_INPUT_TOKENS},
	{"cachedContentTokenCount", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"candidatesTokenCount", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"responseTokenCount", MEASURE_OUTPUT_TOKENS, NOTHING},
	{"thoughtsTokenCount", MEASURE_REASONING_TOKENS, MEASURE_OUTPUT_TOKENS},
	{"totalTokenCount", TOTAL, NOTHING},
	{"promptTokensDetails.TEXT", NOTHING, NOTHING},
	{"promptTokensDetails.DOCUMENT", NOTHING, NOTHING},
	{"promptTokensDetails.AUDIO", MEASURE_AUDIO_INPUT_TOKENS, NOTHING},
	{"promptTokensDetails.IMAGE", MEASURE_IMAGE_INPUT_TOKENS, NOTHING},
	{"promptTokensDetails.VIDEO", MEASURE_VIDEO_INPUT_TOKENS, NOTHING},
	{"cacheTokensDetails.TEXT", NOTHING, NOTHING},
	{"cacheTokensDetails.DOCUMENT", NOTHING, NOTHING},
	{"cacheTokensDetails.AUDIO", MEASURE_CACHED_AUDIO_INPUT_TOKENS, NOTHING},
	{"cacheTokensDetails.IMAGE", MEASURE_CACHED_IMAGE_INPUT_TOKENS, NOTHING},
	{"cacheTokensDetails.VIDEO", MEASURE_CACHED_VIDEO_INPUT_TOKENS, NOTHING},
	{"toolUsePromptTokensDetails.TEXT", NOTHING, NOTHING},
	{"toolUsePromptTokensDetails.DOCUMENT", NOTHING, NOTHING},
	{"toolUsePromptTokensDetails.AUDIO", NOTHING, MEASURE_AUDIO_INPUT_TOKENS},
	{"toolUsePromptTokensDetails.IMAGE", NOTHING, MEASURE_IMAGE_INPUT_TOKENS},
	{"toolUsePromptTokensDetails.VIDEO", NOTHING, MEASURE_VIDEO_INPUT_TOKENS},
	{"candidatesTokensDetails.TEXT", NOTHING, NOTHING},
	{"candidatesTokensDetails.AUDIO", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"candidatesTokensDetails.IMAGE", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"candidatesTokensDetails.VIDEO", MEASURE_VIDEO_OUTPUT_TOKENS, NOTHING},
	{"responseTokensDetails.TEXT", NOTHING, NOTHING},
	{"responseTokensDetails.AUDIO", MEASURE_AUDIO_OUTPUT_TOKENS, NOTHING},
	{"responseTokensDetails.IMAGE", MEASURE_IMAGE_OUTPUT_TOKENS, NOTHING},
	{"responseTokensDetails.VIDEO", MEASURE_VIDEO_OUTPUT_TOKENS, NOTHING},
	{"serviceTier", SERVICE_TIER, NOTHING},
	{"trafficType", SERVICE_TIER, NOTHING},
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
	{"gen_ai.usage.total_tokens", TOTAL, NOTHING},
	{"gen_ai.usage.cache_read.input_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"gen_ai.usage.cache_creation.input_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"gen_ai.usage.cache_read_input_tokens", MEASURE_CACHED_INPUT_TOKENS, NOTHING},
	{"gen_ai.usage.cache_creation_input_tokens", MEASURE_CACHE_WRITE_TOKENS, NOTHING},
	{"gen_ai.usage.reasoning.output_tokens", MEASURE_REASONING_TOKENS, NOTHING},
	{NULL, NOTHING, NOTHING},
};

/* Transcription that is billed by time. */
static const char *const openai_duration_marks[] = {"seconds", NULL};
static const ProviderPath openai_duration_paths[] = {
	{"seconds", MEASURE_DURATION_SECONDS, NOTHING},
	{"type", NOTHING, NOTHING},
	{NULL, NOTHING, NOTHING},
};

/* The words of the vocabulary with a total beside them. */
static const char *const total_marks[] = {"total_tokens", NULL};

static const ProviderShape shapes[] = {
	{openai_chat_marks, openai_chat_paths},
	{anthropic_marks, anthropic_paths},
	{openai_responses_marks, openai_responses_paths},
	{bedrock_marks, bedrock_paths},
	{gemini_marks, gemini_paths},
	{opentelemetry_marks, opentelemetry_paths},
	{openai_duration_marks, openai_duration_paths},
	{total_marks, openai_responses_paths},
};

/*
 * provider_find_shape
 *		Returns the paths of the shape of a document, NULL if it has none.
 */
const ProviderPath *
provider_find_shape(Jsonb *document)
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
