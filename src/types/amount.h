/*
 * amount.h
 *		quota.amount: how much of each resource, 'calls=1,credit=12.5'.
 */
#ifndef XAVIER_QUOTA_TYPES_AMOUNT_H
#define XAVIER_QUOTA_TYPES_AMOUNT_H

#include "xavier_quota.h"
#include "fmgr.h"

#include "types/components.h"
#include "types/micros.h"

/* A varlena of components sorted by resource, none of them zero; see amount.c. */
typedef struct varlena Amount;

#define DatumGetAmountP(datum) ((Amount *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_AMOUNT_P(n) DatumGetAmountP(PG_GETARG_DATUM(n))

/* Functions in amount.c; results are palloc'd. Overflow raises 22003. */

/* Sorts, adds up equal resources, drops zeros. */
extern Amount *amount_make(const AmountEntry *entries, int count);

/* Fills entries (room for AMOUNT_MAX_ENTRIES), names pointing into amount; returns the count. */
extern int amount_entries(const Amount *amount, AmountEntry *entries);
extern int64 amount_get(const Amount *amount, const char *resource); /* 0 if absent */
extern bool amount_is_zero(const Amount *amount);
extern Amount *amount_add(const Amount *a, const Amount *b);
extern Amount *amount_subtract(const Amount *a, const Amount *b);
extern Amount *amount_multiply(const Amount *amount, Numeric factor); /* rounds up */
extern bool amount_fits_in(const Amount *a, const Amount *b);         /* in every component */
extern int amount_compare(const Amount *a, const Amount *b);          /* total order */
extern Amount *amount_parse(const char *text);
extern char *amount_to_cstring(const Amount *amount);

#endif /* XAVIER_QUOTA_TYPES_AMOUNT_H */
