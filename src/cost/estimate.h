/*
 * estimate.h
 *		What a request may use at most, and what it is expected to use.
 */
#ifndef XAVIER_QUOTA_COST_ESTIMATE_H
#define XAVIER_QUOTA_COST_ESTIMATE_H

#include "cost/plan.h"

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
 * estimate_usage() reads a request and completes it. Errors: XQ201 if it is malformed,
 * lacks what the card prices, or nothing bounds its output.
 */
extern void estimate_usage(const CardPlan *plan, Jsonb *request, Estimate *estimate);

#endif /* XAVIER_QUOTA_COST_ESTIMATE_H */
