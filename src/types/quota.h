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

#define QuotaPGetDatum(quota) PointerGetDatum(quota)

/* One component of a quota outside of a datum. */
typedef struct QuotaEntry
{
	const Scope *scope;
	const char *resource;
	int64 micros;
} QuotaEntry;

/*
 * Functions in quota.c. Sorts; of several entries of one scope and resource the
 * least stays. All scopes must have one root. The result is palloc'd.
 */
extern Quota *quota_make(const QuotaEntry *entries, int count);

#endif /* XAVIER_QUOTA_TYPES_QUOTA_H */
