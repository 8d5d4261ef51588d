/*
 * json_write.h
 *		Writes jsonb of known shape straight into its stored form.
 */
#ifndef XAVIER_QUOTA_COST_JSON_WRITE_H
#define XAVIER_QUOTA_COST_JSON_WRITE_H

#include "cost/decimal.h"
#include "utils/jsonb.h"

/* The document under construction. */
typedef struct StoredJson
{
	char *data;
	int length;
	int size;
} StoredJson;

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
extern void json_write_begin(StoredJson *writer);
extern Jsonb *json_write_end(StoredJson *writer);
extern JsonFrame json_open_object(StoredJson *writer, int count, const char *const *keys);
extern JsonFrame json_open_array(StoredJson *writer, int count);
extern void json_close(StoredJson *writer, JsonFrame *frame, JsonFrame *parent);
extern void json_write_text(StoredJson *writer, JsonFrame *frame, const char *text);
extern void json_write_decimal(StoredJson *writer, JsonFrame *frame, int128 decimal, int scale);
extern void json_write_integer(StoredJson *writer, JsonFrame *frame, int64 integer);

#endif /* XAVIER_QUOTA_COST_JSON_WRITE_H */
