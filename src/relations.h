/*
 * relations.h
 *		The OIDs of the extension and of its relations, looked up once.
 */
#ifndef XAVIER_QUOTA_RELATIONS_H
#define XAVIER_QUOTA_RELATIONS_H

#include "postgres.h"

typedef enum QuotaRelation
{
	REL_GLOBAL_LOCK,
	REL_ACCOUNTS,
	REL_HOLDS,
	REL_HOLDS_PKEY,
	REL_EVENTS,
	REL_KEYS,
	REL_KEYS_PKEY,
	REL_COUNT
} QuotaRelation;

/* Functions in relations.c */
extern void relations_init(void);
extern Oid quota_relation(QuotaRelation relation);
extern Oid quota_extension(void);
extern bool quota_exists(void);

#endif /* XAVIER_QUOTA_RELATIONS_H */
