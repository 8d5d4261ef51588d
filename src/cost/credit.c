/*
 * credit.c
 *		From dollars to what a request takes of each resource.
 *
 * Credits are the cost times the credit rate and the price adjustment of the root,
 * rounded up, once, to a millionth.
 */
#include "cost/credit.h"

#include "cost/document.h"

/* Credits are wanted in millionths of a credit, costs are in 10^-COST_SCALE dollars. */
#define MICROS_SCALE 6

/*
 * cost_try_micros
 *		Gives the credits for a cost, in millionths; returns false if they are out of
 *		range.
 */
bool
cost_try_micros(int128 cost, const CreditRate *rate, int64 *micros)
{
	int128 result;

	if (!decimal_multiply_ceil(cost, rate->factor, COST_SCALE - MICROS_SCALE + rate->decimals,
							   &result) ||
		result > MICROS_MAX)
		return false;
	*micros = (int64) result;
	return true;
}

/*
 * cost_to_micros
 *		Returns the credits for a cost, in millionths. Errors: 22003.
 */
int64
cost_to_micros(int128 cost, const CreditRate *rate)
{
	int64 micros;

	if (!cost_try_micros(cost, rate, &micros))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("cost in credits out of range")));
	return micros;
}

/*
 * counted_micros
 *		How much of a resource a usage takes.
 */
static int64
counted_micros(const CountedResource *counted, int64 credit_micros, const Usage *usage)
{
	int64 micros;

	if (counted->first == COUNTED_CREDIT)
		return credit_micros;
	if (counted->first == COUNTED_CALLS)
		return MICROS_PER_UNIT;
	micros = usage_get(usage, counted->first);
	return counted->second < 0 ? micros : micros + usage_get(usage, counted->second);
}

/*
 * cost_fill_amount
 *		Lists what a usage takes of each resource, in the order of jsonb's keys;
 *		returns how many there are, at most DOCUMENT_MAX_AMOUNTS. Measures that the
 *		ceiling does not have are left out.
 */
int
cost_fill_amount(AmountEntry *entries, int64 credit_micros, const Usage *usage,
				 const Usage *ceiling)
{
	int counted_count;
	const CountedResource *counted = cache_counted_resources(&counted_count);
	int count = 0;

	Assert(counted_count <= DOCUMENT_MAX_AMOUNTS);
	for (int i = 0; i < counted_count; i++)
	{
		if (counted[i].first >= 0 && counted_micros(&counted[i], 0, ceiling) == 0)
			continue;
		entries[count].resource = counted[i].name;
		entries[count++].micros = counted_micros(&counted[i], credit_micros, usage);
	}
	return count;
}
