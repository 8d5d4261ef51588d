/*
 * fits.h
 *		What of a refused request would fit.
 */
#ifndef XAVIER_QUOTA_API_FITS_H
#define XAVIER_QUOTA_API_FITS_H

#include "api/levels.h"
#include "cost/cost.h"

/* A request that has been refused. */
typedef struct RefusedRequest
{
	int64 card_id;
	Jsonb *parameters;
	int64 root_id;
	TimestampTz priced_at;
	const LevelSet *levels;
	const Amount *least; /* it takes at least this, NULL: nothing */
	const Amount *held;  /* of which this is held, NULL: nothing */
} RefusedRequest;

/* Functions in fits.c */
extern CostFits *fits_find(const RefusedRequest *request);

#endif /* XAVIER_QUOTA_API_FITS_H */
