/*
 * quota_io.c
 *		The forms of quota.quota: text, binary, jsonb.
 *
 *		text	scope { resource = decimal , ... } , ...; white space is allowed around
 *				every token, levels and resources come in any order
 *		binary	version int8, levels int16, then for each level: length int32, text of the
 *				scope, components as in components.c; only as sent is it accepted
 *		jsonb	{"company:acme": {"credit": "1000"}}
 *
 * Reading collects the components of all levels and leaves sorting to quota_make().
 * Output is canonical: levels in the order of scopes, zeros kept. A level without
 * a resource, 'company:acme{}', says nothing and is dropped.
 */
#include "types/quota.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"

#define QUOTA_BINARY_VERSION 1

PG_FUNCTION_INFO_V1(quota_quota_in);
PG_FUNCTION_INFO_V1(quota_quota_out);
PG_FUNCTION_INFO_V1(quota_quota_recv);
PG_FUNCTION_INFO_V1(quota_quota_send);
PG_FUNCTION_INFO_V1(quota_quota_from_jsonb);
PG_FUNCTION_INFO_V1(quota_quota_to_jsonb);
PG_FUNCTION_INFO_V1(quota_quota_to_json);

/* What has been read so far. */
typedef struct QuotaCollector
{
	Scope *scopes[QUOTA_MAX_LEVELS]; /* in the order of the input */
	int scope_count;
	QuotaEntry *entries; /* palloc'd, grows */
	int entry_count;
	int entry_room;
} QuotaCollector;

static QuotaCollector *
collector_create(void)
{
	QuotaCollector *collector = palloc0(sizeof(QuotaCollector));

	collector->entry_room = 16;
	collector->entries = palloc(sizeof(QuotaEntry) * collector->entry_room);
	return collector;
}

/*
 * Adds a scope. Returns NULL if it may be a level, else what is wrong with it, as
 * the end of a sentence.
 */
static const char *
collector_add_scope(QuotaCollector *collector, Scope *scope)
{
	if (collector->scope_count > 0)
	{
		Scope *root = scope_root(collector->scopes[0]);

		if (!scope_contains(root, scope))
			return psprintf("is not below \"%s\", the root of the first", scope_to_cstring(root));
	}
	for (int i = 0; i < collector->scope_count; i++)
	{
		if (scope_compare(collector->scopes[i], scope) == 0)
			return "comes a second time";
	}
	if (collector->scope_count == QUOTA_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many levels in a value of type quota.quota"),
						errdetail("The limit is %d.", QUOTA_MAX_LEVELS)));
	collector->scopes[collector->scope_count++] = scope;
	return NULL;
}

/* Adds the components of the scope that was added last. */
static void
collector_add_entries(QuotaCollector *collector, const AmountEntry *entries, int count)
{
	if (collector->entry_count + count > collector->entry_room)
	{
		collector->entry_room = (collector->entry_count + count) * 2;
		collector->entries =
			repalloc(collector->entries, sizeof(QuotaEntry) * collector->entry_room);
	}
	for (int i = 0; i < count; i++)
	{
		QuotaEntry *entry = &collector->entries[collector->entry_count++];

		entry->scope = collector->scopes[collector->scope_count - 1];
		entry->resource = entries[i].resource;
		entry->micros = entries[i].micros;
	}
}

/* Reads one level: a scope, and its components in braces. */
static void
quota_read_level(TextReader *reader, QuotaCollector *collector)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];

	reader_skip_space(reader);

	const char *start = reader->at;
	const char *fault = collector_add_scope(collector, scope_read(reader));

	if (fault != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						errdetail("The scope at character %d %s.", reader_position(reader, start),
								  fault)));
	reader_skip_space(reader);
	if (!reader_accept(reader, '{'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						reader_errexpected(reader, "\"{\"")));

	int count = components_read(reader, '}', entries);

	collector_add_entries(collector, entries, count);
	reader->at++; /* the brace that components_read() has stopped at */
	reader_skip_space(reader);
}

/*
 * quota_parse
 *		Reads the text form; the empty text is the empty quota. Errors as scope_read()
 *		and components_read(); 22P02 if a scope comes twice or the roots differ.
 */
static Quota *
quota_parse(const char *text)
{
	QuotaCollector *collector = collector_create();
	TextReader reader;

	reader_init(&reader, "quota.quota", text);
	reader_skip_space(&reader);
	if (*reader.at != '\0')
	{
		do
			quota_read_level(&reader, collector);
		while (reader_accept(&reader, ','));
		reader_finish(&reader, "\",\" or the end");
	}
	return quota_make(collector->entries, collector->entry_count);
}

/* quota_to_cstring: the canonical text. */
static char *
quota_to_cstring(const Quota *quota)
{
	StringInfoData text;
	QuotaReader reader;
	QuotaLevel level;

	initStringInfo(&text);
	quota_read_levels(quota, &reader);
	while (quota_next_level(&reader, &level))
	{
		if (text.len > 0)
			appendStringInfoChar(&text, ',');
		scope_write(quota_level_scope(&level), &text);
		appendStringInfoChar(&text, '{');
		components_write(level.entries, level.count, &text);
		appendStringInfoChar(&text, '}');
	}
	return text.data;
}

Datum
quota_quota_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(quota_parse(PG_GETARG_CSTRING(0)));
}

Datum
quota_quota_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(quota_to_cstring(PG_GETARG_QUOTA_P(0)));
}

/* Binary input: refuses whatever quota_quota_send() would not have written. */
Datum
quota_quota_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int version = pq_getmsgbyte(message);
	QuotaCollector *collector = collector_create();

	if (version != QUOTA_BINARY_VERSION)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("unsupported binary version %d of type quota.quota", version),
						errdetail("This server knows version %d.", QUOTA_BINARY_VERSION)));

	int levels = pq_getmsgint(message, 2);

	for (int i = 0; i < levels; i++)
	{
		AmountEntry entries[AMOUNT_MAX_ENTRIES];
		int text_length = pq_getmsgint(message, 4);
		int converted_length;
		Scope *scope = scope_parse(pq_getmsgtext(message, text_length, &converted_length));
		const char *fault = collector_add_scope(collector, scope);
		int count = components_receive(message, "quota.quota", true, entries);

		if (fault == NULL && i > 0 &&
			scope_compare(collector->scopes[i - 1], collector->scopes[i]) >= 0)
			fault = "is not in ascending order";
		if (fault == NULL && count == 0)
			fault = "has no resources";
		if (fault != NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
							errmsg("invalid binary data for type quota.quota"),
							errdetail("The scope of level number %d %s.", i + 1, fault)));
		collector_add_entries(collector, entries, count);
	}
	PG_RETURN_POINTER(quota_make(collector->entries, collector->entry_count));
}

Datum
quota_quota_send(PG_FUNCTION_ARGS)
{
	StringInfoData message;
	QuotaReader reader;
	QuotaLevel level;
	int levels = quota_read_levels(PG_GETARG_QUOTA_P(0), &reader);

	pq_begintypsend(&message);
	pq_sendint8(&message, QUOTA_BINARY_VERSION);
	pq_sendint16(&message, levels);
	while (quota_next_level(&reader, &level))
	{
		char *text = scope_to_cstring(quota_level_scope(&level));

		compat_sendcountedtext(&message, text, (int) strlen(text));
		components_send(level.entries, level.count, &message);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
quota_quota_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	QuotaCollector *collector = collector_create();

	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot cast jsonb to type quota.quota"),
						errdetail("A quota is an object in jsonb, of amounts by scope.")));

	JsonbIterator *iterator = JsonbIteratorInit(&document->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = pnstrdup(value.val.string.val, value.val.string.len);

			const char *fault = collector_add_scope(collector, scope_parse(key));

			if (fault != NULL)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("invalid key in jsonb for type quota.quota"),
								errdetail("The scope \"%s\" %s.", key, fault)));
		}
		else if (token == WJB_VALUE)
		{
			AmountEntry entries[AMOUNT_MAX_ENTRIES];

			if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("invalid value in jsonb for type quota.quota"),
								errdetail("The value of \"%s\" is not an object.", key)));

			int count = components_from_jsonb(value.val.binary.data, "quota.quota", entries);

			collector_add_entries(collector, entries, count);
		}
	}
	PG_RETURN_POINTER(quota_make(collector->entries, collector->entry_count));
}

static Jsonb *
quota_to_jsonb(const Quota *quota)
{
	JsonbParseState *state = NULL;
	QuotaReader reader;
	QuotaLevel level;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	quota_read_levels(quota, &reader);
	while (quota_next_level(&reader, &level))
	{
		JsonbValue key = {.type = jbvString};

		key.val.string.val = scope_to_cstring(quota_level_scope(&level));
		key.val.string.len = (int) strlen(key.val.string.val);
		pushJsonbValue(&state, WJB_KEY, &key);
		components_to_jsonb(level.entries, level.count, &state);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Datum
quota_quota_to_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(quota_to_jsonb(PG_GETARG_QUOTA_P(0)));
}

/* The cast to json is what to_jsonb() and jsonb_build_object() of the core look for. */
Datum
quota_quota_to_json(PG_FUNCTION_ARGS)
{
	Jsonb *document = quota_to_jsonb(PG_GETARG_QUOTA_P(0));

	PG_RETURN_TEXT_P(cstring_to_text(JsonbToCString(NULL, &document->root, VARSIZE(document))));
}
