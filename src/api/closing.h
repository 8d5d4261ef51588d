/*
 * closing.h
 *		How holds end, and what is known of them afterwards.
 */
#ifndef XAVIER_QUOTA_API_CLOSING_H
#define XAVIER_QUOTA_API_CLOSING_H

#include "compat.h"
#include "ledger/ledger.h"

/* What the events of a hold id say. */
typedef struct ClosedHold
{
	const char *state; /* settled, released or expired */
	Event first;       /* the event that closed it first */
	Event last;
	int count;
	bool settled; /* usage has been recorded */
} ClosedHold;

/* Functions in closing.c */
extern bool closing_find(const pg_uuid_t *id, ClosedHold *closed);
extern bool closing_find_key(int64 root_id, const char *key, int64 fingerprint, KeyRecord *record);
pg_noreturn extern void closing_raise_unknown(const pg_uuid_t *id);
extern int closing_expire_root(uint32 root_hash, int64 root_id, TimestampTz now, int limit);
extern Jsonb *
closing_receipt(const ClosedHold *closed, TimestampTz now, bool replayed, bool ignored);
extern Relation closing_enter(const char *name, const pg_uuid_t *id, TimestampTz *now);
extern bool closing_lock(const pg_uuid_t *id, Relation holds, Hold *hold, ClosedHold *closed);
pg_noreturn extern void closing_raise_settled(const pg_uuid_t *id);
extern void closing_init(void);

#endif /* XAVIER_QUOTA_API_CLOSING_H */
