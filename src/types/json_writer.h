/*
 * json_writer.h
 *		Writes jsonb, value by value: verdicts, receipts, rate cards.
 */
#ifndef XAVIER_QUOTA_TYPES_JSON_WRITER_H
#define XAVIER_QUOTA_TYPES_JSON_WRITER_H

#include "xavier_quota.h"
#include "types/amount.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct JsonWriter
{
	JsonbParseState *state;
	JsonbValue *result; /* of the last token that closed something */
} JsonWriter;

/* Functions in json_writer.c; key may be NULL within an array. Texts are not copied. */
extern void json_begin_object(JsonWriter *writer, const char *key);
extern void json_end_object(JsonWriter *writer);
extern void json_begin_array(JsonWriter *writer, const char *key);
extern void json_end_array(JsonWriter *writer);
extern void json_text(JsonWriter *writer, const char *key, const char *value);
extern void json_bool(JsonWriter *writer, const char *key, bool value);
extern void json_null(JsonWriter *writer, const char *key);
extern void json_int(JsonWriter *writer, const char *key, int64 value);
extern void json_micros(JsonWriter *writer, const char *key, int128 value);
extern void json_amount(JsonWriter *writer, const char *key, const Amount *value);
extern void json_time(JsonWriter *writer, const char *key, TimestampTz value);
extern void json_uuid(JsonWriter *writer, const char *key, const pg_uuid_t *value);
extern void json_document(JsonWriter *writer, const char *key, const Jsonb *value);
extern Jsonb *json_finish(JsonWriter *writer);

#endif /* XAVIER_QUOTA_TYPES_JSON_WRITER_H */
