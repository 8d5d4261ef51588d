/*
 * json_write.h
 *		Writes jsonb of known shape straight into its stored form.
 */
#ifndef XAVIER_QUOTA_COST_JSON_WRITE_H
#define XAVIER_QUOTA_COST_JSON_WRITE_H

#include "cost/decimal.h"
#include "utils/jsonb.h"

/* The document under construction. */
typedef struct JsonWriter
{
	char *data;
	int length;
	int size;
} JsonWriter;

/* An object or array under construction. */
typedef struct JsonFrame
{
	int start;     /* offset, before padding */
	int entries;   /* offset of the first JEntry */
	int next;      /* number of the next entry */
	uint32 length; /* of the data of all entries so far */
} JsonFrame;

/*
 * Functions in json_write.c. An object is opened with all its keys in jsonb's order
 * (shorter ones first, then by bytes), then its values follow in that order. An array
 * is opened with the number of its elements.
 */
extern void json_write_begin(JsonWriter *writer);
extern Jsonb *json_write_end(JsonWriter *writer);
extern JsonFrame json_open_object(JsonWriter *writer, int count, const char *const *keys);
extern JsonFrame json_open_array(JsonWriter *writer, int count);
extern void json_close(JsonWriter *writer, JsonFrame *frame, JsonFrame *parent);
extern void json_write_text(JsonWriter *writer, JsonFrame *frame, const char *text);
extern void json_write_decimal(JsonWriter *writer, JsonFrame *frame, int128 decimal, int scale);
extern void json_write_integer(JsonWriter *writer, JsonFrame *frame, int64 integer);
extern int json_compare_keys(const char *a, const char *b);

#endif /* XAVIER_QUOTA_COST_JSON_WRITE_H */
