/*
 * scope.c
 *		quota.scope: the path of an account, 'company:acme/project:apollo'.
 *
 * Text form
 *		scope = component { "/" component }, at most SCOPE_MAX_DEPTH of them
 *		component = kind ":" name
 *		kind = [a-z_][a-z0-9_]{0,62}
 *		name = unquoted | quoted | "*", of 1 to SCOPE_NAME_MAX bytes
 *
 *		Unquoted are ASCII letters and digits, every character beyond ASCII, and
 *		_ - . @ + ~ ' ! # $ % & = ^. Any other name is double-quoted as in SQL, with ""
 *		for a quote: user:"a/b". ASCII control characters are in no name. A bare * is
 *		the wildcard, which stands for all children of its kind (in definitions: it is
 *		not a pattern, and contains nothing but itself); it is allowed only as the last
 *		name. A name that is really a star is quoted. There is no white space around
 *		anything. Output quotes only where it must, so each scope has one text.
 *
 * Internal form
 *		kind \x02 name { \x01 kind \x02 name }, with \x03 for the wildcard
 *
 *		The three bytes are below all that a kind or name can have. Hence memcmp,
 *		shorter first, is a total order in which (1) a scope comes right before what is
 *		below it, and (2) a subtree is one range: it is all of [S, S \x02), since after
 *		the bytes of S only \x01 can follow within the subtree, and only a greater byte
 *		than \x02 (or another one earlier) outside of it. In words: by the components
 *		from the root, each by kind and then name in the order of bytes, the wildcard
 *		before all names.
 *
 *		"S \x02" is no scope. scope_subtree_end() makes it as the end of an index range,
 *		EXPLAIN prints it as 'company:acme/...', and no input accepts it.
 *
 * Two scopes are equal if and only if their bytes are; the bytes are those of the
 * server encoding. The longest scope takes about 6 kB; a btree index takes what
 * compresses to a third of a page.
 *
 * The functions of this file work on values; scope_sql.c makes SQL of them.
 */
#include "types/scope.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "compat.h"
#include "types/reader.h"

#define COMPONENT_SEPARATOR '\x01'
#define NAME_SEPARATOR '\x02'
#define WILDCARD '\x03'

#define SCOPE_MAX_SIZE (SCOPE_MAX_DEPTH * (RESOURCE_NAME_SIZE + 1 + SCOPE_NAME_MAX + 1))

/* One component inside of a scope. */
typedef struct ScopeComponent
{
	const char *kind;
	int kind_length;
	const char *name; /* one WILDCARD byte for the wildcard */
	int name_length;
} ScopeComponent;

static Scope *
scope_from_bytes(const char *bytes, int length)
{
	Scope *scope = palloc(VARHDRSZ + length);

	SET_VARSIZE(scope, VARHDRSZ + length);
	memcpy(VARDATA(scope), bytes, length);
	return scope;
}

/* Splits the component that ends before end; returns where it begins. */
static const char *
scope_component(const char *bytes, const char *end, ScopeComponent *component)
{
	const char *start = end;

	while (start > bytes && start[-1] != COMPONENT_SEPARATOR)
		start--;

	const char *separator = memchr(start, NAME_SEPARATOR, end - start);

	Assert(separator != NULL);
	component->kind = start;
	component->kind_length = separator - start;
	component->name = separator + 1;
	component->name_length = end - component->name;
	return start;
}

static void
scope_last_component(const Scope *scope, ScopeComponent *component)
{
	const char *bytes = VARDATA_ANY(scope);

	scope_component(bytes, bytes + VARSIZE_ANY_EXHDR(scope), component);
}

static bool
is_control(char c)
{
	return ((unsigned char) c < 0x20) || c == 0x7f;
}

/* Whether a character may stand in a name without quotes. */
static bool
is_unquoted(char c)
{
	return IS_HIGHBIT_SET(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		   (c >= '0' && c <= '9') || (c != '\0' && strchr("_-.@+~'!#$%&=^", c) != NULL);
}

/* Reads a name in double quotes. Returns the bytes written, at most SCOPE_NAME_MAX + 1. */
static int
read_quoted_name(TextReader *reader, char *name)
{
	const char *start = reader->at++;
	int length = 0;

	for (;; reader->at++)
	{
		if (*reader->at == '\0')
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							errdetail("The quote at character %d is not closed.",
									  reader_position(reader, start))));
		if (*reader->at == '"' && *++reader->at != '"')
			return length;
		if (is_control(*reader->at))
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							errdetail("There is a control character at character %d.",
									  reader_position(reader, reader->at))));
		if (length <= SCOPE_NAME_MAX)
			name[length++] = *reader->at;
	}
}

static int
read_unquoted_name(TextReader *reader, char *name)
{
	int length = 0;

	for (; is_unquoted(*reader->at); reader->at++)
	{
		if (length <= SCOPE_NAME_MAX)
			name[length++] = *reader->at;
	}
	if (length == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						reader_errexpected(reader, "a name"),
						errhint("Put a name with special characters into double quotes.")));
	return length;
}

/* Reads the name of a component into name (SCOPE_NAME_MAX + 1 bytes); returns its length. */
static int
read_name(TextReader *reader, char *name)
{
	const char *start = reader->at;
	int length;

	if (*reader->at == '"')
		length = read_quoted_name(reader, name);
	else if (reader_accept(reader, '*'))
	{
		name[0] = WILDCARD;
		return 1;
	}
	else
		length = read_unquoted_name(reader, name);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
				 errdetail("The name at character %d is empty.", reader_position(reader, start))));
	if (length > SCOPE_NAME_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), reader_errmsg(reader),
						errdetail("The name at character %d has more than %d bytes.",
								  reader_position(reader, start), SCOPE_NAME_MAX)));
	return length;
}

/*
 * scope_read
 *		Reads one scope and stops at the first character that cannot belong to it.
 *		22P02 if malformed, 54000 if a name is too long or the path too deep.
 */
Scope *
scope_read(TextReader *reader)
{
	char bytes[SCOPE_MAX_SIZE];
	int length = 0;
	int depth = 0;

	for (;;)
	{
		const char *start = reader->at;

		if (depth++ == SCOPE_MAX_DEPTH)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), reader_errmsg(reader),
							errdetail("There are more than %d components at character %d.",
									  SCOPE_MAX_DEPTH, reader_position(reader, start))));
		length += reader_identifier(reader, "a kind", bytes + length);
		if (!reader_accept(reader, ':'))
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							reader_errexpected(reader, "\":\"")));
		bytes[length++] = NAME_SEPARATOR;

		const char *name_start = reader->at;

		length += read_name(reader, bytes + length);
		if (*reader->at != '/')
			break;
		if (bytes[length - 1] == WILDCARD)
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							errdetail("The wildcard at character %d is not the last name.",
									  reader_position(reader, name_start)),
							errhint("Put a name that is really a star into double quotes.")));
		reader->at++;
		bytes[length++] = COMPONENT_SEPARATOR;
	}
	Assert(length <= SCOPE_MAX_SIZE);
	return scope_from_bytes(bytes, length);
}

/* scope_parse: reads a text that is one scope. Errors as scope_read(). */
Scope *
scope_parse(const char *text)
{
	TextReader reader;

	reader_init(&reader, "quota.scope", text);

	Scope *scope = scope_read(&reader);

	if (*reader.at != '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(&reader),
						reader_errexpected(&reader, "\"/\" or the end"),
						errhint("Put a name with special characters into double quotes.")));
	return scope;
}

static void
write_name(const char *name, int length, StringInfo out)
{
	bool quoted = false;

	if (length == 1 && *name == WILDCARD)
	{
		appendStringInfoChar(out, '*');
		return;
	}
	for (int i = 0; i < length; i++)
		quoted |= !is_unquoted(name[i]);
	if (quoted)
		appendStringInfoChar(out, '"');
	for (int i = 0; i < length; i++)
	{
		if (name[i] == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, name[i]);
	}
	if (quoted)
		appendStringInfoChar(out, '"');
}

/* scope_write: appends the canonical text form. */
void
scope_write(const Scope *scope, StringInfo out)
{
	const char *at = VARDATA_ANY(scope);
	const char *end = at + VARSIZE_ANY_EXHDR(scope);
	bool is_subtree_end = end[-1] == NAME_SEPARATOR;

	if (is_subtree_end)
		end--;
	while (at < end)
	{
		const char *next = memchr(at, COMPONENT_SEPARATOR, end - at);
		const char *component_end = next == NULL ? end : next;
		ScopeComponent component;

		scope_component(at, component_end, &component);
		appendBinaryStringInfo(out, component.kind, component.kind_length);
		appendStringInfoChar(out, ':');
		write_name(component.name, component.name_length, out);
		if (next != NULL)
			appendStringInfoChar(out, '/');
		at = next == NULL ? end : next + 1;
	}
	if (is_subtree_end)
		appendStringInfoString(out, "/...");
}

char *
scope_to_cstring(const Scope *scope)
{
	StringInfoData text;

	initStringInfo(&text);
	scope_write(scope, &text);
	return text.data;
}

/* scope_depth: the number of components; 1 for a root. */
int
scope_depth(const Scope *scope)
{
	const char *bytes = VARDATA_ANY(scope);
	int length = VARSIZE_ANY_EXHDR(scope);
	int depth = 1;

	for (int i = 0; i < length; i++)
		depth += bytes[i] == COMPONENT_SEPARATOR;
	return depth;
}

/* scope_compare: -1, 0 or 1 in the type's order; see the top of this file. */
int
scope_compare(const Scope *a, const Scope *b)
{
	int a_length = VARSIZE_ANY_EXHDR(a);
	int b_length = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_length, b_length));

	if (order == 0)
		order = a_length - b_length;
	return order == 0 ? 0 : (order < 0 ? -1 : 1);
}

/* scope_contains: whether descendant is ancestor itself or below it. */
bool
scope_contains(const Scope *ancestor, const Scope *descendant)
{
	int a_length = VARSIZE_ANY_EXHDR(ancestor);
	int d_length = VARSIZE_ANY_EXHDR(descendant);
	const char *d = VARDATA_ANY(descendant);

	return a_length <= d_length && memcmp(VARDATA_ANY(ancestor), d, a_length) == 0 &&
		   (a_length == d_length || d[a_length] == COMPONENT_SEPARATOR);
}

/* scope_prefix: the ancestor of that depth, from 1 to the depth of the scope itself. */
Scope *
scope_prefix(const Scope *scope, int depth)
{
	const char *bytes = VARDATA_ANY(scope);
	int length = VARSIZE_ANY_EXHDR(scope);
	int end = 0;

	Assert(depth >= 1 && depth <= scope_depth(scope));
	for (; end < length; end++)
	{
		if (bytes[end] == COMPONENT_SEPARATOR && --depth == 0)
			break;
	}
	return scope_from_bytes(bytes, end);
}

/* scope_root: the first account of the path. */
Scope *
scope_root(const Scope *scope)
{
	return scope_prefix(scope, 1);
}

/* scope_parent: the path without its last component; NULL for a root. */
Scope *
scope_parent(const Scope *scope)
{
	int depth = scope_depth(scope);

	return depth == 1 ? NULL : scope_prefix(scope, depth - 1);
}

/* scope_kind: the kind of the last component. */
char *
scope_kind(const Scope *scope)
{
	ScopeComponent last;

	scope_last_component(scope, &last);
	return pnstrdup(last.kind, last.kind_length);
}

/* scope_name: the name of the last component, as it is; "*" for the wildcard. */
char *
scope_name(const Scope *scope)
{
	ScopeComponent last;

	scope_last_component(scope, &last);
	return scope_is_wildcard(scope) ? pstrdup("*") : pnstrdup(last.name, last.name_length);
}

/* scope_is_wildcard: whether the last name is the wildcard (not a quoted star). */
bool
scope_is_wildcard(const Scope *scope)
{
	return VARDATA_ANY(scope)[VARSIZE_ANY_EXHDR(scope) - 1] == WILDCARD;
}

/*
 * scope_concat
 *		Returns the path of a with the components of b below it; a may be NULL for none.
 *		22023 if a ends in the wildcard, 54000 if the result is too deep.
 */
Scope *
scope_concat(const Scope *a, const Scope *b)
{
	if (a == NULL)
		return scope_from_bytes(VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b));
	if (scope_is_wildcard(a))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("scope \"%s\" cannot have children", scope_to_cstring(a)),
						errdetail("A wildcard is allowed only as the last name.")));
	if (scope_depth(a) + scope_depth(b) > SCOPE_MAX_DEPTH)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("scope is too deep"),
						errdetail("The limit is %d components.", SCOPE_MAX_DEPTH)));

	int a_length = VARSIZE_ANY_EXHDR(a);
	int b_length = VARSIZE_ANY_EXHDR(b);
	Scope *scope = palloc(VARHDRSZ + a_length + 1 + b_length);
	char *bytes = VARDATA(scope);

	SET_VARSIZE(scope, VARHDRSZ + a_length + 1 + b_length);
	memcpy(bytes, VARDATA_ANY(a), a_length);
	bytes[a_length] = COMPONENT_SEPARATOR;
	memcpy(bytes + a_length + 1, VARDATA_ANY(b), b_length);
	return scope;
}

/*
 * scope_append
 *		Returns the child of parent (NULL for a new root) with that kind and name. The
 *		name is taken as it is: "*" is a star, NULL the wildcard. 22023 if the kind or
 *		name is not valid; else as scope_concat().
 */
Scope *
scope_append(const Scope *parent, const char *kind, const char *name)
{
	char bytes[RESOURCE_NAME_SIZE + SCOPE_NAME_MAX];
	const char wildcard[] = {WILDCARD, '\0'};

	if (!is_identifier(kind))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid kind of a scope: \"%.*s\"",
							   pg_mbcliplen(kind, strlen(kind), RESOURCE_NAME_SIZE), kind),
						errdetail("A kind is a lower-case letter or an underscore, and up to 62 "
								  "more of these and digits.")));
	if (name == NULL)
		name = wildcard;
	else
	{
		size_t name_length = strlen(name);
		bool has_control = false;

		for (size_t i = 0; i < name_length; i++)
			has_control |= is_control(name[i]);
		if (name_length < 1 || name_length > SCOPE_NAME_MAX || has_control)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid name in a scope: \"%.*s\"",
								   pg_mbcliplen(name, name_length, SCOPE_NAME_MAX), name),
							errdetail("A name has 1 to %d bytes and no control characters.",
									  SCOPE_NAME_MAX)));
	}

	int length = snprintf(bytes, sizeof(bytes), "%s%c%s", kind, NAME_SEPARATOR, name);
	Scope *component = scope_from_bytes(bytes, length);

	return parent == NULL ? component : scope_concat(parent, component);
}

/* scope_subtree_end: the end (exclusive) of the range of a subtree. No scope itself. */
Scope *
scope_subtree_end(const Scope *scope)
{
	int length = VARSIZE_ANY_EXHDR(scope);
	Scope *end = palloc(VARHDRSZ + length + 1);

	SET_VARSIZE(end, VARHDRSZ + length + 1);
	memcpy(VARDATA(end), VARDATA_ANY(scope), length);
	VARDATA(end)[length] = NAME_SEPARATOR;
	return end;
}

/*
 * scope_root_hash
 *		Returns 32 bits of the root: FNV-1a (offset basis 2166136261, prime 16777619)
 *		over the bytes of its canonical text, 'company:acme'. Part of stored ids and of
 *		how requests are routed: never to be changed.
 */
uint32
scope_root_hash(const Scope *scope)
{
	char *text = scope_to_cstring(scope_root(scope));
	uint32 hash = UINT32_C(2166136261);

	for (const char *at = text; *at != '\0'; at++)
		hash = (hash ^ (unsigned char) *at) * UINT32_C(16777619);
	pfree(text);
	return hash;
}
