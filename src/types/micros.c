/*
 * micros.c
 *		Exact counts of millionths: text, numeric, and sums that never wrap.
 *
 * One component of an amount is a whole number of millionths of its unit, at
 * most MICROS_MAX in absolute value. Two of them add up without wrapping an
 * int64, and micros_check() then refuses a sum that is itself out of range.
 * Multiplication goes through numeric: it forms the exact product and rounds
 * once, up (toward positive infinity), so that a charge is never too small.
 */
#include "types/micros.h"

#include "fmgr.h"
#include "utils/builtins.h"

StaticAssertDecl(MICROS_PER_UNIT == 1000000, "MICROS_DECIMALS is the logarithm of it");

static void
micros_report_overflow(const char *resource)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("value out of range for type quota.amount"),
					errdetail("The value of \"%s\" is beyond " MICROS_MAX_TEXT ".", resource)));
}

/* micros_check: returns the value if it is in range; 22003 otherwise. */
int64
micros_check(int64 micros, const char *resource)
{
	if (micros > MICROS_MAX || micros < -MICROS_MAX)
		micros_report_overflow(resource);
	return micros;
}

/*
 * micros_to_cstring
 *		Writes the shortest decimal: '12.5', '-0.000001', '0'. Returns its length.
 */
int
micros_to_cstring(int64 micros, char *buffer)
{
	uint64 magnitude = micros < 0 ? (uint64) 0 - (uint64) micros : (uint64) micros;
	uint64 fraction = magnitude % MICROS_PER_UNIT;
	int length = snprintf(buffer, MICROS_TEXT_SIZE, "%s" UINT64_FORMAT, micros < 0 ? "-" : "",
						  magnitude / MICROS_PER_UNIT);

	if (fraction != 0)
	{
		length += snprintf(buffer + length, MICROS_TEXT_SIZE - length, ".%06d", (int) fraction);
		while (buffer[length - 1] == '0')
			buffer[--length] = '\0';
	}
	Assert(length < MICROS_TEXT_SIZE);
	return length;
}

/* micros_to_numeric: the same as numeric, in units, without trailing zeros. */
Numeric
micros_to_numeric(int64 micros)
{
	Numeric value = int64_div_fast_to_numeric(micros, MICROS_DECIMALS);

	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(value)));
}

/* micros_total_to_numeric: the same, of a number that is wider than 64 bits. */
Numeric
micros_total_to_numeric(int128 micros)
{
	Numeric units;
	int128 high = micros / ((int128) 1000000000 * 1000000000);
	int64 low = (int64) (micros % ((int128) 1000000000 * 1000000000));

	units = int64_div_fast_to_numeric(low, 6);
	if (high != 0)
		units =
			numeric_add_opt_error(units,
								  numeric_mul_opt_error(int64_to_numeric((int64) high),
														int64_to_numeric(INT64CONST(1000000000000)),
														NULL),
								  NULL);
	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(units)));
}

/* A finite whole numeric as int64; 22003 beyond MICROS_MAX. */
static int64
micros_from_whole(Numeric whole, const char *resource)
{
	Datum magnitude = DirectFunctionCall1(numeric_abs, NumericGetDatum(whole));
	Datum limit = NumericGetDatum(int64_to_numeric(MICROS_MAX));

	if (DatumGetBool(DirectFunctionCall2(numeric_gt, magnitude, limit)))
		micros_report_overflow(resource);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(whole)));
}

/*
 * micros_from_numeric
 *		Returns a numeric in units as millionths, exactly. 22023 if it is not finite
 *		or has more than six decimals, 22003 if it is out of range.
 */
int64
micros_from_numeric(Numeric value, const char *resource)
{
	if (numeric_is_nan(value) || numeric_is_inf(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("value of \"%s\" must be a finite number", resource)));

	Datum rounded =
		DirectFunctionCall2(numeric_round, NumericGetDatum(value), Int32GetDatum(MICROS_DECIMALS));

	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, rounded, NumericGetDatum(value))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("value of \"%s\" has more than six decimals", resource),
						errdetail("Amounts are counted in millionths of a unit."),
						errhint("Round the number to six decimals.")));

	/* The range comes first: 1e131071 millionths would overflow numeric itself. */
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, DirectFunctionCall1(numeric_abs, rounded),
										 NumericGetDatum(micros_to_numeric(MICROS_MAX)))))
		micros_report_overflow(resource);
	return micros_from_whole(DatumGetNumeric(DirectFunctionCall2(numeric_mul, rounded,
																 NumericGetDatum(int64_to_numeric(
																	 MICROS_PER_UNIT)))),
							 resource);
}

/*
 * micros_multiply
 *		Returns micros times a finite factor, formed exactly and rounded once, up to a
 *		whole millionth. 22003 if the result is out of range.
 */
int64
micros_multiply(int64 micros, Numeric factor, const char *resource)
{
	Assert(!numeric_is_nan(factor) && !numeric_is_inf(factor));

	Datum product = DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric(micros)),
										NumericGetDatum(factor));

	return micros_from_whole(DatumGetNumeric(DirectFunctionCall1(numeric_ceil, product)), resource);
}
