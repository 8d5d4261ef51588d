/*
 * xavier_quota.h
 *		What every part of the extension shares: the unit of all amounts and the
 *		one source of time.
 */
#ifndef XAVIER_QUOTA_H
#define XAVIER_QUOTA_H

#include "postgres.h"
#include "datatype/timestamp.h"

#define QUOTA_SCHEMA "quota"

/*
 * Every amount is a whole number of millionths of its unit. One component of an
 * amount is at most 2^62 - 1 in absolute value, so the sum of two never wraps.
 */
#define MICROS_PER_UNIT INT64CONST(1000000)
#define MICROS_MAX ((INT64CONST(1) << 62) - 1)

/* The name of a resource: a lower-case identifier, shorter than this. */
#define RESOURCE_NAME_SIZE 64

/* Identifiers of users are at most this many bytes, the final NUL included. */
#define USER_ID_SIZE 128

/* Functions in clock.c */
extern void clock_init(void);
extern TimestampTz clock_now(void);

#endif /* XAVIER_QUOTA_H */
