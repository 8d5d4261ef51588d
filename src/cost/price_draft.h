/*
 * price_draft.h
 *		The lines of a card to be, made of one entry of the price map.
 */
#ifndef XAVIER_QUOTA_COST_PRICE_DRAFT_H
#define XAVIER_QUOTA_COST_PRICE_DRAFT_H

#include "cost/price_map.h"

/* A line to be written. */
typedef struct CardLine
{
	MapPrice price;
	Measure meter;
	bool optional; /* "required": false */
	bool required; /* "required": true */
	int absent;    /* a measure that must not be given, or -1 */
	const char *note;
	int order; /* as found */
} CardLine;

typedef struct CardDraft
{
	MapModel *model;
	int count;
	CardLine *lines;
	bool half_batches; /* a batch has half the price */
	uint64 half_meters;
} CardDraft;

/* The total that a meter is part of, or the meter itself. */
static inline int
price_token_side(int meter)
{
	while (measures[meter].part_of >= 0)
		meter = measures[meter].part_of;
	return meter;
}

static inline bool
price_is_token(int meter)
{
	int side = price_token_side(meter);

	return side == MEASURE_INPUT_TOKENS || side == MEASURE_OUTPUT_TOKENS;
}

/* How many parameters a price depends on. */
static inline int
price_condition_count(const MapPrice *price)
{
	return (price->key.tier != NULL) + (price->key.variant[0] != '\0') + (price->size != NULL) +
		   (price->quality != NULL) + (price->steps != NULL) + (price->search_context != NULL);
}

/* Functions in price_draft.c */
extern void price_draft_make(CardDraft *draft);
extern CardLine *price_draft_find(const CardDraft *draft, int meter);
extern bool price_draft_costs_tokens(const CardDraft *draft);

#endif /* XAVIER_QUOTA_COST_PRICE_DRAFT_H */
