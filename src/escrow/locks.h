/*
 * locks.h
 *		The heavyweight locks of the engine, and their order.
 */
#ifndef XAVIER_QUOTA_ESCROW_LOCKS_H
#define XAVIER_QUOTA_ESCROW_LOCKS_H

#include "postgres.h"
#include "utils/uuid.h"

/* Functions in locks.c */
extern void locks_init(void);
extern void lock_table_shared(Oid relation);
extern void lock_global_shared(void);
extern void lock_global_exclusive(void);
extern void lock_root_shared(uint32 root_hash);
extern void lock_root_exclusive(uint32 root_hash);
extern void unlock_root_exclusive(uint32 root_hash);
extern void lock_key(int64 root_id, const char *key);
extern void lock_hold_id(const pg_uuid_t *id);
extern bool lock_load(uint32 root_hash);
extern void unlock_load(uint32 root_hash);
extern void lock_exclusive_bounded(bool global, uint32 root_hash);

#endif /* XAVIER_QUOTA_ESCROW_LOCKS_H */
