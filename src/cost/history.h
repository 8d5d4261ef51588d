/*
 * history.h
 *		What generations have used of what requests leave open.
 */
#ifndef XAVIER_QUOTA_COST_HISTORY_H
#define XAVIER_QUOTA_COST_HISTORY_H

#include "cost/plan.h"
#include "datatype/timestamp.h"

/* What is learned of each root and model. */
typedef enum Learned
{
	LEARNED_OUTPUT_TOKENS,
	LEARNED_REASONING_TOKENS, /* kinds of output, in the order of their measures */
	LEARNED_AUDIO_OUTPUT_TOKENS,
	LEARNED_IMAGE_OUTPUT_TOKENS,
	LEARNED_VIDEO_OUTPUT_TOKENS,
	LEARNED_DURATION_SECONDS,
	LEARNED_N,
	LEARNED_TOKENS_PER_BYTE, /* input tokens for each byte of text */
	LEARNED_CEILING_RATIO,   /* credits charged for each that was held */
	LEARNED_EXPECTED_RATIO,  /* credits charged for each that was expected */
	LEARNED_COUNT
} Learned;

/* How often something was seen, and its median in millionths. */
typedef struct LearnedQuantity
{
	int64 count; /* 0: too seldom to be used */
	int64 median_micros;
} LearnedQuantity;

typedef struct History
{
	LearnedQuantity quantities[LEARNED_COUNT];
} History;

/*
 * Functions in history.c
 *
 * history_find() returns what is known of a root's model at an instant; it stays valid
 * until the next cache_begin().
 */
extern const History *history_find(int64 root_id, const CardPlan *plan, TimestampTz at);

#endif /* XAVIER_QUOTA_COST_HISTORY_H */
