/*
 * cache_internal.h
 *		What the parts of the cache of the cost layer share.
 */
#ifndef XAVIER_QUOTA_COST_CACHE_INTERNAL_H
#define XAVIER_QUOTA_COST_CACHE_INTERNAL_H

#include "cost/cache.h"

#include "access/genam.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

/* The tables of which something is kept. */
typedef enum CacheRelation
{
	RELATION_RATE_CARDS,
	RELATION_MODEL_ALIASES,
	RELATION_ADJUSTMENTS,
	RELATION_CREDIT_RATES,
	RELATION_RESOURCES,
	RELATION_HISTOGRAM,
	RELATION_COUNT
} CacheRelation;

/* Beyond this many entries a part starts afresh, to bound its memory. */
#define CACHE_MAX_ENTRIES 20000

/* A span of time in which one card, rate or factor is valid. */
typedef struct CacheSpan
{
	TimestampTz from;
	TimestampTz to; /* DT_NOEND: open */
	int64 card_id;  /* of a card */
	CardPlan *plan; /* of a card, once it has been looked for */
	int128 factor;  /* of a rate or adjustment: factor * 10^-decimals */
	int decimals;
	char *text; /* of a rate or adjustment */
} CacheSpan;

typedef struct CacheSpans
{
	int count;
	int room;
	CacheSpan *items;
} CacheSpans;

/* A scan of one of the tables. */
typedef struct CacheScan
{
	Relation relation;
	Snapshot snapshot;
	SysScanDesc scan;
} CacheScan;

/*
 * Functions in cache.c. cache_scan_begin() reads a table with the latest snapshot, through
 * an index where one is named.
 */
extern HTAB *cache_create_table(const char *name, MemoryContext context, Size key_size,
								Size entry_size, int flags);
extern void cache_scan_begin(CacheScan *scan, CacheRelation relation, const char *index, int nkeys,
							 ScanKey keys);
extern HeapTuple cache_scan_next(CacheScan *scan);
extern Datum cache_scan_value(CacheScan *scan, HeapTuple tuple, int column, bool *isnull);
extern void cache_scan_end(CacheScan *scan);
extern CacheSpan *spans_add(CacheSpans *spans, MemoryContext context);
extern CacheSpan *spans_find(const CacheSpans *spans, TimestampTz at);

/*
 * Functions in cache_cards.c. Those named _begin() here and below make a part start
 * afresh, in a context that is empty and lives until the next change of its table.
 */
extern void cards_begin(MemoryContext context);
extern CacheSpans *cards_find_versions(const char *model);
extern void cards_drop_compiled(void);
extern bool cards_are_too_many(void);

/* Functions in cache_names.c */
extern void names_begin(MemoryContext context);
extern void names_forget(void);
extern bool names_are_too_many(void);

/* Functions in cache_rates.c */
extern void adjustments_begin(MemoryContext context);
extern void credit_rates_begin(MemoryContext context);
extern void resources_begin(MemoryContext context);
extern bool adjustments_are_too_many(void);

/* Functions in history.c */
extern void history_begin(MemoryContext context);
extern bool history_is_too_large(void);

#endif /* XAVIER_QUOTA_COST_CACHE_INTERNAL_H */
