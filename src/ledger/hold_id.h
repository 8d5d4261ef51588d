/*
 * hold_id.h
 *		Hold ids: uuids that carry the root's hash and the time of the hold.
 */
#ifndef XAVIER_QUOTA_LEDGER_HOLD_ID_H
#define XAVIER_QUOTA_LEDGER_HOLD_ID_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* Functions in hold_id.c */
extern void hold_id_generate(uint32 root_hash, TimestampTz held_at, pg_uuid_t *id);
extern bool hold_id_is_ours(const pg_uuid_t *id);
extern uint32 hold_id_root_hash(const pg_uuid_t *id);
extern TimestampTz hold_id_time(const pg_uuid_t *id); /* to the millisecond, down */
extern void hold_id_least(uint32 root_hash, TimestampTz from, pg_uuid_t *id);
extern void hold_id_greatest(uint32 root_hash, TimestampTz until, pg_uuid_t *id);

#endif /* XAVIER_QUOTA_LEDGER_HOLD_ID_H */
