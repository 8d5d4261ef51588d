/*
 * escrow_internal.h
 *		Layout of the shared memory and of the list of pending effects.
 */
#ifndef XAVIER_QUOTA_ESCROW_INTERNAL_H
#define XAVIER_QUOTA_ESCROW_INTERNAL_H

#include "lib/ilist.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/hsearch.h"

#include "escrow/escrow.h"

/* Powers of two. All counters of one root are in one partition. */
#define ESCROW_PARTITIONS 64
#define ESCROW_GENERATIONS 4096

struct SharedCounter
{
	CounterKey key; /* MUST BE FIRST */

	/* All under the lock of the partition. */
	int128 used;
	int128 held;
	int64 denied; /* requests that did not fit, since the counter was loaded first */
	TimestampTz last_denied_at;
	uint64 epoch; /* SharedRoot.epoch + SharedEscrow.epoch when it was loaded */
	uint32 hash;
	uint32 pins;
	bool loaded;
	bool is_series;    /* begins a SharedSeries; used and held above are not in use */
	dlist_node member; /* in SharedPartition.members */
	dlist_node idle;   /* in SharedPartition.idle while pins is 0 */
};

typedef struct SharedSeries
{
	SharedCounter counter; /* MUST BE FIRST */
	SeriesState state;     /* under the lock of the partition */
} SharedSeries;

typedef struct SharedPartition
{
	LWLockPadded lock;
	dlist_head members; /* all counters */
	dlist_head idle[2]; /* unpinned counters, plain ones and series, least recently used first */
} SharedPartition;

/* By hash of the root; two roots with one slot only cost each other a re-read or a load. */
typedef struct SharedRoot
{
	pg_atomic_uint64 generation; /* of its definitions */
	pg_atomic_uint64 epoch;      /* of its counters */
} SharedRoot;

typedef struct SharedEscrow
{
	pg_atomic_uint64 generation; /* of definitions that belong to no root */
	pg_atomic_uint64 names;
	pg_atomic_uint64 epoch;
	pg_atomic_uint64 private_id;

	/* statistics */
	pg_atomic_uint64 loads;
	pg_atomic_uint64 counters_loaded;
	pg_atomic_uint64 evictions;
	pg_atomic_uint64 load_waits;
	pg_atomic_uint64 claims;
	pg_atomic_uint64 refusals;

	SharedRoot roots[ESCROW_GENERATIONS];
	SharedPartition partitions[ESCROW_PARTITIONS];
} SharedEscrow;

/*
 * What this transaction, or one of its live subtransactions, has done to a
 * counter. Amounts are int128, since a loop may add up many operations.
 */
typedef struct PendingEffect
{
	SharedCounter *counter;
	TimestampTz slot; /* of a series; 0 in a plain counter */
	int nest_level;
	uint32 pins;            /* of the counter, by this entry */
	bool loading;           /* this entry is to publish the counter */
	CounterTotals applied;  /* in the counter already: taken back on abort */
	CounterTotals deferred; /* added to the counter after commit */
	int128 returned;        /* the part of what is deferred that is below 0 by itself */

	/* Of that, what the rule of a series is told of after commit, as of an instant. */
	SeriesRule *rule; /* NULL: of nothing */
	int128 told;
	TimestampTz told_at;
	bool increased; /* something above 0 was added, too */
} PendingEffect;

extern SharedEscrow *EscrowState;
extern HTAB *EscrowCounters;
extern HTAB *EscrowSeries;
extern int escrow_counters_max;
extern int escrow_series_max;

/* No root has it: a counter that bears it is loaded afresh once nobody has it pinned. */
#define EPOCH_NEVER PG_UINT64_MAX

/* Functions in escrow_shmem.c */
extern uint64 escrow_root_epoch(uint32 root_hash);

static inline SharedPartition *
counter_partition(uint32 hash)
{
	return &EscrowState->partitions[hash % ESCROW_PARTITIONS];
}

static inline SeriesState *
counter_state(SharedCounter *counter)
{
	Assert(counter->is_series);
	return &((SharedSeries *) counter)->state;
}

static inline dlist_head *
counter_idle_list(const SharedCounter *counter)
{
	return &counter_partition(counter->hash)->idle[counter->is_series];
}

/* Functions in escrow_counter.c; the partition's lock is held. */
extern void counter_unpin(SharedCounter *counter, uint32 pins);
extern void counter_remove(SharedCounter *counter);

/* Functions in escrow_transaction.c */
extern void escrow_transaction_init(void);
extern void pending_reserve_space(int entries);
extern PendingEffect *
pending_note_pin(SharedCounter *counter, TimestampTz slot, bool *pinned_already);
extern PendingEffect *pending_find(SharedCounter *counter, TimestampTz slot);
extern CounterTotals pending_deferred(SharedCounter *counter);
extern bool pending_has_deferred(SharedCounter *counter);
extern void pending_add_deferred(SharedCounter *counter, SeriesState *state);

#endif /* XAVIER_QUOTA_ESCROW_INTERNAL_H */
