/*
 * decimal.h
 *		Exact decimals in 128-bit integers: prices, costs and quantities.
 */
#ifndef XAVIER_QUOTA_COST_DECIMAL_H
#define XAVIER_QUOTA_COST_DECIMAL_H

#include "postgres.h"
#include "utils/numeric.h"

/* Decimals of a unit price, of a quantity, and of their product. */
#define PRICE_SCALE 24
#define QUANTITY_SCALE 6
#define COST_SCALE (PRICE_SCALE + QUANTITY_SCALE)

/* A unit price is below this many dollars, so that its product with one unit fits. */
#define PRICE_MAX_USD 100000000

/* 39 digits, a sign, a point, a leading zero and the final NUL. */
#define DECIMAL_TEXT_SIZE 48

typedef enum DecimalStatus
{
	DECIMAL_OK,
	DECIMAL_MALFORMED, /* NaN, infinity, or text that is no decimal */
	DECIMAL_OVERFLOW,  /* does not fit into 128 bits */
	DECIMAL_INEXACT    /* has more decimals than the scale */
} DecimalStatus;

/* Functions in decimal.c */
extern int128 decimal_power_of_ten(int exponent);
extern DecimalStatus decimal_from_numeric(Numeric numeric, int scale, int128 *result);
extern DecimalStatus decimal_from_text(const char *text, int length, int scale, int128 *result);
extern int decimal_count(int128 value, int scale);
extern int decimal_to_cstring(int128 value, int scale, char *buffer);
extern bool decimal_multiply_ceil(int128 value, int128 factor, int decimals, int128 *result);

#endif /* XAVIER_QUOTA_COST_DECIMAL_H */
