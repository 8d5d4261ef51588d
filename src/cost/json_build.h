/*
 * json_build.h
 *		Short calls for building jsonb.
 */
#ifndef XAVIER_QUOTA_COST_JSON_BUILD_H
#define XAVIER_QUOTA_COST_JSON_BUILD_H

#include "cost/decimal.h"
#include "utils/jsonb.h"

/* The jsonb under construction; pushed texts must live until it is done. */
typedef JsonbParseState *JsonBuild;

static inline void
json_begin(JsonBuild *build, bool array)
{
	pushJsonbValue(build, array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

static inline JsonbValue *
json_end(JsonBuild *build, bool array)
{
	return pushJsonbValue(build, array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

/* token is WJB_KEY, WJB_VALUE or WJB_ELEM */
static inline void
json_token_text(JsonBuild *build, JsonbIteratorToken token, const char *text)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	pushJsonbValue(build, token, &value);
}

static inline void
json_key(JsonBuild *build, const char *key)
{
	json_token_text(build, WJB_KEY, key);
}

static inline void
json_key_text(JsonBuild *build, const char *key, const char *text)
{
	json_key(build, key);
	json_token_text(build, WJB_VALUE, text);
}

/* A decimal as a string, so that no reader takes it for a float. */
static inline void
json_key_decimal(JsonBuild *build, const char *key, int128 decimal, int scale)
{
	char *text = palloc(DECIMAL_TEXT_SIZE);

	decimal_to_cstring(decimal, scale, text);
	json_key_text(build, key, text);
}

static inline void
json_key_integer(JsonBuild *build, const char *key, int64 integer)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(integer);
	json_key(build, key);
	pushJsonbValue(build, WJB_VALUE, &value);
}

static inline void
json_key_boolean(JsonBuild *build, const char *key, bool boolean)
{
	JsonbValue value = {.type = jbvBool};

	value.val.boolean = boolean;
	json_key(build, key);
	pushJsonbValue(build, WJB_VALUE, &value);
}

static inline void
json_key_null(JsonBuild *build, const char *key)
{
	JsonbValue value = {.type = jbvNull};

	json_key(build, key);
	pushJsonbValue(build, WJB_VALUE, &value);
}

#endif /* XAVIER_QUOTA_COST_JSON_BUILD_H */
