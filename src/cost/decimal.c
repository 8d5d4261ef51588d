/*
 * decimal.c
 *		Exact decimals in 128-bit integers.
 *
 * A decimal of scale s is a whole number of 10^-s. Prices have 24 decimals,
 * quantities 6, and their product 30: 128 bits hold 170 million dollars at that
 * scale. Nothing here rounds, save decimal_multiply_ceil(), which is the one
 * rounding between a price and a balance. Overflow is always reported.
 *
 * decimal_from_numeric() reads the stored form of a numeric itself. Going through
 * numeric's functions costs two to three times the whole computation of a price.
 * The stored form is the on-disk format that pg_upgrade relies on (see the head of
 * numeric.c): a 16-bit header that holds sign, scale and, in its short form, the
 * weight; then base-10000 digits, the most significant first, that count
 * 10000^weight downwards. Leading and trailing zero digits are not stored.
 */
#include "cost/decimal.h"

#include <ctype.h>

#include "utils/builtins.h"

#include "compat.h"

#define NUMERIC_FORM_MASK 0xC000
#define NUMERIC_FORM_NEGATIVE 0x4000
#define NUMERIC_FORM_SHORT 0x8000
#define NUMERIC_FORM_SPECIAL 0xC000
#define NUMERIC_SHORT_NEGATIVE 0x2000
#define NUMERIC_SHORT_WEIGHT_SIGN 0x0040
#define NUMERIC_SHORT_WEIGHT_MASK 0x003F

#define DIGIT_BASE 10000
#define DIGIT_DECIMALS 4

/* So many digits always fit into 64 bits. */
#define MAX_SHORT_DIGITS 4

/* The largest power of ten in 128 bits is 10^38. */
#define MAX_EXPONENT 38

/* Decimals are printed in groups of so many digits, which 64 bits hold. */
#define GROUP_DIGITS 18

static const uint64 small_powers[] = {UINT64CONST(1),
									  UINT64CONST(10),
									  UINT64CONST(100),
									  UINT64CONST(1000),
									  UINT64CONST(10000),
									  UINT64CONST(100000),
									  UINT64CONST(1000000),
									  UINT64CONST(10000000),
									  UINT64CONST(100000000),
									  UINT64CONST(1000000000),
									  UINT64CONST(10000000000),
									  UINT64CONST(100000000000),
									  UINT64CONST(1000000000000),
									  UINT64CONST(10000000000000),
									  UINT64CONST(100000000000000),
									  UINT64CONST(1000000000000000),
									  UINT64CONST(10000000000000000),
									  UINT64CONST(100000000000000000),
									  UINT64CONST(1000000000000000000),
									  UINT64CONST(10000000000000000000)};

#define MAX_SMALL_EXPONENT (lengthof(small_powers) - 1)

/*
 * decimal_power_of_ten
 *		Returns 10^exponent; exponent is between 0 and 38.
 */
int128
decimal_power_of_ten(int exponent)
{
	Assert(exponent >= 0 && exponent <= MAX_EXPONENT);
	if (exponent <= (int) MAX_SMALL_EXPONENT)
		return (int128) small_powers[exponent];
	return (int128) small_powers[MAX_SMALL_EXPONENT] *
		   (int128) small_powers[exponent - MAX_SMALL_EXPONENT];
}

/*
 * decimal_shift
 *		Multiplies value by 10^exponent, which may be negative.
 */
static DecimalStatus
decimal_shift(int128 value, int exponent, int128 *result)
{
	if (value == 0)
	{
		*result = 0;
		return DECIMAL_OK;
	}
	if (exponent >= 0)
	{
		if (exponent > MAX_EXPONENT ||
			__builtin_mul_overflow(value, decimal_power_of_ten(exponent), result))
			return DECIMAL_OVERFLOW;
		return DECIMAL_OK;
	}
	if (-exponent > MAX_EXPONENT || value % decimal_power_of_ten(-exponent) != 0)
		return DECIMAL_INEXACT;
	*result = value / decimal_power_of_ten(-exponent);
	return DECIMAL_OK;
}

/*
 * numeric_word
 *		Reads the 16-bit word at the index. A numeric with a one-byte header is not
 *		aligned.
 */
static inline uint16
numeric_word(const char *data, int index)
{
	uint16 word;

	memcpy(&word, data + index * sizeof(uint16), sizeof(uint16));
	return word;
}

/*
 * decimal_from_numeric
 *		Converts a numeric to a whole number of 10^-scale, exactly or not at all.
 */
DecimalStatus
decimal_from_numeric(Numeric numeric, int scale, int128 *result)
{
	const char *data = VARDATA_ANY(numeric);
	int words = VARSIZE_ANY_EXHDR(numeric) / (int) sizeof(uint16);
	uint16 header = numeric_word(data, 0);
	bool negative;
	int weight;
	int first;

	if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SPECIAL)
		return DECIMAL_MALFORMED;
	if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SHORT)
	{
		negative = (header & NUMERIC_SHORT_NEGATIVE) != 0;
		weight = header & NUMERIC_SHORT_WEIGHT_MASK;
		if (header & NUMERIC_SHORT_WEIGHT_SIGN)
			weight |= ~NUMERIC_SHORT_WEIGHT_MASK;
		first = 1;
	}
	else
	{
		negative = (header & NUMERIC_FORM_MASK) == NUMERIC_FORM_NEGATIVE;
		weight = (int16) numeric_word(data, 1);
		first = 2;
	}

	int digits = words - first;
	int short_digits = Min(digits, MAX_SHORT_DIGITS);
	int exponent = (weight - digits + 1) * DIGIT_DECIMALS + scale;
	uint64 short_value = 0;
	int128 value;

	for (int i = 0; i < short_digits; i++)
		short_value = short_value * DIGIT_BASE + numeric_word(data, first + i);

	/* Nearly all: four digits have 54 bits, and a small power 64. */
	if (digits <= MAX_SHORT_DIGITS && exponent >= 0 && exponent <= (int) MAX_SMALL_EXPONENT)
	{
		value = (int128) ((uint128) short_value * small_powers[exponent]);
		*result = negative ? -value : value;
		return DECIMAL_OK;
	}
	value = (int128) short_value;
	for (int i = short_digits; i < digits; i++)
	{
		if (__builtin_mul_overflow(value, (int128) DIGIT_BASE, &value) ||
			__builtin_add_overflow(value, (int128) numeric_word(data, first + i), &value))
			return (weight + 1) * DIGIT_DECIMALS + scale > MAX_EXPONENT ? DECIMAL_OVERFLOW
																		: DECIMAL_INEXACT;
	}
	if (negative)
		value = -value;
	return decimal_shift(value, exponent, result);
}

/*
 * decimal_from_text
 *		Converts a decimal such as '0.0000025', '3e-07' or '-12'. The text need not be
 *		NUL-terminated. Spaces are not allowed.
 */
DecimalStatus
decimal_from_text(const char *text, int length, int scale, int128 *result)
{
	char buffer[128];
	Datum numeric;

	if (length == 0 || length >= (int) sizeof(buffer))
		return DECIMAL_MALFORMED;
	memcpy(buffer, text, length);
	buffer[length] = '\0';
	/* Everything else that numeric_in takes, such as NaN, is no decimal here. */
	if ((int) strspn(buffer, "0123456789+-.eE") < length)
		return DECIMAL_MALFORMED;

	const char *p = buffer;
	bool any_digit = false;

	p += *p == '+' || *p == '-';
	for (; isdigit((unsigned char) *p); p++)
		any_digit = true;
	if (*p == '.')
		for (p++; isdigit((unsigned char) *p); p++)
			any_digit = true;
	if (!any_digit)
		return DECIMAL_MALFORMED;
	if (*p == 'e' || *p == 'E')
	{
		p++;
		p += *p == '+' || *p == '-';

		/* More than four digits of exponent are beyond numeric, and far beyond us. */
		int exponent_digits = strspn(p, "0123456789");

		if (exponent_digits == 0 || exponent_digits > 4)
			return exponent_digits == 0 ? DECIMAL_MALFORMED : DECIMAL_OVERFLOW;
		p += exponent_digits;
	}
	if (*p != '\0')
		return DECIMAL_MALFORMED;
	numeric = DirectFunctionCall3(numeric_in, CStringGetDatum(buffer), ObjectIdGetDatum(InvalidOid),
								  Int32GetDatum(-1));
	return decimal_from_numeric(DatumGetNumeric(numeric), scale, result);
}

/*
 * decimal_count
 *		Returns how many decimals a value has, at most scale.
 */
int
decimal_count(int128 value, int scale)
{
	while (scale > 0 && value % 10 == 0)
	{
		value /= 10;
		scale--;
	}
	return scale;
}

/*
 * integer_to_digits
 *		Writes the digits of a positive integer, without leading zeros; returns how
 *		many there are.
 */
static int
integer_to_digits(uint128 value, char *out)
{
	char group[MAXINT8LEN + 1];
	int length;
	int group_length;
	uint64 low;

	if (value <= PG_UINT64_MAX)
		return pg_ulltoa_n((uint64) value, out);
	length = integer_to_digits(value / small_powers[GROUP_DIGITS], out);
	low = (uint64) (value % small_powers[GROUP_DIGITS]);
	group_length = pg_ulltoa_n(low, group);
	memset(out + length, '0', GROUP_DIGITS - group_length);
	memcpy(out + length + GROUP_DIGITS - group_length, group, group_length);
	return length + GROUP_DIGITS;
}

/*
 * decimal_to_cstring
 *		Writes value * 10^-scale without exponent and without trailing zeros into
 *		buffer (DECIMAL_TEXT_SIZE bytes); returns the length.
 */
int
decimal_to_cstring(int128 value, int scale, char *buffer)
{
	char digits[3 * GROUP_DIGITS];
	char *out = buffer;
	int length;
	int whole;

	Assert(scale >= 0 && scale <= MAX_EXPONENT);
	if (value < 0)
		*out++ = '-';
	length = integer_to_digits(value < 0 ? -(uint128) value : (uint128) value, digits);
	whole = length - scale;
	while (length > 0 && length > whole && digits[length - 1] == '0')
		length--;
	if (whole <= 0)
		*out++ = '0';
	else
	{
		memcpy(out, digits, whole);
		out += whole;
	}
	if (length > Max(whole, 0))
	{
		*out++ = '.';
		for (int i = whole; i < 0; i++)
			*out++ = '0';
		memcpy(out, digits + Max(whole, 0), length - Max(whole, 0));
		out += length - Max(whole, 0);
	}
	*out = '\0';
	return out - buffer;
}

/*
 * decimal_multiply_ceil
 *		Gives value * factor / 10^decimals, rounded up. Both are not negative. The
 *		product is formed in 256 bits. Returns false if the result does not fit.
 */
bool
decimal_multiply_ceil(int128 value, int128 factor, int decimals, int128 *result)
{
	int128 product;

	Assert(value >= 0 && factor >= 0 && decimals >= 0 && decimals <= 2 * MAX_EXPONENT);

	if (decimals <= MAX_EXPONENT && !__builtin_mul_overflow(value, factor, &product))
	{
		int128 power = decimal_power_of_ten(decimals);

		*result = product / power;
		*result += *result * power != product;
		return true;
	}

	/* Schoolbook multiplication in limbs of 32 bits, the least significant first. */
	uint32 limbs[8] = {0};

	for (int i = 0; i < 4; i++)
	{
		uint64 carry = 0;

		for (int j = 0; j < 4; j++)
		{
			carry += limbs[i + j] +
					 (uint64) (uint32) (value >> (32 * i)) * (uint64) (uint32) (factor >> (32 * j));
			limbs[i + j] = (uint32) carry;
			carry >>= 32;
		}
		limbs[i + 4] = (uint32) carry;
	}

	/* Division by the power of ten, nine digits at a time; any remainder rounds up. */
	bool inexact = false;

	while (decimals > 0)
	{
		int step = Min(decimals, 9);
		uint64 remainder = 0;

		for (int i = 7; i >= 0; i--)
		{
			remainder = (remainder << 32) | limbs[i];
			limbs[i] = (uint32) (remainder / small_powers[step]);
			remainder %= small_powers[step];
		}
		inexact |= remainder != 0;
		decimals -= step;
	}
	if ((limbs[4] | limbs[5] | limbs[6] | limbs[7]) != 0 || limbs[3] > PG_INT32_MAX)
		return false;
	product = (int128) limbs[3] << 96 | (int128) limbs[2] << 64 | (int128) limbs[1] << 32 |
			  (int128) limbs[0];
	return !__builtin_add_overflow(product, (int128) inexact, result);
}
