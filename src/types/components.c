/*
 * components.c
 *		Lists of (resource, millionths), sorted by resource: what quota.amount and each
 *		level of quota.quota are made of.
 *
 * Outside of a datum a list is an array of AmountEntry. Inside it is packed:
 *
 *		count uint8, then for each component: micros int64 | length uint8 | name | NUL
 *
 * in ascending order of the names' bytes (strcmp), each name once. Nothing is
 * aligned, because a datum may begin at any byte (short varlena header): numbers
 * are copied in and out with memcpy. The NUL lets an entry point into the datum.
 *
 * Whether zeros may be in the list is up to the type: an amount drops them, a
 * quota keeps them, for there a resource that is not mentioned is unlimited.
 */
#include "types/components.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "types/micros.h"

StaticAssertDecl(AMOUNT_MAX_ENTRIES <= PG_UINT8_MAX, "the count is packed into a byte");
StaticAssertDecl(RESOURCE_NAME_SIZE <= PG_UINT8_MAX, "so is the length of a name");

static int
compare_entries(const void *a, const void *b)
{
	return strcmp(((const AmountEntry *) a)->resource, ((const AmountEntry *) b)->resource);
}

/*
 * components_require_room
 *		Makes sure that a list of so many entries is not too long: 54000 otherwise.
 */
void
components_require_room(int count, const char *type_name)
{
	if (count <= AMOUNT_MAX_ENTRIES)
		return;
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("too many resources in a value of type %s", type_name),
					errdetail("The limit is %d.", AMOUNT_MAX_ENTRIES)));
}

/* components_sort: into ascending order of the names. */
void
components_sort(AmountEntry *entries, int count)
{
	if (count > 1)
		qsort(entries, count, sizeof(AmountEntry), compare_entries);
}

/* components_drop_zeros: removes entries of value zero, in place; returns how many stay. */
int
components_drop_zeros(AmountEntry *entries, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++)
	{
		if (entries[i].micros != 0)
			entries[kept++] = entries[i];
	}
	return kept;
}

/*
 * components_compare
 *		A total order of sorted lists, for indexes only: entry by entry, the name
 *		before the value; a list that is the beginning of another comes first.
 */
int
components_compare(const AmountEntry *a, int a_count, const AmountEntry *b, int b_count)
{
	for (int i = 0; i < a_count && i < b_count; i++)
	{
		int order = strcmp(a[i].resource, b[i].resource);

		if (order != 0)
			return order < 0 ? -1 : 1;
		if (a[i].micros != b[i].micros)
			return a[i].micros < b[i].micros ? -1 : 1;
	}
	return a_count == b_count ? 0 : (a_count < b_count ? -1 : 1);
}

/* components_find: the entry of a resource in a sorted list, or NULL. */
const AmountEntry *
components_find(const AmountEntry *entries, int count, const char *resource)
{
	AmountEntry key = {.resource = resource};

	return bsearch(&key, entries, count, sizeof(AmountEntry), compare_entries);
}

/* components_packed_size: the bytes that components_pack() will write. */
Size
components_packed_size(const AmountEntry *entries, int count)
{
	Size size = 1;

	for (int i = 0; i < count; i++)
		size += sizeof(int64) + 1 + strlen(entries[i].resource) + 1;
	return size;
}

/* components_pack: writes a sorted list and returns the byte after it. */
char *
components_pack(const AmountEntry *entries, int count, char *packed)
{
	Assert(count >= 0 && count <= AMOUNT_MAX_ENTRIES);
	*packed++ = (char) count;
	for (int i = 0; i < count; i++)
	{
		size_t length = strlen(entries[i].resource);

		Assert(i == 0 || compare_entries(&entries[i - 1], &entries[i]) < 0);
		memcpy(packed, &entries[i].micros, sizeof(int64));
		packed += sizeof(int64);
		*packed++ = (char) length;
		memcpy(packed, entries[i].resource, length + 1);
		packed += length + 1;
	}
	return packed;
}

/*
 * components_unpack
 *		Reads a packed list; the names point into it. Returns the byte after it.
 */
const char *
components_unpack(const char *packed, AmountEntry *entries, int *count)
{
	*count = (uint8) *packed++;
	Assert(*count <= AMOUNT_MAX_ENTRIES);
	for (int i = 0; i < *count; i++)
	{
		memcpy(&entries[i].micros, packed, sizeof(int64));
		packed += sizeof(int64);

		size_t length = (uint8) *packed++;

		entries[i].resource = packed;
		packed += length + 1;
	}
	return packed;
}

/*
 * components_read
 *		Reads 'calls=1, credit=12.5' up to, not including, the terminator ('\0' for the
 *		end of the input), and sorts it; names are palloc'd. 22P02 if malformed or a
 *		resource comes twice, 22003 if a value is out of range, 54000 if too many.
 */
int
components_read(TextReader *reader, char terminator, AmountEntry *entries)
{
	int count = 0;

	reader_skip_space(reader);
	if (*reader->at == terminator)
		return 0;
	do
	{
		char resource[RESOURCE_NAME_SIZE];

		reader_skip_space(reader);

		const char *start = reader->at;
		int length = reader_identifier(reader, "a resource", resource);

		reader_skip_space(reader);
		if (!reader_accept(reader, '='))
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							reader_errexpected(reader, "\"=\"")));
		reader_skip_space(reader);

		int64 micros = reader_micros(reader);

		for (int i = 0; i < count; i++)
		{
			if (strcmp(entries[i].resource, resource) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						 errdetail("The resource \"%s\" comes a second time at character %d.",
								   resource, reader_position(reader, start))));
		}
		components_require_room(count + 1, reader->type_name);
		entries[count].resource = pnstrdup(resource, length);
		entries[count++].micros = micros;
		reader_skip_space(reader);
	} while (reader_accept(reader, ','));

	if (*reader->at != terminator)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						reader_errexpected(reader, terminator == '\0' ? "\",\" or the end"
																	  : "\",\" or \"}\"")));
	components_sort(entries, count);
	return count;
}

/* components_write: appends the canonical text form. */
void
components_write(const AmountEntry *entries, int count, StringInfo out)
{
	for (int i = 0; i < count; i++)
	{
		char value[MICROS_TEXT_SIZE];

		micros_to_cstring(entries[i].micros, value);
		if (i > 0)
			appendStringInfoChar(out, ',');
		appendStringInfoString(out, entries[i].resource);
		appendStringInfoChar(out, '=');
		appendStringInfoString(out, value);
	}
}

/*
 * components_receive
 *		Reads the binary form: count int16, then for each component length int8, name,
 *		micros int64. Accepts only what components_send() could have written: 22P03
 *		otherwise. zeros says whether zeros are accepted. Names are palloc'd.
 */
int
components_receive(StringInfo message, const char *type_name, bool zeros, AmountEntry *entries)
{
	int count = pq_getmsgint(message, 2);

	components_require_room(count, type_name);
	for (int i = 0; i < count; i++)
	{
		int length = pq_getmsgbyte(message);
		char *resource = pnstrdup(pq_getmsgbytes(message, length), length);
		int64 micros = pq_getmsgint64(message);
		const char *fault = NULL;

		/* pnstrdup() ended at a NUL, so the lengths differ if there was one. */
		if (!is_identifier(resource) || strlen(resource) != (size_t) length)
			fault = "is not named by an identifier";
		else if (i > 0 && strcmp(entries[i - 1].resource, resource) >= 0)
			fault = "is not in ascending order";
		else if (micros == 0 && !zeros)
			fault = "has the value zero";
		else if (micros > MICROS_MAX || micros < -MICROS_MAX)
			fault = "has a value beyond " MICROS_MAX_TEXT;
		if (fault != NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
							errmsg("invalid binary data for type %s", type_name),
							errdetail("Resource number %d %s.", i + 1, fault)));
		entries[i].resource = resource;
		entries[i].micros = micros;
	}
	return count;
}

/* components_send: appends the binary form; see components_receive(). */
void
components_send(const AmountEntry *entries, int count, StringInfo message)
{
	pq_sendint16(message, count);
	for (int i = 0; i < count; i++)
	{
		int length = (int) strlen(entries[i].resource);

		pq_sendint8(message, length);
		pq_sendbytes(message, entries[i].resource, length);
		pq_sendint64(message, entries[i].micros);
	}
}

/*
 * components_from_jsonb
 *		Reads {"calls": 1, "credit": "12.5"}: numbers or decimal strings, both exactly,
 *		and sorts it; names are palloc'd. Errors as components_read(), 22023 for what is
 *		neither a number nor a string.
 */
int
components_from_jsonb(JsonbContainer *object, const char *type_name, AmountEntry *entries)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue value;
	char *resource = NULL;
	int count = 0;

	Assert(JsonContainerIsObject(object));
	components_require_room(JsonContainerSize(object), type_name);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			resource = pnstrdup(value.val.string.val, value.val.string.len);
			if (!is_identifier(resource))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						 errmsg("invalid key in jsonb for type %s", type_name),
						 errdetail("The key \"%.*s\" does not name a resource.",
								   pg_mbcliplen(resource, strlen(resource), RESOURCE_NAME_SIZE),
								   resource)));
		}
		else if (token == WJB_VALUE)
		{
			const char *number;
			TextReader reader;

			if (value.type == jbvNumeric)
				number = DatumGetCString(
					DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
			else if (value.type == jbvString)
				number = pnstrdup(value.val.string.val, value.val.string.len);
			else
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("invalid value in jsonb for type %s", type_name),
								errdetail("The value of \"%s\" is neither a number nor a string.",
										  resource)));

			/* Read it with its name before it, so that an error shows both. */
			reader_init(&reader, type_name, psprintf("%s=%s", resource, number));
			reader.at += strlen(resource) + 1;
			entries[count].resource = resource;
			entries[count++].micros = reader_micros(&reader);
			reader_finish(&reader, "the end of the number");
		}
	}
	components_sort(entries, count);
	return count;
}

/*
 * components_to_jsonb
 *		Pushes an object of decimal strings, {"credit": "12.5"}, and returns what the
 *		last push has returned: the document, if nothing is around the object.
 */
JsonbValue *
components_to_jsonb(const AmountEntry *entries, int count, JsonbParseState **state)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		char text[MICROS_TEXT_SIZE];
		JsonbValue value = {.type = jbvString};

		value.val.string.val = unconstify(char *, entries[i].resource);
		value.val.string.len = (int) strlen(entries[i].resource);
		pushJsonbValue(state, WJB_KEY, &value);
		value.val.string.len = micros_to_cstring(entries[i].micros, text);
		value.val.string.val = pnstrdup(text, value.val.string.len);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}
