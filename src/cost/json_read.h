/*
 * json_read.h
 *		Reads the members of a jsonb object straight from its stored form.
 */
#ifndef XAVIER_QUOTA_COST_JSON_READ_H
#define XAVIER_QUOTA_COST_JSON_READ_H

#include "postgres.h"
#include "utils/jsonb.h"

/* How far an object has been read. */
typedef struct JsonMembers
{
	const JsonbContainer *object;
	const char *data;    /* of all keys and values, to which offsets are */
	int count;           /* of members */
	int next;            /* number of the next member */
	uint32 key_offset;   /* of the next member */
	uint32 value_offset; /* of the next member */
} JsonMembers;

/*
 * Functions in json_read.c. Members come in the order in which they are stored, and point
 * into the object. A value that is an object or array is jbvBinary, as
 * JsonbIteratorNext() gives it when it skips what is nested.
 */
extern void json_read_begin(JsonMembers *members, const JsonbContainer *object);
extern bool json_read_next(JsonMembers *members, JsonbValue *key, JsonbValue *value);

#endif /* XAVIER_QUOTA_COST_JSON_READ_H */
