/*
 * vocabulary.h
 *		The words of requests, usage and rate cards.
 */
#ifndef XAVIER_QUOTA_COST_VOCABULARY_H
#define XAVIER_QUOTA_COST_VOCABULARY_H

#include "postgres.h"

/*
 * What can be counted. A part of a total comes after its total: evaluation runs
 * from the last to the first.
 */
typedef enum Measure
{
	MEASURE_INPUT_TOKENS,
	MEASURE_CACHED_INPUT_TOKENS,
	MEASURE_CACHED_AUDIO_INPUT_TOKENS,
	MEASURE_CACHED_IMAGE_INPUT_TOKENS,
	MEASURE_CACHED_VIDEO_INPUT_TOKENS,
	MEASURE_CACHE_WRITE_TOKENS,
	MEASURE_CACHE_WRITE_AUDIO_TOKENS,
	MEASURE_CACHE_WRITE_1H_TOKENS,
	MEASURE_AUDIO_INPUT_TOKENS,
	MEASURE_IMAGE_INPUT_TOKENS,
	MEASURE_VIDEO_INPUT_TOKENS,
	MEASURE_OUTPUT_TOKENS,
	MEASURE_REASONING_TOKENS,
	MEASURE_AUDIO_OUTPUT_TOKENS,
	MEASURE_IMAGE_OUTPUT_TOKENS,
	MEASURE_VIDEO_OUTPUT_TOKENS,
	MEASURE_CITATION_TOKENS,
	MEASURE_INPUT_BYTES,
	MEASURE_N,
	MEASURE_IMAGES,
	MEASURE_PIXELS,
	MEASURE_MEGAPIXELS,
	MEASURE_INPUT_IMAGES,
	MEASURE_OUTPUT_IMAGES,
	MEASURE_DURATION_SECONDS,
	MEASURE_VIDEO_SECONDS,
	MEASURE_AUDIO_SECONDS,
	MEASURE_AUDIO_INPUT_SECONDS,
	MEASURE_VIDEO_INPUT_SECONDS,
	MEASURE_INTERVAL_SECONDS,
	MEASURE_CHARACTERS,
	MEASURE_OUTPUT_CHARACTERS,
	MEASURE_PAGES,
	MEASURE_ANNOTATED_PAGES,
	MEASURE_PROVIDER_CREDITS,
	MEASURE_QUERIES,
	MEASURE_WEB_SEARCH_REQUESTS,
	MEASURE_MAPS_REQUESTS,
	MEASURE_FILE_SEARCH_CALLS,
	MEASURE_SESSIONS,
	MEASURE_COMPUTER_USE_INPUT_TOKENS,
	MEASURE_COMPUTER_USE_OUTPUT_TOKENS,
	MEASURE_STORAGE_GB,
	MEASURE_DAYS,
	MEASURE_STORAGE_GB_DAYS,
	MEASURE_REQUESTS,
	MEASURE_MAX_RESULTS,
	MEASURE_MAX_OUTPUT_TOKENS,
	MEASURE_EXPECTED_OUTPUT_TOKENS,
	MEASURE_COUNT
} Measure;

StaticAssertDecl(MEASURE_COUNT <= 64, "measures are bits of a 64-bit set");

#define MEASURE_BIT(measure) (UINT64CONST(1) << (measure))

/* What a price can depend on besides quantities. */
typedef enum Parameter
{
	PARAMETER_SIZE,
	PARAMETER_QUALITY,
	PARAMETER_RESOLUTION,
	PARAMETER_SERVICE_TIER,
	PARAMETER_SEARCH_CONTEXT_SIZE,
	PARAMETER_DATA_RESIDENCY,
	PARAMETER_INFERENCE_GEO,
	PARAMETER_SPEED,
	PARAMETER_AUDIO,
	PARAMETER_STYLE,
	PARAMETER_STEPS,
	PARAMETER_FORMAT,
	PARAMETER_REASONING_IS_ADDITIONAL,
	PARAMETER_COUNT
} Parameter;

/* How a measure may be used. */
#define MEASURE_IS_KEY 0x01      /* stands in requests and usage */
#define MEASURE_IS_METER 0x02    /* a line of a card may price it */
#define MEASURE_IS_WHOLE 0x04    /* has no fractions */
#define MEASURE_IS_REQUIRED 0x08 /* must be given where a card prices it */

typedef struct MeasureInfo
{
	const char *name;
	int flags;
	int part_of; /* the total that includes it, or -1 */
} MeasureInfo;

typedef enum WordKind
{
	WORD_UNKNOWN,
	WORD_MEASURE,
	WORD_PARAMETER,
	WORD_TEXT,   /* a text whose bytes count as a measure */
	WORD_IGNORED /* allowed in requests, has no influence on the price */
} WordKind;

/* The text of a request: only its length is kept. */
#define INPUT_TEXT "input_text"

typedef struct Word
{
	WordKind kind;
	int index; /* a Measure or Parameter */
} Word;

extern const MeasureInfo measures[MEASURE_COUNT];
extern const char *const parameters[PARAMETER_COUNT];

/* Functions in vocabulary.c */
extern void vocabulary_init(void);
extern Word vocabulary_find(const char *text, int length);

/* Letters and digits compare without case; the result has at most NORMAL_SIZE bytes. */
#define NORMAL_SIZE 64
extern int vocabulary_normalize(const char *text, int length, char *normal);

#endif /* XAVIER_QUOTA_COST_VOCABULARY_H */
