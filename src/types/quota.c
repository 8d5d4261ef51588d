/*
 * quota.c
 *		quota.quota: amounts by level under one root,
 *		'company:acme{calls=5000,credit=1000},company:acme/project:apollo{credit=200}'.
 *
 * A quota says what may be spent at each level of a spend path. It is not a vector
 * like an amount: a resource that a level does not mention is unlimited there, and a
 * resource with zero is blocked. So zeros are kept, and a level without a resource
 * is the same as none and is not stored.
 *
 * Internal form: levels uint16, then for each level, in ascending order of scopes:
 *
 *		length uint16 | bytes of the scope | packed components (components.c)
 *
 * Nothing is aligned. Each quota has exactly one form: two quotas are equal if and
 * only if their bytes are. Operations read the levels one after the other without
 * allocating, and write the result into a buffer.
 *
 * quota_effective() returns a quota of the root level only, not an amount: an amount
 * cannot tell a resource with nothing left (zero) from one without a limit (not
 * mentioned). With a quota it stays true that q @> a if and only if effective(q) @> a.
 *
 * The functions of this file work on values; quota_io.c reads and writes their forms
 * and quota_sql.c makes operators of them.
 */
#include "types/quota.h"

StaticAssertDecl(QUOTA_MAX_LEVELS <= PG_UINT16_MAX, "the count is packed into two bytes");

/* The result of an operation, while it is written. */
typedef struct QuotaBuilder
{
	StringInfoData bytes;
	uint16 levels;
} QuotaBuilder;

static void
builder_init(QuotaBuilder *builder)
{
	initStringInfo(&builder->bytes);
	builder->levels = 0;
	appendStringInfoSpaces(&builder->bytes, VARHDRSZ + sizeof(uint16));
}

/* Adds a level; levels come in ascending order. One without entries is left out. */
static void
builder_add_level(QuotaBuilder *builder, const QuotaLevel *level)
{
	uint16 scope_length = (uint16) level->scope_length;
	Size size = components_packed_size(level->entries, level->count);

	if (level->count == 0)
		return;
	if (builder->levels == QUOTA_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many levels in a value of type quota.quota"),
						errdetail("The limit is %d.", QUOTA_MAX_LEVELS)));
	builder->levels++;
	appendBinaryStringInfo(&builder->bytes, (const char *) &scope_length, sizeof(uint16));
	appendBinaryStringInfo(&builder->bytes, level->scope_bytes, level->scope_length);
	enlargeStringInfo(&builder->bytes, (int) size);
	components_pack(level->entries, level->count, builder->bytes.data + builder->bytes.len);
	builder->bytes.len += (int) size;
}

static Quota *
builder_finish(QuotaBuilder *builder)
{
	Quota *quota = (Quota *) builder->bytes.data;

	SET_VARSIZE(quota, builder->bytes.len);
	memcpy(VARDATA(quota), &builder->levels, sizeof(uint16));
	return quota;
}

/* quota_read_levels: starts to read the levels; returns how many there are. */
int
quota_read_levels(const Quota *quota, QuotaReader *reader)
{
	uint16 levels;

	memcpy(&levels, VARDATA_ANY(quota), sizeof(uint16));
	reader->at = VARDATA_ANY(quota) + sizeof(uint16);
	reader->levels_left = levels;
	return levels;
}

/* quota_next_level: reads the next level, in ascending order; false if there is none. */
bool
quota_next_level(QuotaReader *reader, QuotaLevel *level)
{
	uint16 scope_length;

	if (reader->levels_left == 0)
		return false;
	reader->levels_left--;
	memcpy(&scope_length, reader->at, sizeof(uint16));
	level->scope_length = scope_length;
	level->scope_bytes = reader->at + sizeof(uint16);
	reader->at =
		components_unpack(level->scope_bytes + scope_length, level->entries, &level->count);
	Assert(level->count > 0);
	return true;
}

/* quota_level_scope: the scope of a level, palloc'd. */
Scope *
quota_level_scope(const QuotaLevel *level)
{
	Scope *scope = palloc(VARHDRSZ + level->scope_length);

	SET_VARSIZE(scope, VARHDRSZ + level->scope_length);
	memcpy(VARDATA(scope), level->scope_bytes, level->scope_length);
	return scope;
}

static int
compare_entries(const void *a, const void *b)
{
	const QuotaEntry *left = a;
	const QuotaEntry *right = b;
	int order = scope_compare(left->scope, right->scope);

	if (order == 0)
		order = strcmp(left->resource, right->resource);
	if (order == 0)
		order = left->micros < right->micros ? -1 : left->micros > right->micros;
	return order;
}

/* Appends an entry to a level; of several of one resource the first, the least, stays. */
static void
level_add_entry(QuotaLevel *level, const QuotaEntry *entry)
{
	if (level->count > 0 && strcmp(level->entries[level->count - 1].resource, entry->resource) == 0)
		return;
	if (level->count == AMOUNT_MAX_ENTRIES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many resources at one level of a value of type quota.quota"),
						errdetail("The limit is %d.", AMOUNT_MAX_ENTRIES)));
	level->entries[level->count].resource = entry->resource;
	level->entries[level->count++].micros = micros_check(entry->micros, entry->resource);
}

/*
 * quota_make
 *		Returns the quota of some components, in any order; of several of one scope and
 *		resource the least stays. 22023 if the scopes have not one root, 22003 if a
 *		value is out of range, 54000 for too many levels, or resources at one.
 */
Quota *
quota_make(const QuotaEntry *entries, int count)
{
	QuotaEntry *sorted = palloc(sizeof(QuotaEntry) * (count + 1));
	Scope *root = count > 0 ? scope_root(entries[0].scope) : NULL;
	QuotaLevel level = {.count = 0};
	QuotaBuilder builder;

	if (count > 0)
		memcpy(sorted, entries, sizeof(QuotaEntry) * count);
	qsort(sorted, count, sizeof(QuotaEntry), compare_entries);
	builder_init(&builder);
	for (int i = 0; i < count; i++)
	{
		if (!scope_contains(root, sorted[i].scope))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the levels of a quota must have one root"),
							errdetail("Scope \"%s\" is not below \"%s\".",
									  scope_to_cstring(sorted[i].scope), scope_to_cstring(root))));
		if (i == 0 || scope_compare(sorted[i - 1].scope, sorted[i].scope) != 0)
		{
			builder_add_level(&builder, &level);
			level.scope_bytes = VARDATA_ANY(sorted[i].scope);
			level.scope_length = (int) VARSIZE_ANY_EXHDR(sorted[i].scope);
			level.count = 0;
		}
		level_add_entry(&level, &sorted[i]);
	}
	builder_add_level(&builder, &level);
	pfree(sorted);
	return builder_finish(&builder);
}

/*
 * quota_compare
 *		A total order without a meaning, for indexes: level by level, the scope before
 *		the components; a quota that is the beginning of another comes first.
 */
int
quota_compare(const Quota *a, const Quota *b)
{
	QuotaReader a_reader;
	QuotaReader b_reader;
	QuotaLevel left;
	QuotaLevel right;
	int a_count = quota_read_levels(a, &a_reader);
	int b_count = quota_read_levels(b, &b_reader);

	while (quota_next_level(&a_reader, &left) && quota_next_level(&b_reader, &right))
	{
		int order =
			memcmp(left.scope_bytes, right.scope_bytes, Min(left.scope_length, right.scope_length));

		if (order == 0)
			order = left.scope_length - right.scope_length;
		if (order == 0)
			order = components_compare(left.entries, left.count, right.entries, right.count);
		if (order != 0)
			return order < 0 ? -1 : 1;
	}
	return a_count == b_count ? 0 : (a_count < b_count ? -1 : 1);
}

/*
 * quota_allows
 *		Whether the amount fits at every level: no level has less of a resource than the
 *		amount asks for. What a level does not mention is unlimited there.
 */
bool
quota_allows(const Quota *quota, const Amount *amount)
{
	AmountEntry asked[AMOUNT_MAX_ENTRIES];
	int asked_count = amount_entries(amount, asked);
	QuotaReader reader;
	QuotaLevel level;

	quota_read_levels(quota, &reader);
	while (quota_next_level(&reader, &level))
	{
		for (int i = 0; i < level.count; i++)
		{
			const AmountEntry *entry =
				components_find(asked, asked_count, level.entries[i].resource);

			if (entry != NULL && level.entries[i].micros < entry->micros)
				return false;
		}
	}
	return true;
}

/*
 * quota_add
 *		Returns the quota with sign (1 or -1) times the amount added at every level, to
 *		the resources that the level mentions. 22003 if one is out of range.
 */
Quota *
quota_add(const Quota *quota, const Amount *amount, int sign)
{
	AmountEntry added[AMOUNT_MAX_ENTRIES];
	int added_count = amount_entries(amount, added);
	QuotaReader reader;
	QuotaLevel level;
	QuotaBuilder builder;

	builder_init(&builder);
	quota_read_levels(quota, &reader);
	while (quota_next_level(&reader, &level))
	{
		for (int i = 0; i < level.count; i++)
		{
			AmountEntry *entry = &level.entries[i];
			const AmountEntry *found = components_find(added, added_count, entry->resource);

			if (found != NULL)
				entry->micros = micros_check(entry->micros + sign * found->micros, entry->resource);
		}
		builder_add_level(&builder, &level);
	}
	return builder_finish(&builder);
}

/*
 * quota_effective
 *		Returns the least of all levels for each resource that any of them mentions, as
 *		a quota of the root level (why: see the top of this file).
 */
Quota *
quota_effective(const Quota *quota)
{
	QuotaReader reader;
	QuotaLevel level;
	Scope *root = NULL;
	int levels = quota_read_levels(quota, &reader);
	QuotaEntry *entries = palloc(sizeof(QuotaEntry) * (levels * AMOUNT_MAX_ENTRIES + 1));
	int count = 0;

	while (quota_next_level(&reader, &level))
	{
		if (root == NULL)
			root = scope_root(quota_level_scope(&level));
		for (int i = 0; i < level.count; i++)
		{
			entries[count].scope = root;
			entries[count].resource = level.entries[i].resource;
			entries[count++].micros = level.entries[i].micros;
		}
	}
	return quota_make(entries, count);
}

/* quota_get: the amount of one level; empty if the quota has no such level. */
Amount *
quota_get(const Quota *quota, const Scope *scope)
{
	QuotaReader reader;
	QuotaLevel level;

	quota_read_levels(quota, &reader);
	while (quota_next_level(&reader, &level))
	{
		if (level.scope_length == (int) VARSIZE_ANY_EXHDR(scope) &&
			memcmp(level.scope_bytes, VARDATA_ANY(scope), level.scope_length) == 0)
			return amount_make(level.entries, level.count);
	}
	return amount_make(NULL, 0);
}
