/*
 * micros.h
 *		Exact counts of millionths: text, numeric, and sums that never wrap.
 */
#ifndef XAVIER_QUOTA_TYPES_MICROS_H
#define XAVIER_QUOTA_TYPES_MICROS_H

#include "xavier_quota.h"
#include "utils/numeric.h"

#define MICROS_DECIMALS 6
#define MICROS_MAX_TEXT "4611686018427.387903" /* MICROS_MAX, in units */

/* Room for any int64 as a decimal. */
#define MICROS_TEXT_SIZE 28

/* Functions in micros.c. resource is named in errors. */

/* '12.5' for 12500000: no trailing zeros, no exponent. buffer holds MICROS_TEXT_SIZE. */
extern int micros_to_cstring(int64 micros, char *buffer);
extern Numeric micros_to_numeric(int64 micros);
extern Numeric micros_total_to_numeric(int128 micros); /* of a sum of many amounts */
extern int64 micros_from_numeric(Numeric value, const char *resource);
extern int64 micros_multiply(int64 micros, Numeric factor, const char *resource);
extern int64 micros_check(int64 micros, const char *resource);

#endif /* XAVIER_QUOTA_TYPES_MICROS_H */
