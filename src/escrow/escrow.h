/*
 * escrow.h
 *		Counters in shared memory: what is used and held of each limit, now.
 *
 * The protocol and its invariants are told in src/escrow/README.md.
 */
#ifndef XAVIER_QUOTA_ESCROW_ESCROW_H
#define XAVIER_QUOTA_ESCROW_ESCROW_H

#include "xavier_quota.h"

/*
 * What a counter counts: one limit, at one level, in one period. Compared as
 * bytes: always start from a zeroed structure.
 */
typedef struct CounterKey
{
	Oid database;
	Oid extension; /* pg_extension.oid: a new CREATE EXTENSION starts afresh */
	int64 root_id;
	int64 account_id; /* the level */
	int64 limit_id;
	int64 version;    /* of what the limit counts */
	int64 private_id; /* not 0: under definitions that are not committed */
	TimestampTz period_start;
	char user_id[USER_ID_SIZE]; /* the share of a user in the level; empty for the level itself */
} CounterKey;

/* A key, and all that it takes to compute the counter from the tables. */
typedef struct CounterSpec
{
	CounterKey key;
	uint32 hash; /* counter_hash() of key */
	uint32 root_hash;
	const char *resource;
	const char *model_pattern;
	TimestampTz period_end;
} CounterSpec;

typedef struct CounterTotals
{
	int128 used;
	int128 held;
} CounterTotals;

/* A counter in shared memory, opaque outside of src/escrow. */
typedef struct SharedCounter SharedCounter;

/* Computes totals for each of the specs, all of one root, from one snapshot of the tables. */
typedef void (*CounterLoader)(const CounterSpec *const *specs, int count, CounterTotals *totals);

/* One counter's part in a claim. */
typedef struct EscrowClaim
{
	SharedCounter *counter;
	int64 request;   /* >= 0 */
	int128 capacity; /* limit + overdraft */
	bool enforced;   /* hard: does not fit, is not granted */

	/* answers, as this transaction sees the counter, before the claim */
	CounterTotals totals;
	bool fits;
} EscrowClaim;

/* Says whether a claim fits its counter; a request for nothing always does. */
static inline bool
escrow_claim_fits(const EscrowClaim *claim)
{
	return claim->request == 0 ||
		   claim->totals.used + claim->totals.held + claim->request <= claim->capacity;
}

typedef enum EscrowAnswer
{
	ESCROW_GRANTED,
	ESCROW_REFUSED,
	ESCROW_STALE /* definitions have changed since generation was read */
} EscrowAnswer;

/* Which definitions were read; compare with escrow_generation(). */
typedef struct Generation
{
	uint64 root;
	uint64 global;
	uint64 names; /* which accounts there are; no claim depends on it */
} Generation;

typedef struct EscrowStats
{
	int64 counters;
	int64 counters_max;
	int64 pinned;
	int64 loads;
	int64 counters_loaded;
	int64 evictions;
	int64 load_waits;
	int64 claims;
	int64 refusals;
	int64 memory_bytes;
} EscrowStats;

/* A copy of a counter, for verify() and the views. */
typedef struct CounterCopy
{
	CounterKey key;
	CounterTotals totals;
	int64 denied;
	TimestampTz last_denied_at; /* if denied is not 0 */
	bool current;               /* loaded, and not to be forgotten */
} CounterCopy;

/* Functions in escrow_shmem.c */
extern void escrow_init(void);
extern bool escrow_is_attached(void);
extern Generation escrow_generation(uint32 root_hash);
extern void escrow_bump_generation(uint32 root_hash);
extern void escrow_bump_global_generation(void);
extern void escrow_bump_names(void);
extern void escrow_forget_root(uint32 root_hash); /* its counters load afresh */
extern void escrow_forget_all(void);
extern int64 escrow_next_private_id(void);
extern uint32 counter_hash(const CounterKey *key, uint32 root_hash);
extern void escrow_get_stats(EscrowStats *stats);

/* Functions in escrow_counter.c */
extern void escrow_pin(const CounterSpec *const *specs, int count, CounterLoader loader,
					   SharedCounter **counters);
extern EscrowAnswer
escrow_claim(uint32 root_hash, Generation generation, EscrowClaim *claims, int count, bool hold);
extern void
escrow_count_denials(SharedCounter *const *counters, int count, bool refused, TimestampTz now);
extern void escrow_record_use(SharedCounter *counter, int64 held, int64 used);
extern CounterTotals escrow_read(SharedCounter *counter);
extern bool escrow_peek(const CounterSpec *spec, CounterTotals *totals, int64 *denied);
extern CounterCopy *escrow_copy_root(int64 root_id, uint32 root_hash, int *count);
extern CounterCopy *escrow_copy_denied(int *count);

/* Functions in escrow_transaction.c */
extern void escrow_note_operation(void);
extern bool escrow_has_pins(void);

#endif /* XAVIER_QUOTA_ESCROW_ESCROW_H */
