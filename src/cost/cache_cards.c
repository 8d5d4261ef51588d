/*
 * cache_cards.c
 *		Rate cards, compiled once by each backend.
 *
 * What is kept is of two kinds. When each version of a model's card is valid is read
 * again after every change of quota.rate_cards. A compiled version is kept beyond that:
 * at its next use it is compared with its row, and compiled again only if the row is
 * not what it was. So a change of one card makes no other be compiled. (A version
 * never changes under the rules of its table; but a superuser can set aside rules.)
 */
#include "cost/cache_internal.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Columns of quota.rate_cards. */
#define RATE_CARDS_CARD_ID 1
#define RATE_CARDS_MODEL 2
#define RATE_CARDS_VALID_FROM 3
#define RATE_CARDS_VALID_TO 4
#define RATE_CARDS_CARD 5

typedef struct CacheModel
{
	char model[MODEL_SIZE]; /* MUST BE FIRST */
	CacheSpans versions;
} CacheModel;

typedef struct CacheCard
{
	int64 card_id; /* MUST BE FIRST */
	CardPlan *plan;
	MemoryContext context; /* of the plan */
	uint64 fingerprint;    /* of the row */
	uint64 compared;       /* with the row, since this many changes */
} CacheCard;

static MemoryContext versions_context;
static HTAB *cache_models = NULL;
static MemoryContext cards_context = NULL; /* of all that is compiled */
static HTAB *cache_cards = NULL;
static uint64 changes = 0;     /* of the table, that this backend has heard of */
static int64 compilations = 0; /* by this backend */

/*
 * cards_begin
 *		See cache_internal.h.
 */
void
cards_begin(MemoryContext context)
{
	versions_context = context;
	cache_models = cache_create_table("xavier_quota models", context, MODEL_SIZE,
									  sizeof(CacheModel), HASH_STRINGS);
	changes++;
	names_forget();
	if (cache_cards == NULL || cards_are_too_many())
		cards_drop_compiled();
}

/*
 * cards_drop_compiled
 *		Forgets all compiled cards.
 */
void
cards_drop_compiled(void)
{
	if (cards_context == NULL)
		cards_context = AllocSetContextCreate(CacheMemoryContext, "xavier_quota rate cards",
											  ALLOCSET_DEFAULT_SIZES);
	cache_cards = NULL;
	MemoryContextReset(cards_context);
	cache_cards = cache_create_table("xavier_quota cards", cards_context, sizeof(int64),
									 sizeof(CacheCard), HASH_BLOBS);
}

/*
 * cards_are_too_many
 *		Whether what is compiled takes too much memory.
 */
bool
cards_are_too_many(void)
{
	return cache_cards != NULL && hash_get_num_entries(cache_cards) > CACHE_MAX_ENTRIES;
}

/*
 * card_fingerprint
 *		Tells one row from another: by its model and its document as it is stored.
 */
static uint64
card_fingerprint(const char *model, Jsonb *card)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) model, strlen(model), 0);

	return hash_bytes_extended((const unsigned char *) VARDATA(card), VARSIZE(card) - VARHDRSZ,
							   hash);
}

/*
 * card_compile_row
 *		Compiles a row in a context of its own, which replaces what there was of it.
 */
static void
card_compile_row(int64 card_id, const char *model, Jsonb *card, uint64 fingerprint)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "xavier_quota rate card", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	CardPlan *plan = card_compile(card, card_id, model);
	CacheCard *entry;
	bool found;

	MemoryContextSwitchTo(caller);
	entry = hash_search(cache_cards, &card_id, HASH_ENTER, &found);
	if (found)
		MemoryContextDelete(entry->context);
	MemoryContextSetParent(context, cards_context);
	entry->plan = plan;
	entry->context = context;
	entry->fingerprint = fingerprint;
	entry->compared = changes;
	compilations++;
}

/*
 * card_read
 *		Looks at the row of a card. Returns false if there is none; else it is compiled,
 *		and as the row says.
 */
static bool
card_read(int64 card_id)
{
	CacheScan scan;
	ScanKeyData key;
	HeapTuple tuple;

	ScanKeyInit(&key, RATE_CARDS_CARD_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(card_id));
	cache_scan_begin(&scan, RELATION_RATE_CARDS, "rate_cards_pkey", 1, &key);
	tuple = cache_scan_next(&scan);
	if (tuple != NULL)
	{
		bool isnull;
		char *model =
			TextDatumGetCString(cache_scan_value(&scan, tuple, RATE_CARDS_MODEL, &isnull));
		Jsonb *card = DatumGetJsonbP(cache_scan_value(&scan, tuple, RATE_CARDS_CARD, &isnull));
		uint64 fingerprint = card_fingerprint(model, card);
		CacheCard *entry = hash_search(cache_cards, &card_id, HASH_FIND, NULL);

		if (entry == NULL || entry->fingerprint != fingerprint)
			card_compile_row(card_id, model, card, fingerprint);
		else
			entry->compared = changes;
	}
	cache_scan_end(&scan);
	return tuple != NULL;
}

/*
 * cache_find_card
 *		Returns one version of a card, compiled; NULL if it does not exist.
 */
CardPlan *
cache_find_card(int64 card_id)
{
	CacheCard *entry = hash_search(cache_cards, &card_id, HASH_FIND, NULL);

	if (entry == NULL || entry->compared != changes)
	{
		if (!card_read(card_id))
			return NULL;
		entry = hash_search(cache_cards, &card_id, HASH_FIND, NULL);
	}
	return entry->plan;
}

/*
 * cards_read_versions
 *		Reads when each version of a model's card is valid.
 */
static void
cards_read_versions(const char *model, CacheSpans *versions)
{
	CacheScan scan;
	ScanKeyData key;
	HeapTuple tuple;

	memset(versions, 0, sizeof(CacheSpans));
	ScanKeyInit(&key, RATE_CARDS_MODEL, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(model));
	cache_scan_begin(&scan, RELATION_RATE_CARDS, "rate_cards_model_idx", 1, &key);
	while ((tuple = cache_scan_next(&scan)) != NULL)
	{
		CacheSpan *span = spans_add(versions, versions_context);
		bool isnull;
		Datum to;

		span->card_id = DatumGetInt64(cache_scan_value(&scan, tuple, RATE_CARDS_CARD_ID, &isnull));
		span->from =
			DatumGetTimestampTz(cache_scan_value(&scan, tuple, RATE_CARDS_VALID_FROM, &isnull));
		to = cache_scan_value(&scan, tuple, RATE_CARDS_VALID_TO, &isnull);
		span->to = isnull ? DT_NOEND : DatumGetTimestampTz(to);
	}
	cache_scan_end(&scan);
}

/*
 * cards_find_versions
 *		Returns when each version of a model's card is valid; NULL if it has none.
 *		Models without a card are not remembered: there is no end to them.
 */
CacheSpans *
cards_find_versions(const char *model)
{
	CacheModel *entry = hash_search(cache_models, model, HASH_FIND, NULL);
	CacheSpans versions;

	if (entry == NULL)
	{
		cards_read_versions(model, &versions);
		if (versions.count == 0)
			return NULL;
		entry = hash_search(cache_models, model, HASH_ENTER, NULL);
		entry->versions = versions;
	}
	return &entry->versions;
}

/*
 * cache_compilations
 *		Returns how many cards this backend has compiled.
 */
int64
cache_compilations(void)
{
	return compilations;
}
