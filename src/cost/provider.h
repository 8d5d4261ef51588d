/*
 * provider.h
 *		What the tables of the providers' usage objects say to their reader.
 */
#ifndef XAVIER_QUOTA_COST_PROVIDER_H
#define XAVIER_QUOTA_COST_PROVIDER_H

#include "cost/usage.h"

/* What a number may state besides a Measure. */
#define PROVIDER_NOTHING (-1)                       /* nothing new */
#define PROVIDER_TOTAL MEASURE_COUNT                /* input and output together */
#define PROVIDER_WRITTEN (MEASURE_COUNT + 1)        /* all cache writes, inside the input */
#define PROVIDER_WRITTEN_BESIDE (MEASURE_COUNT + 2) /* all cache writes, beside the input */
#define PROVIDER_COUNT (MEASURE_COUNT + 3)          /* of what can be stated as a number */
#define PROVIDER_SERVICE_TIER (MEASURE_COUNT + 4)   /* a text: the parameter */

typedef struct ProviderPath
{
	const char *path; /* keys, joined by dots */
	int states;       /* a Measure, or one of the above */
	int total;        /* a Measure that the number is added to, or PROVIDER_NOTHING */
} ProviderPath;

typedef struct ProviderShape
{
	const char *const *marks;
	const ProviderPath *paths;
} ProviderShape;

/* Functions in provider_shapes.c */
extern const ProviderPath *provider_find_shape(Jsonb *document);

#endif /* XAVIER_QUOTA_COST_PROVIDER_H */
