/*
 * escrow.h
 *		Counters in shared memory: what is used and held of each limit, now.
 *
 * The protocol and its invariants are told in src/escrow/README.md.
 */
#ifndef XAVIER_QUOTA_ESCROW_ESCROW_H
#define XAVIER_QUOTA_ESCROW_ESCROW_H

#include "escrow/series.h"

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
	int64 version;              /* of what the limit counts */
	int64 private_id;           /* not 0: under definitions that are not committed */
	TimestampTz period_start;   /* -infinity for a series */
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

	/* Of a series; NULL: a plain counter, of the period from key.period_start to period_end. */
	SeriesRule *rule;
	TimestampTz slot;       /* that the row of the operation counts in */
	TimestampTz load_from;  /* a load reads rows from here on, */
	TimestampTz exact_from; /* and by the hour until here, where its slots begin */
	TimestampTz needed;     /* a state whose floor is later does not do */
} CounterSpec;

typedef struct CounterTotals
{
	int128 used;
	int128 held;
} CounterTotals;

/* What the tables say of one counter: totals, or the state of a series (palloc'd). */
typedef struct CounterLoad
{
	const CounterSpec *spec;
	CounterTotals totals;
	SeriesState *state; /* of a series; or, if all_slots was set, every slot by itself */
	bool all_slots;
	int slot_count;
	CounterSlot *slots;
} CounterLoad;

/* A counter in shared memory, opaque outside of src/escrow. */
typedef struct SharedCounter SharedCounter;

/* Fills in what the tables say of counters, all of one root, in one snapshot. */
typedef void (*CounterLoader)(CounterLoad *loads, int count);

/* One counter's part in a claim. */
typedef struct EscrowClaim
{
	SharedCounter *counter;
	int64 request;   /* >= 0 */
	int128 capacity; /* limit + overdraft; of a series it is an answer */
	bool enforced;   /* hard: does not fit, is not granted */

	/* Of a series: its rule, and what it is asked and answers. */
	SeriesRule *rule;
	SeriesClaim series;

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
	int64 series;
	int64 series_max;
} EscrowStats;

/* A copy of a counter, for verify() and the views. */
typedef struct CounterCopy
{
	CounterKey key;
	CounterTotals totals;
	int64 denied;
	TimestampTz last_denied_at; /* if denied is not 0 */
	bool series;                /* its totals are in its slots */
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
extern bool escrow_peek(CounterLoad *load, int64 *denied);
extern CounterCopy *escrow_copy_root(int64 root_id, uint32 root_hash, int *count);
extern CounterCopy *escrow_copy_denied(int *count);

/* Functions in escrow_claim.c */
extern EscrowAnswer
escrow_claim(uint32 root_hash, Generation generation, EscrowClaim *claims, int count, bool hold);
extern void escrow_assess(EscrowClaim *claim, const SeriesState *state);
extern void escrow_look(EscrowClaim *claims, int count);
extern void
escrow_count_denials(SharedCounter *const *counters, int count, bool refused, TimestampTz now);
extern void escrow_record_use(EscrowClaim *claim, int64 held, int64 used);
extern void escrow_copy_state(const EscrowClaim *claim, SeriesState *state);

/* Functions in escrow_transaction.c */
extern void escrow_note_operation(void);
extern bool escrow_has_pins(void);
extern bool escrow_has_many_pins(void);

#endif /* XAVIER_QUOTA_ESCROW_ESCROW_H */
