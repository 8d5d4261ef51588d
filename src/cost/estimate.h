/*
 * estimate.h
 *		What a request may use at most, and what it is expected to use.
 */
#ifndef XAVIER_QUOTA_COST_ESTIMATE_H
#define XAVIER_QUOTA_COST_ESTIMATE_H

#include "cost/plan.h"
#include "datatype/timestamp.h"

/* Kinds of output, which may be dearer than the rest of it. */
#define PARTS_OF_OUTPUT                                                                 \
	(MEASURE_BIT(MEASURE_REASONING_TOKENS) | MEASURE_BIT(MEASURE_AUDIO_OUTPUT_TOKENS) | \
	 MEASURE_BIT(MEASURE_IMAGE_OUTPUT_TOKENS) | MEASURE_BIT(MEASURE_VIDEO_OUTPUT_TOKENS))

/* What a request says itself. */
typedef struct Stated
{
	uint64 given; /* measures */
	int64 output; /* tokens to expect, in millionths; -1: it does not say */
} Stated;

typedef struct Estimate
{
	Usage ceiling;
	Usage expected; /* valid if expects */
	bool expects;   /* something else than the ceiling */
	Assumptions assumptions;
} Estimate;

/*
 * Functions in estimate.c
 *
 * estimate_usage() reads a request and completes it, with what is known of the root (0 for
 * none) at the instant. Errors: XQ201 if it is malformed,
 * lacks what the card prices, or nothing bounds its output.
 *
 * estimate_try_ceiling() completes a request like one that has been estimated, but
 * with less of something. Returns false if it cannot be less: what the request says of
 * its output would be more than the output.
 *
 * estimate_output_key() says by which key a request bounds its output; -1 if the card
 * does not price output.
 */
extern void estimate_usage(const CardPlan *plan, Jsonb *request, int64 root_id, TimestampTz at,
						   Estimate *estimate);
extern bool estimate_try_ceiling(const CardPlan *plan, Usage *usage);
extern int estimate_output_key(const CardPlan *plan, const Usage *request);

/* Functions in expect.c */
extern void expect_usage(const CardPlan *plan, const Stated *stated, int64 root_id, TimestampTz at,
						 Estimate *estimate);

#endif /* XAVIER_QUOTA_COST_ESTIMATE_H */
