/*
 * cache_names.c
 *		Which card prices a model, by its name.
 *
 * A name leads to the card of its alias, to its own, or to that of one of the names that
 * follow from it (model_name.c), in this order. The first that there is decides,
 * whenever it is valid: a name never means one model today and another tomorrow because
 * a card has ended. What is found is kept until an alias or a rate card changes.
 */
#include "cost/cache_internal.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "cost/model_name.h"

/* Columns of quota.model_aliases. */
#define MODEL_ALIASES_ALIAS 1
#define MODEL_ALIASES_MODEL 2

typedef struct CacheName
{
	char name[MODEL_SIZE]; /* MUST BE FIRST; as requests give it */
	CacheSpans *versions;  /* of the card that prices it */
	const char *how;       /* the name leads there, static; NULL: it is the card's own */
} CacheName;

static MemoryContext names_context = NULL;
static HTAB *cache_names = NULL;

/*
 * names_begin
 *		See cache_internal.h.
 */
void
names_begin(MemoryContext context)
{
	names_context = context;
	cache_names = cache_create_table("xavier_quota names of models", context, MODEL_SIZE,
									 sizeof(CacheName), HASH_STRINGS);
}

/*
 * names_forget
 *		Forgets all names: the cards that they led to are forgotten.
 */
void
names_forget(void)
{
	if (names_context == NULL)
		return;
	cache_names = NULL;
	MemoryContextReset(names_context);
	names_begin(names_context);
}

/*
 * names_are_too_many
 *		Whether the names take too much memory: there is no end to those that follow.
 */
bool
names_are_too_many(void)
{
	return cache_names != NULL && hash_get_num_entries(cache_names) > CACHE_MAX_ENTRIES;
}

/*
 * read_alias
 *		Returns the model that a name is an alias of, NULL if it is none.
 */
static char *
read_alias(const char *name)
{
	CacheScan scan;
	ScanKeyData key;
	HeapTuple tuple;
	char *model = NULL;

	ScanKeyInit(&key, MODEL_ALIASES_ALIAS, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	cache_scan_begin(&scan, RELATION_MODEL_ALIASES, "model_aliases_pkey", 1, &key);
	tuple = cache_scan_next(&scan);
	if (tuple != NULL)
	{
		bool isnull;

		model = TextDatumGetCString(cache_scan_value(&scan, tuple, MODEL_ALIASES_MODEL, &isnull));
	}
	cache_scan_end(&scan);
	return model;
}

/* Whether a card is of a provider: by what its newest version says. */
static bool
is_of_provider(const CacheSpans *versions, const char *provider)
{
	const CardPlan *newest = cache_find_card(versions->items[versions->count - 1].card_id);

	return newest != NULL && model_name_is_of(provider, newest->provider);
}

/*
 * name_resolve
 *		Returns the versions of the card that a name leads to, and how; NULL if there is
 *		none.
 */
static CacheSpans *
name_resolve(const char *name, const char **how)
{
	ModelName names[MODEL_NAME_COUNT];
	char *alias = read_alias(name);
	int count;

	*how = "by alias";
	if (alias != NULL)
		return cards_find_versions(alias);
	count = model_name_derive(name, names);
	for (int i = 0; i < count; i++)
	{
		CacheSpans *versions = cards_find_versions(names[i].name);

		if (versions != NULL &&
			(names[i].provider == NULL || is_of_provider(versions, names[i].provider)))
		{
			*how = names[i].how;
			return versions;
		}
	}
	return NULL;
}

/*
 * cache_find_model
 *		Returns the card that prices the model at the instant; NULL if there is none,
 *		or none is valid then. Fills match with how the name led there. Unknown names
 *		are not remembered.
 */
CardPlan *
cache_find_model(const char *model, TimestampTz at, ModelMatch *match)
{
	CacheName *entry;
	CacheSpan *version;

	match->is_known = false;
	if (strlen(model) >= MODEL_SIZE)
		return NULL;
	entry = hash_search(cache_names, model, HASH_FIND, NULL);
	if (entry == NULL)
	{
		const char *how;
		CacheSpans *versions = name_resolve(model, &how);

		if (versions == NULL)
			return NULL;
		entry = hash_search(cache_names, model, HASH_ENTER, NULL);
		entry->versions = versions;
		entry->how = how;
	}
	match->is_known = true;
	match->how = entry->how;
	version = spans_find(entry->versions, at);
	if (version == NULL)
		return NULL;
	if (version->plan == NULL)
		version->plan = cache_find_card(version->card_id);
	return version->plan;
}
