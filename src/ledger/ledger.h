/*
 * ledger.h
 *		The rows of the ledger: open holds, events and idempotency keys.
 */
#ifndef XAVIER_QUOTA_LEDGER_LEDGER_H
#define XAVIER_QUOTA_LEDGER_LEDGER_H

#include "access/htup.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "escrow/escrow.h"
#include "types/amount.h"
#include "types/scope.h"

/* As many as the path of an account has components. */
#define LEVELS_MAX SCOPE_MAX_DEPTH

/*
 * What every open hold counts one of, beside its amount, at the root. Not a
 * resource: the space keeps the name apart from all that can be registered.
 */
#define OPEN_HOLDS "open holds"

/* What every open hold of a model counts one of: a generation that runs. A resource. */
#define IN_FLIGHT "in_flight"

/* Who spends, as a row states it. */
typedef struct Spender
{
	int64 root_id;
	int level_count;
	int64 levels[LEVELS_MAX]; /* accounts of the path, root first */
	const Scope *scope;       /* of the last one */
	const char *user_id;      /* NULL: nobody's share */
	const char *model;        /* NULL: an amount without a model */
} Spender;

/* A row of quota.holds. */
typedef struct Hold
{
	pg_uuid_t id;
	Spender spender;
	const Amount *amount;
	TimestampTz held_at;
	TimestampTz expires_at;
	int64 card_id;         /* 0: none */
	Jsonb *request;        /* or NULL */
	int seq;               /* of the event that will close it: 1, or more if it was held anew */
	int64 expected_micros; /* credits; -1: nothing was known but the ceiling */
	ItemPointerData tid;
} Hold;

typedef enum EventKind
{
	EVENT_SETTLED,
	EVENT_RELEASED,
	EVENT_EXPIRED,
	EVENT_LATE,      /* use that came after release or expiry */
	EVENT_CHARGE,    /* use that was never held */
	EVENT_ADJUSTMENT /* a correction */
} EventKind;

/* A row of quota.events. */
typedef struct Event
{
	pg_uuid_t id;
	int seq; /* from 1 */
	EventKind kind;
	Spender spender;
	const Amount *held;
	const Amount *charged;
	const char *cost_usd; /* exact decimal, or NULL */
	const char *outcome;  /* or NULL */
	TimestampTz held_at;
	TimestampTz recorded_at;
	int64 card_id;
	Jsonb *usage;       /* or NULL */
	const char *reason; /* or NULL */

	/* What expectations are learned from; written, and not read back. */
	int64 expected_micros; /* as of the hold */
	int64 input_bytes;     /* of the request; -1: it did not say */
} Event;

/* A row of quota.keys. */
typedef struct KeyRecord
{
	int64 fingerprint;
	pg_uuid_t hold_id;
} KeyRecord;

/*
 * Says how much of a resource an open hold counts by being there, beside its amount,
 * in millionths. It is a rule, not a row: so it holds for a limit that is set later.
 */
static inline int64
hold_counts_itself(const char *resource, const char *model)
{
	if (strcmp(resource, OPEN_HOLDS) == 0)
		return MICROS_PER_UNIT;
	return model != NULL && strcmp(resource, IN_FLIGHT) == 0 ? MICROS_PER_UNIT : 0;
}

/* Functions in ledger_write.c */
extern void ledger_insert_hold(const Hold *hold);
extern void ledger_update_hold(Relation holds, const Hold *hold);
extern void ledger_delete_hold(Relation holds, const Hold *hold);
extern void ledger_insert_event(const Event *event);
extern void
ledger_insert_key(int64 root_id, const char *key, const KeyRecord *record, TimestampTz created_at);
extern const char *event_kind_name(EventKind kind);

/* Functions in ledger_read.c */
extern bool ledger_lock_hold(Relation holds, const pg_uuid_t *id, bool wait, Hold *hold);
extern bool ledger_find_hold(const pg_uuid_t *id, Hold *hold);
extern int ledger_find_events(const pg_uuid_t *id, Event **events);
extern bool ledger_find_key(int64 root_id, const char *key, KeyRecord *record);
extern void ledger_forget_quiet(uint32 root_hash);
extern int
ledger_find_expired(uint32 root_hash, int64 root_id, TimestampTz now, int limit, Hold **holds);

/* Functions in ledger_load.c */
extern void ledger_load(CounterLoad *loads, int count);

#endif /* XAVIER_QUOTA_LEDGER_LEDGER_H */
