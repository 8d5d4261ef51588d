/*
 * json_writer.c
 *		Writes jsonb, value by value.
 *
 * Amounts are decimal strings, so that no client's floating point touches them;
 * instants are ISO 8601 in UTC, whatever the session's time zone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "types/json_writer.h"

static void
json_key(JsonWriter *writer, const char *key)
{
	JsonbValue value;

	if (key == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(&writer->state, WJB_KEY, &value);
}

/* A value stands behind a key in an object, alone in an array. */
static void
json_value(JsonWriter *writer, const char *key, JsonbValue *value)
{
	json_key(writer, key);
	pushJsonbValue(&writer->state, key == NULL ? WJB_ELEM : WJB_VALUE, value);
}

void
json_begin_object(JsonWriter *writer, const char *key)
{
	json_key(writer, key);
	pushJsonbValue(&writer->state, WJB_BEGIN_OBJECT, NULL);
}

void
json_end_object(JsonWriter *writer)
{
	writer->result = pushJsonbValue(&writer->state, WJB_END_OBJECT, NULL);
}

void
json_begin_array(JsonWriter *writer, const char *key)
{
	json_key(writer, key);
	pushJsonbValue(&writer->state, WJB_BEGIN_ARRAY, NULL);
}

void
json_end_array(JsonWriter *writer)
{
	writer->result = pushJsonbValue(&writer->state, WJB_END_ARRAY, NULL);
}

void
json_null(JsonWriter *writer, const char *key)
{
	JsonbValue value = {.type = jbvNull};

	json_value(writer, key, &value);
}

/* A null for a text that is NULL. */
void
json_text(JsonWriter *writer, const char *key, const char *text)
{
	JsonbValue value;

	if (text == NULL)
	{
		json_null(writer, key);
		return;
	}
	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	json_value(writer, key, &value);
}

void
json_bool(JsonWriter *writer, const char *key, bool boolean)
{
	JsonbValue value = {.type = jbvBool};

	value.val.boolean = boolean;
	json_value(writer, key, &value);
}

void
json_int(JsonWriter *writer, const char *key, int64 number)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(number);
	json_value(writer, key, &value);
}

/* A number of millionths, as a decimal string of units. */
void
json_micros(JsonWriter *writer, const char *key, int128 micros)
{
	char *buffer = palloc(MICROS_TEXT_SIZE + 24);
	bool negative = micros < 0;
	int length = 0;

	if (micros >= -(int128) MICROS_MAX && micros <= (int128) MICROS_MAX)
		(void) micros_to_cstring((int64) micros, buffer);
	else
	{
		/* A counter, wider than an amount: whole units, then the rest. */
		int128 rest = negative ? -micros : micros;
		int128 units = rest / MICROS_PER_UNIT;
		char digits[48];
		int count = 0;

		for (; units > 0; units /= 10)
			digits[count++] = '0' + (int) (units % 10);
		if (negative)
			buffer[length++] = '-';
		while (count > 0)
			buffer[length++] = digits[--count];
		rest %= MICROS_PER_UNIT;
		if (rest > 0)
		{
			length += snprintf(buffer + length, 8, ".%06d", (int) rest);
			while (buffer[length - 1] == '0')
				length--;
		}
		buffer[length] = '\0';
	}
	json_text(writer, key, buffer);
}

void
json_amount(JsonWriter *writer, const char *key, const Amount *amount)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount == NULL ? 0 : amount_entries(amount, entries);

	json_begin_object(writer, key);
	for (int i = 0; i < count; i++)
		json_micros(writer, entries[i].resource, entries[i].micros);
	json_end_object(writer);
}

/* A null for an infinite instant. */
void
json_time(JsonWriter *writer, const char *key, TimestampTz instant)
{
	int utc = 0;
	char *buffer;

	if (TIMESTAMP_NOT_FINITE(instant))
	{
		json_null(writer, key);
		return;
	}
	buffer = palloc(MAXDATELEN + 1);
	JsonEncodeDateTime(buffer, TimestampTzGetDatum(instant), TIMESTAMPTZOID, &utc);
	json_text(writer, key, buffer);
}

void
json_uuid(JsonWriter *writer, const char *key, const pg_uuid_t *uuid)
{
	json_text(writer, key, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid))));
}

/* A null for a document that is NULL. */
void
json_document(JsonWriter *writer, const char *key, const Jsonb *document)
{
	JsonbValue value;

	if (document == NULL)
	{
		json_null(writer, key);
		return;
	}
	value.type = jbvBinary;
	value.val.binary.data = unconstify(JsonbContainer *, &document->root);
	value.val.binary.len = VARSIZE(document) - VARHDRSZ;
	json_value(writer, key, &value);
}

/*
 * json_finish
 *		Returns the document whose last part was closed.
 */
Jsonb *
json_finish(JsonWriter *writer)
{
	return JsonbValueToJsonb(writer->result);
}
