/*
 * fit.h
 *		What of a request would fit.
 */
#ifndef XAVIER_QUOTA_COST_FIT_H
#define XAVIER_QUOTA_COST_FIT_H

#include "cost/cost.h"
#include "cost/plan.h"

/* Functions in fit.c */
extern void fit_find(const CardPlan *plan, Jsonb *document, int64 root_id, TimestampTz at,
					 CostAfford afford, void *arg, CostFits *fits);

#endif /* XAVIER_QUOTA_COST_FIT_H */
