/*
 * civil.h
 *		Local date and time as people write it, '2026-01-31 15:00', free of any
 *		time zone and of the session's settings.
 */
#ifndef XAVIER_QUOTA_CIVIL_H
#define XAVIER_QUOTA_CIVIL_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* Room for '2026-01-31 15:00:00.123456' and its NUL. */
#define CIVIL_TEXT_SIZE 32

/* What may stand between two words. */
#define CIVIL_BLANKS " \t\n\r\f\v"

typedef enum CivilResult
{
	CIVIL_OK,
	CIVIL_MALFORMED,   /* not of the form YYYY-MM-DD [HH:MM[:SS[.ffffff]]] */
	CIVIL_OUT_OF_RANGE /* of that form, but there is no such date or time */
} CivilResult;

/* Quotient and remainder that round towards minus infinity; the divisor is positive. */
static inline int64
floor_divide(int64 dividend, int64 divisor)
{
	int64 quotient = dividend / divisor;

	Assert(divisor > 0);
	return (dividend % divisor < 0) ? quotient - 1 : quotient;
}

static inline int64
floor_modulo(int64 dividend, int64 divisor)
{
	int64 remainder = dividend % divisor;

	Assert(divisor > 0);
	return remainder < 0 ? remainder + divisor : remainder;
}

/* Functions in civil.c; none of them raises an error or allocates. */
extern CivilResult civil_parse(const char **cursor, Timestamp *local);
extern CivilResult civil_parse_instant(const char **cursor, TimestampTz *instant);
extern void civil_to_cstring(Timestamp local, char *buffer);
extern int civil_days_in_month(int year, int month);
extern Timestamp civil_from_date(int year, int month, int day);

#endif /* XAVIER_QUOTA_CIVIL_H */
