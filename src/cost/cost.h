/*
 * cost.h
 *		What a request will cost and what a generation has cost.
 */
#ifndef XAVIER_QUOTA_COST_COST_H
#define XAVIER_QUOTA_COST_COST_H

#include "types/amount.h"
#include "utils/jsonb.h"

/* The answer to "what does it cost", palloc'd in the caller's context. */
typedef struct CostQuote
{
	int64 card_id;         /* the version of the rate card that priced it */
	const char *model;     /* under which it counts; NULL if priced by card */
	Amount *ceiling;       /* what a hold takes; of actual usage: what is charged */
	Amount *expected;      /* what is shown; of actual usage: the same as ceiling */
	int64 expected_micros; /* credits of expected; -1: as of the ceiling, nothing else is known */
	Jsonb *request;        /* to be kept: without its text; NULL of actual usage */
	char *cost_usd;        /* exact decimal, before rounding to credits */
	Jsonb *document;       /* the public document of quota.estimate() and quota.price() */
} CostQuote;

/* Whether amounts can be afforded. */
typedef bool (*CostAfford)(const AmountEntry *entries, int count, void *arg);

/* The most of something that is afforded. */
typedef struct CostFit
{
	const char *key; /* of the request, static */
	int64 micros;
	bool is_whole;
} CostFit;

typedef struct CostFits
{
	int count;
	CostFit items[3];
} CostFits;

/* Functions in cost.c */
extern void cost_init(void);

/*
 * Prices a request before it runs, by the card that model leads to and that is valid
 * at the instant given. root_id selects price adjustments, 0 for none. Errors: XQ003
 * unknown model, XQ201 invalid request.
 */
extern CostQuote *cost_estimate(const char *model, Jsonb *request, int64 root_id, TimestampTz at);

/* The same by one version of a card, whatever is valid at the instant: to extend a hold. */
extern CostQuote *
cost_estimate_by_card(int64 card_id, Jsonb *request, int64 root_id, TimestampTz at);

/* Prices actual usage by the card of model that is valid at the instant given. */
extern CostQuote *cost_price(const char *model, Jsonb *usage, int64 root_id, TimestampTz at);

/*
 * Prices actual usage by one version of a card, whatever is valid now; credit
 * rate and price adjustments are those of the instant given (the hold's).
 */
extern CostQuote *cost_price_by_card(int64 card_id, Jsonb *usage, int64 root_id, TimestampTz at);

/*
 * Finds the largest max_output_tokens, n and duration_seconds that are afforded, each
 * with everything else as in the request, which the card has priced and which is not
 * afforded itself. What does not matter for the price is left out, and that of which
 * not even nothing is afforded.
 */
extern void cost_find_fits(int64 card_id, Jsonb *request, int64 root_id, TimestampTz at,
						   CostAfford afford, void *arg, CostFits *fits);

#endif /* XAVIER_QUOTA_COST_COST_H */
