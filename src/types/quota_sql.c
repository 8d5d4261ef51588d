/*
 * quota_sql.c
 *		quota.quota in SQL: operators, index support, functions.
 */
#include "types/quota.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "types/order.h"

PG_FUNCTION_INFO_V1(quota_quota_allows);
PG_FUNCTION_INFO_V1(quota_quota_allows_commuted);
PG_FUNCTION_INFO_V1(quota_quota_add);
PG_FUNCTION_INFO_V1(quota_quota_subtract);
PG_FUNCTION_INFO_V1(quota_quota_get);
PG_FUNCTION_INFO_V1(quota_quota_effective);
PG_FUNCTION_INFO_V1(quota_quota_entries);
PG_FUNCTION_INFO_V1(quota_quota_shortfall);

DEFINE_ORDER(quota_quota, quota_compare);

/* quota @> amount */
Datum
quota_quota_allows(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(quota_allows(PG_GETARG_QUOTA_P(0), PG_GETARG_AMOUNT_P(1)));
}

/* amount <@ quota */
Datum
quota_quota_allows_commuted(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(quota_allows(PG_GETARG_QUOTA_P(1), PG_GETARG_AMOUNT_P(0)));
}

Datum
quota_quota_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(quota_add(PG_GETARG_QUOTA_P(0), PG_GETARG_AMOUNT_P(1), 1));
}

Datum
quota_quota_subtract(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(quota_add(PG_GETARG_QUOTA_P(0), PG_GETARG_AMOUNT_P(1), -1));
}

/* quota -> scope */
Datum
quota_quota_get(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(quota_get(PG_GETARG_QUOTA_P(0), PG_GETARG_SCOPE_P(1)));
}

Datum
quota_quota_effective(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(quota_effective(PG_GETARG_QUOTA_P(0)));
}

/* Returns a row (scope, resource, micros in units) of a set-returning function. */
static void
put_row(ReturnSetInfo *result, const QuotaLevel *level, const char *resource, int64 micros)
{
	Datum values[3] = {ScopePGetDatum(quota_level_scope(level)), CStringGetTextDatum(resource),
					   NumericGetDatum(micros_to_numeric(micros))};
	bool nulls[3] = {false, false, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* quota.entries(quota): rows of scope, resource and value */
Datum
quota_quota_entries(PG_FUNCTION_ARGS)
{
	QuotaReader reader;
	QuotaLevel level;

	InitMaterializedSRF(fcinfo, 0);
	quota_read_levels(PG_GETARG_QUOTA_P(0), &reader);
	while (quota_next_level(&reader, &level))
	{
		for (int i = 0; i < level.count; i++)
			put_row((ReturnSetInfo *) fcinfo->resultinfo, &level, level.entries[i].resource,
					level.entries[i].micros);
	}
	return (Datum) 0;
}

/* quota.shortfall(quota, amount): rows of scope, resource and what is missing there */
Datum
quota_quota_shortfall(PG_FUNCTION_ARGS)
{
	AmountEntry asked[AMOUNT_MAX_ENTRIES];
	int asked_count = amount_entries(PG_GETARG_AMOUNT_P(1), asked);
	QuotaReader reader;
	QuotaLevel level;

	InitMaterializedSRF(fcinfo, 0);
	quota_read_levels(PG_GETARG_QUOTA_P(0), &reader);
	while (quota_next_level(&reader, &level))
	{
		for (int i = 0; i < level.count; i++)
		{
			const AmountEntry *left = &level.entries[i];
			const AmountEntry *entry = components_find(asked, asked_count, left->resource);

			/* Both are within MICROS_MAX, so the difference cannot wrap. */
			if (entry != NULL && left->micros < entry->micros)
				put_row((ReturnSetInfo *) fcinfo->resultinfo, &level, left->resource,
						entry->micros - left->micros);
		}
	}
	return (Datum) 0;
}
