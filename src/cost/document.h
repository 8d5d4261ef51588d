/*
 * document.h
 *		The public document of an estimate or a price.
 */
#ifndef XAVIER_QUOTA_COST_DOCUMENT_H
#define XAVIER_QUOTA_COST_DOCUMENT_H

#include "cost/cache.h"
#include "cost/plan.h"
#include "types/amount.h"

#define DOCUMENT_MAX_AMOUNTS 16

/* What the document says. */
typedef struct DocumentParts
{
	const CardPlan *plan;
	const CostResult *cost;
	const char *cost_usd;
	const CreditRate *rate;
	const Assumptions *assumptions;
	int amount_count;
	AmountEntry amount[DOCUMENT_MAX_AMOUNTS];
	AmountEntry expected[DOCUMENT_MAX_AMOUNTS];
} DocumentParts;

/* Functions in document.c */
extern Jsonb *document_make(const DocumentParts *parts);

#endif /* XAVIER_QUOTA_COST_DOCUMENT_H */
