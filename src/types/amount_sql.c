/*
 * amount_sql.c
 *		quota.amount in SQL: input and output, operators, index support, functions.
 *
 * The binary form is a version byte and then that of components.c.
 */
#include "types/amount.h"

#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "types/order.h"

#define AMOUNT_BINARY_VERSION 1

PG_FUNCTION_INFO_V1(quota_amount_in);
PG_FUNCTION_INFO_V1(quota_amount_out);
PG_FUNCTION_INFO_V1(quota_amount_recv);
PG_FUNCTION_INFO_V1(quota_amount_send);
PG_FUNCTION_INFO_V1(quota_amount_from_jsonb);
PG_FUNCTION_INFO_V1(quota_amount_to_jsonb);
PG_FUNCTION_INFO_V1(quota_amount_to_json);

PG_FUNCTION_INFO_V1(quota_amount_fits_in);
PG_FUNCTION_INFO_V1(quota_amount_has_room_for);

PG_FUNCTION_INFO_V1(quota_amount_make);
PG_FUNCTION_INFO_V1(quota_amount_add);
PG_FUNCTION_INFO_V1(quota_amount_subtract);
PG_FUNCTION_INFO_V1(quota_amount_negate);
PG_FUNCTION_INFO_V1(quota_amount_multiply);
PG_FUNCTION_INFO_V1(quota_amount_multiply_by);
PG_FUNCTION_INFO_V1(quota_amount_get);
PG_FUNCTION_INFO_V1(quota_amount_entries);

/* Input and output */

Datum
quota_amount_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_parse(PG_GETARG_CSTRING(0)));
}

Datum
quota_amount_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(amount_to_cstring(PG_GETARG_AMOUNT_P(0)));
}

Datum
quota_amount_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int version = pq_getmsgbyte(message);
	AmountEntry entries[AMOUNT_MAX_ENTRIES];

	if (version != AMOUNT_BINARY_VERSION)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("unsupported binary version %d of type quota.amount", version),
						errdetail("This server knows version %d.", AMOUNT_BINARY_VERSION)));

	int count = components_receive(message, "quota.amount", false, entries);

	PG_RETURN_POINTER(amount_make(entries, count));
}

Datum
quota_amount_send(PG_FUNCTION_ARGS)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(PG_GETARG_AMOUNT_P(0), entries);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendbyte(&message, AMOUNT_BINARY_VERSION);
	components_send(entries, count, &message);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
quota_amount_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	AmountEntry entries[AMOUNT_MAX_ENTRIES];

	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot cast jsonb to type quota.amount"),
						errdetail("An amount is an object in jsonb, of numbers or decimal strings "
								  "by resource.")));

	int count = components_from_jsonb(&document->root, "quota.amount", entries);

	PG_RETURN_POINTER(amount_make(entries, count));
}

static Jsonb *
amount_to_jsonb(const Amount *amount)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(amount, entries);
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(components_to_jsonb(entries, count, &state));
}

Datum
quota_amount_to_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(amount_to_jsonb(PG_GETARG_AMOUNT_P(0)));
}

/* The cast to json is what to_jsonb() and jsonb_build_object() of the core look for. */
Datum
quota_amount_to_json(PG_FUNCTION_ARGS)
{
	Jsonb *document = amount_to_jsonb(PG_GETARG_AMOUNT_P(0));

	PG_RETURN_TEXT_P(cstring_to_text(JsonbToCString(NULL, &document->root, VARSIZE(document))));
}

/* Orders */

DEFINE_ORDER(quota_amount, amount_compare);

/* a <= b: the partial order */
Datum
quota_amount_fits_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(amount_fits_in(PG_GETARG_AMOUNT_P(0), PG_GETARG_AMOUNT_P(1)));
}

/* a >= b: the partial order */
Datum
quota_amount_has_room_for(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(amount_fits_in(PG_GETARG_AMOUNT_P(1), PG_GETARG_AMOUNT_P(0)));
}

/* Arithmetic */

/* quota.amount(resource, value) */
Datum
quota_amount_make(PG_FUNCTION_ARGS)
{
	AmountEntry entry = {.resource = text_to_cstring(PG_GETARG_TEXT_PP(0))};

	if (!is_identifier(entry.resource))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a resource: \"%.*s\"",
						pg_mbcliplen(entry.resource, strlen(entry.resource), RESOURCE_NAME_SIZE),
						entry.resource),
				 errdetail("It is a lower-case letter or an underscore, and up to %d more of "
						   "these and digits.",
						   RESOURCE_NAME_SIZE - 2)));
	entry.micros = micros_from_numeric(PG_GETARG_NUMERIC(1), entry.resource);
	PG_RETURN_POINTER(amount_make(&entry, 1));
}

Datum
quota_amount_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_add(PG_GETARG_AMOUNT_P(0), PG_GETARG_AMOUNT_P(1)));
}

Datum
quota_amount_subtract(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_subtract(PG_GETARG_AMOUNT_P(0), PG_GETARG_AMOUNT_P(1)));
}

Datum
quota_amount_negate(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_subtract(amount_make(NULL, 0), PG_GETARG_AMOUNT_P(0)));
}

Datum
quota_amount_multiply(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_multiply(PG_GETARG_AMOUNT_P(0), PG_GETARG_NUMERIC(1)));
}

/* numeric * amount */
Datum
quota_amount_multiply_by(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(amount_multiply(PG_GETARG_AMOUNT_P(1), PG_GETARG_NUMERIC(0)));
}

/* amount -> resource; 0 for what is not mentioned */
Datum
quota_amount_get(PG_FUNCTION_ARGS)
{
	char *resource = text_to_cstring(PG_GETARG_TEXT_PP(1));

	PG_RETURN_NUMERIC(micros_to_numeric(amount_get(PG_GETARG_AMOUNT_P(0), resource)));
}

/* quota.entries(amount): rows of resource and value */
Datum
quota_amount_entries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AmountEntry entries[AMOUNT_MAX_ENTRIES];

	InitMaterializedSRF(fcinfo, 0);

	int count = amount_entries(PG_GETARG_AMOUNT_P(0), entries);

	for (int i = 0; i < count; i++)
	{
		Datum values[2] = {CStringGetTextDatum(entries[i].resource),
						   NumericGetDatum(micros_to_numeric(entries[i].micros))};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
