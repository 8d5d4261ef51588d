/*
 * credit.h
 *		From dollars to what a request takes of each resource.
 */
#ifndef XAVIER_QUOTA_COST_CREDIT_H
#define XAVIER_QUOTA_COST_CREDIT_H

#include "cost/cache.h"
#include "types/amount.h"

/* Functions in credit.c */
extern bool cost_try_micros(int128 cost, const CreditRate *rate, int64 *micros);
extern int64 cost_to_micros(int128 cost, const CreditRate *rate);
extern int cost_fill_amount(AmountEntry *entries, int64 credit_micros, const Usage *usage,
							const Usage *ceiling);

#endif /* XAVIER_QUOTA_COST_CREDIT_H */
