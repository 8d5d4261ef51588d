/*
 * quota.h
 *		quota.quota: amounts by level under one root,
 *		'company:acme{calls=5000,credit=1000},company:acme/project:apollo{credit=200}'.
 */
#ifndef XAVIER_QUOTA_TYPES_QUOTA_H
#define XAVIER_QUOTA_TYPES_QUOTA_H

#include "types/amount.h"
#include "types/scope.h"

/* A varlena of levels sorted by scope; zero components are kept (0 means blocked). */
typedef struct varlena Quota;

#define QUOTA_MAX_LEVELS 1024

#define DatumGetQuotaP(datum) ((Quota *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_QUOTA_P(n) DatumGetQuotaP(PG_GETARG_DATUM(n))

/* One component of a quota outside of a datum. */
typedef struct QuotaEntry
{
	const Scope *scope;
	const char *resource;
	int64 micros;
} QuotaEntry;

/* One level, as quota_next_level() reads it; names point into the quota. */
typedef struct QuotaLevel
{
	const char *scope_bytes; /* the content of a Scope */
	int scope_length;
	int count; /* of entries, at least one */
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
} QuotaLevel;

typedef struct QuotaReader
{
	const char *at;
	int levels_left;
} QuotaReader;

/*
 * Functions in quota.c. Sorts; of several entries of one scope and resource the
 * least stays. All scopes must have one root. The result is palloc'd.
 */
extern Quota *quota_make(const QuotaEntry *entries, int count);

extern int quota_read_levels(const Quota *quota, QuotaReader *reader); /* how many there are */
extern bool quota_next_level(QuotaReader *reader, QuotaLevel *level);
extern Scope *quota_level_scope(const QuotaLevel *level); /* palloc'd */

extern int quota_compare(const Quota *a, const Quota *b); /* total order, without a meaning */
extern bool quota_allows(const Quota *quota, const Amount *amount);
extern Quota *quota_add(const Quota *quota, const Amount *amount, int sign);
extern Quota *quota_effective(const Quota *quota);
extern Amount *quota_get(const Quota *quota, const Scope *scope);

#endif /* XAVIER_QUOTA_TYPES_QUOTA_H */
