/*
 * usage.h
 *		The quantities of one request, or of what a generation used.
 */
#ifndef XAVIER_QUOTA_COST_USAGE_H
#define XAVIER_QUOTA_COST_USAGE_H

#include "compat.h"
#include "cost/vocabulary.h"
#include "utils/jsonb.h"

/* The largest quantity: 10^12 of anything. */
#define QUANTITY_MAX_MICROS INT64CONST(1000000000000000000)
#define QUANTITY_ONE INT64CONST(1000000)

#define ASSUMPTION_MAX 32

/* What was assumed where the request left something open. */
typedef struct Assumptions
{
	int count; /* of all; the first ASSUMPTION_MAX are kept */
	const char *texts[ASSUMPTION_MAX];
} Assumptions;

typedef struct UsageText
{
	const char *text; /* not NUL-terminated */
	int length;
} UsageText;

/* Values are valid where their bit is set. */
typedef struct Usage
{
	uint64 given;            /* measures, MEASURE_BIT */
	uint32 given_parameters; /* parameters, 1 << Parameter */
	int64 micros[MEASURE_COUNT];
	UsageText texts[PARAMETER_COUNT];
} Usage;

static inline bool
usage_has(const Usage *usage, int measure)
{
	return (usage->given & MEASURE_BIT(measure)) != 0;
}

/* 0 if absent */
static inline int64
usage_get(const Usage *usage, int measure)
{
	return usage_has(usage, measure) ? usage->micros[measure] : 0;
}

static inline void
usage_set(Usage *usage, int measure, int64 micros)
{
	usage->given |= MEASURE_BIT(measure);
	usage->micros[measure] = micros;
}

static inline bool
usage_has_parameter(const Usage *usage, int parameter)
{
	return (usage->given_parameters & (1u << parameter)) != 0;
}

/* Functions in usage.c */
extern bool usage_read(Jsonb *document, bool or_provider, Usage *usage);
extern void usage_copy(Usage *copy, const Usage *usage);
extern int64 usage_read_quantity(const char *key, bool whole, const JsonbValue *value);
extern void usage_read_parameter(Usage *usage, int parameter, const JsonbValue *value);
extern bool usage_reasoning_is_additional(const Usage *usage);
extern void usage_infer_overlaps(Usage *usage, Assumptions *assumptions);
extern void usage_check_parts(const Usage *usage);
extern bool usage_parts_fit(const Usage *usage);
extern int64 usage_multiply(int64 a, int64 b, const char *key);
extern void usage_assume(Assumptions *assumptions, const char *text);
extern void usage_assume_first(Assumptions *assumptions, const char *text);
extern char *usage_clip(const char *text, int length);
pg_noreturn extern void usage_fail_unknown(const char *key, int length);
pg_noreturn extern void usage_fail(const char *key, const char *detail, const char *hint);

/* The request as it is kept: what has no length is kept as it is. */
extern Jsonb *usage_without_text(Jsonb *request, const Usage *usage);
extern int64 usage_input_bytes(Jsonb *request);

/* Functions in provider.c */
extern void provider_read(Jsonb *document, bool reasoning_is_additional, Usage *usage,
						  Assumptions *assumptions);

#endif /* XAVIER_QUOTA_COST_USAGE_H */
