/*
 * cache.h
 *		Compiled cards, the credit rate, price adjustments and counted measures, kept
 *		by each backend.
 */
#ifndef XAVIER_QUOTA_COST_CACHE_H
#define XAVIER_QUOTA_COST_CACHE_H

#include "cost/plan.h"
#include "datatype/timestamp.h"
#include "xavier_quota.h"

/* The name of a model in bytes, the final NUL included. */
#define MODEL_SIZE 256

/* How many credits a dollar is: factor * 10^-decimals. */
typedef struct CreditRate
{
	int128 factor;
	int decimals;
	const char *credits_per_usd; /* as text */
	const char *adjustment;      /* as text, NULL for none */
} CreditRate;

/* How a name led to a card. */
typedef struct ModelMatch
{
	bool is_known;   /* it leads to a card, which may not be valid at the instant */
	const char *how; /* static; NULL: it is the card's own */
} ModelMatch;

/* What a resource of an amount is counted from: the sum of up to two measures. */
#define COUNTED_CREDIT (-1)
#define COUNTED_CALLS (-2)

typedef struct CountedResource
{
	const char *name;
	int first;  /* a Measure, COUNTED_CREDIT or COUNTED_CALLS */
	int second; /* a Measure; -1: none */
} CountedResource;

/*
 * Pointers stay valid until the next cache_begin(), which every computation calls
 * first.
 */
/* Functions in cache.c */
extern void cache_init(void);
extern void cache_begin(void);

/* Functions in cache_cards.c */
extern CardPlan *cache_find_card(int64 card_id);
extern int64 cache_compilations(void);

/* Functions in cache_names.c */
extern CardPlan *cache_find_model(const char *model, TimestampTz at, ModelMatch *match);

/* Functions in cache_rates.c */
extern void cache_find_rate(int64 root_id, TimestampTz at, CreditRate *rate);
extern const CountedResource *cache_counted_resources(int *count);

/* Functions in cost.c */
extern void
cost_read_usage(const CardPlan *plan, Jsonb *document, Usage *usage, Assumptions *assumptions);

#endif /* XAVIER_QUOTA_COST_CACHE_H */
