/*
 * escrow_counter.c
 *		Finding, loading, pinning and changing counters.
 *
 *		absent --pin--> loading --publish--> loaded, pinned <--pin/unpin--> idle
 *		                   |                                                 |
 *		                 abort: removed                 evicted, or forgotten: loading
 *
 * A counter is changed under the lock of its root's partition, never across
 * I/O. A backend changes a counter only while it has it pinned, and a pinned
 * counter is neither evicted nor loaded again. Only the holder of the root's
 * load lock adds counters of that root; whoever finds one that is not loaded
 * waits for that lock, in the lock manager, where deadlocks are found and
 * timeouts work.
 *
 * Invariant (1), safety: escrow_claim() checks all counters of an operation
 * and changes all of them under one lock, or none.
 *
 * Caveats: a refusal counts in memory only; the numbers of denials are lost
 * with the counter. Eviction takes the least recently used counter of one
 * partition, not of the whole table.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "escrow/escrow_internal.h"
#include "escrow/locks.h"

static SharedCounter *
counter_find(const CounterKey *key, uint32 hash)
{
	return hash_search_with_hash_value(EscrowCounters, key, hash, HASH_FIND, NULL);
}

static void
counter_pin(SharedCounter *counter)
{
	if (counter->pins++ == 0)
		dlist_delete(&counter->idle);
}

/* Gives back pins. The last one makes the counter the most recently used idle one. */
void
counter_unpin(SharedCounter *counter, uint32 pins)
{
	Assert(counter->pins >= pins);
	counter->pins -= pins;
	if (counter->pins == 0)
		dlist_push_tail(&counter_partition(counter->hash)->idle, &counter->idle);
}

/* Removes an idle counter from the table. */
void
counter_remove(SharedCounter *counter)
{
	Assert(counter->pins == 0);
	dlist_delete(&counter->idle);
	dlist_delete(&counter->member);
	hash_search_with_hash_value(EscrowCounters, &counter->key, counter->hash, HASH_REMOVE, NULL);
}

/*
 * counter_is_ready
 *		Says whether a counter can be pinned as it is. One of an older epoch can
 *		not, unless somebody has it pinned: then its root is not the one that was
 *		forgotten, see escrow_forget_root().
 */
static bool
counter_is_ready(const SharedCounter *counter, uint64 epoch)
{
	return counter != NULL && counter->loaded && (counter->pins > 0 || counter->epoch == epoch);
}

/*
 * counter_try_pin_all
 *		Pins all counters if all are ready, else none. Lock of the partition held.
 */
static bool
counter_try_pin_all(const CounterSpec *const *specs, int count, SharedCounter **counters)
{
	uint64 epoch = escrow_root_epoch(specs[0]->root_hash);

	for (int i = 0; i < count; i++)
	{
		counters[i] = counter_find(&specs[i]->key, specs[i]->hash);
		if (!counter_is_ready(counters[i], epoch))
			return false;
	}
	for (int i = 0; i < count; i++)
	{
		bool pinned_already;

		pending_note_pin(counters[i], &pinned_already);
		if (!pinned_already)
			counter_pin(counters[i]);
	}
	return true;
}

/* Evicts the least recently used counter of a partition; its lock is held. */
static bool
partition_evict_one(SharedPartition *partition)
{
	if (dlist_is_empty(&partition->idle))
		return false;
	counter_remove(dlist_container(SharedCounter, idle, dlist_head_node(&partition->idle)));
	pg_atomic_fetch_add_u64(&EscrowState->evictions, 1);
	return true;
}

/*
 * evict_anywhere
 *		Makes room by evicting up to so many idle counters of other partitions. No
 *		partition's lock is held. Returns whether it found any.
 */
static bool
evict_anywhere(int wanted)
{
	static uint32 next = 0;
	int evicted = 0;

	for (int i = 0; i < ESCROW_PARTITIONS && evicted < wanted; i++)
	{
		SharedPartition *partition = &EscrowState->partitions[next++ % ESCROW_PARTITIONS];

		LWLockAcquire(&partition->lock.lock, LW_EXCLUSIVE);
		while (evicted < wanted && partition_evict_one(partition))
			evicted++;
		LWLockRelease(&partition->lock.lock);
	}
	return evicted > 0;
}

/* Adds a counter that is not loaded, idle. NULL if the table is full. Lock held. */
static SharedCounter *
counter_add(const CounterSpec *spec)
{
	bool found;
	SharedCounter *counter = hash_search_with_hash_value(EscrowCounters, &spec->key, spec->hash,
														 HASH_ENTER_NULL, &found);

	if (counter == NULL)
		return NULL;
	Assert(!found);
	counter->used = 0;
	counter->held = 0;
	counter->denied = 0;
	counter->hash = spec->hash;
	counter->pins = 0;
	counter->loaded = false;
	dlist_push_tail(&counter_partition(spec->hash)->members, &counter->member);
	dlist_push_tail(&counter_partition(spec->hash)->idle, &counter->idle);
	return counter;
}

/*
 * counter_reserve_all
 *		Pins all counters, adding those that are absent and marking for load those
 *		that are not to be trusted. Load lock and partition's lock held. Returns
 *		false on a full table; what it has done by then is found by the next try,
 *		or undone by the abort.
 */
static bool
counter_reserve_all(const CounterSpec *const *specs, int count, SharedCounter **counters,
					bool *to_load)
{
	uint64 epoch = escrow_root_epoch(specs[0]->root_hash);

	for (int i = 0; i < count; i++)
	{
		SharedCounter *counter = counter_find(&specs[i]->key, specs[i]->hash);
		PendingEffect *effect;
		bool pinned_already;

		to_load[i] = !counter_is_ready(counter, epoch);
		if (counter == NULL)
			counter = counter_add(specs[i]);
		if (counter == NULL)
			return false;
		effect = pending_note_pin(counter, &pinned_already);
		if (!pinned_already)
			counter_pin(counter);
		if (to_load[i] && !effect->loading)
		{
			Assert(counter->pins == 1);
			effect->loading = true;
			counter->loaded = false;
			counter->epoch = epoch;
		}
		counters[i] = counter;
	}
	return true;
}

/* Gives computed totals to the counters that this operation has reserved. */
static void
counter_publish(SharedCounter *const *counters, const CounterTotals *totals, int count)
{
	LWLock *lock = &counter_partition(counters[0]->hash)->lock.lock;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		counters[i]->used = totals[i].used;
		counters[i]->held = totals[i].held;
		counters[i]->loaded = true;
		pending_find(counters[i])->loading = false;
	}
	LWLockRelease(lock);
	pg_atomic_fetch_add_u64(&EscrowState->loads, 1);
	pg_atomic_fetch_add_u64(&EscrowState->counters_loaded, count);
}

/*
 * escrow_load
 *		Pins counters of which some have to be loaded.
 *
 * The order is what makes it exact: load lock, look again, all entries
 * reserved and pinned, then one snapshot, then publish. Whoever wrote rows that
 * count here had the counter pinned before (invariant 5), so it was not absent
 * then, or had finished before this snapshot.
 */
static void
escrow_load(const CounterSpec *const *specs, int count, CounterLoader loader,
			SharedCounter **counters)
{
	LWLock *lock = &counter_partition(specs[0]->hash)->lock.lock;
	bool *to_load = palloc(sizeof(bool) * count);
	const CounterSpec **load_specs = palloc(sizeof(CounterSpec *) * count);
	SharedCounter **load_counters = palloc(sizeof(SharedCounter *) * count);
	CounterTotals *totals = palloc0(sizeof(CounterTotals) * count);
	int load_count = 0;
	bool complete;

	if (!lock_load(specs[0]->root_hash))
		pg_atomic_fetch_add_u64(&EscrowState->load_waits, 1);

	for (;;)
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		complete = counter_reserve_all(specs, count, counters, to_load);
		LWLockRelease(lock);
		if (complete)
			break;
		if (!evict_anywhere(count))
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of shared memory for quotas"),
					 errdetail("All %d counters are in use by transactions.", escrow_counters_max),
					 errhint("You might need to increase \"xavier_quota.max_counters\".")));
		CHECK_FOR_INTERRUPTS();
	}

	for (int i = 0; i < count; i++)
	{
		if (!to_load[i])
			continue;
		load_specs[load_count] = specs[i];
		load_counters[load_count++] = counters[i];
	}
	if (load_count > 0)
	{
		loader(load_specs, load_count, totals);
		counter_publish(load_counters, totals, load_count);
	}
	unlock_load(specs[0]->root_hash);
}

/*
 * escrow_pin
 *		Pins the counters of an operation until the (sub)transaction ends, loading
 *		from the tables those that memory does not have.
 *
 * All specs are of one root, whose lock the caller holds. Fills counters in the
 * order of specs. Errors: 53200 if every counter of the table is pinned.
 */
void
escrow_pin(const CounterSpec *const *specs, int count, CounterLoader loader,
		   SharedCounter **counters)
{
	LWLock *lock;
	bool pinned;

	if (count == 0)
		return;
	pending_reserve_space(count);
	lock = &counter_partition(specs[0]->hash)->lock.lock;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	pinned = counter_try_pin_all(specs, count, counters);
	LWLockRelease(lock);
	if (!pinned)
		escrow_load(specs, count, loader, counters);
}

/*
 * claim_check
 *		Fills in a claim's answers. What this transaction will give back at commit
 *		it may use again itself: both take effect together, or neither.
 */
static bool
claim_check(EscrowClaim *claim)
{
	CounterTotals deferred = pending_deferred(claim->counter);

	claim->totals.used = claim->counter->used + deferred.used;
	claim->totals.held = claim->counter->held + deferred.held;
	claim->fits = escrow_claim_fits(claim);
	return claim->fits || !claim->enforced;
}

/*
 * claim_apply
 *		Adds a granted request to the held amount. The part that this transaction
 *		has yet to give back moves over at commit, so that the counter never
 *		stands above its limit in between.
 */
static void
claim_apply(EscrowClaim *claim)
{
	CounterTotals deferred = pending_deferred(claim->counter);
	PendingEffect *effect = pending_find(claim->counter);
	int128 own = Max(-(deferred.used + deferred.held), 0);
	int128 later = Min(own, (int128) claim->request);
	int128 now = (int128) claim->request - later;

	effect->applied.held += now;
	effect->deferred.held += later;
	claim->counter->held += now;
}

/*
 * escrow_claim
 *		Checks a request on all counters of an operation and, if hold is true and
 *		every enforced one fits, holds it on all of them, in one step.
 *
 * The counters are of one root and pinned by this level of subtransaction.
 * Returns ESCROW_STALE, having done nothing, if definitions have changed since
 * the generation given was read.
 */
EscrowAnswer
escrow_claim(uint32 root_hash, Generation generation, EscrowClaim *claims, int count, bool hold)
{
	LWLock *lock;
	Generation current;
	bool granted = true;

	if (count == 0)
	{
		current = escrow_generation(root_hash);
		return current.root == generation.root && current.global == generation.global
				   ? ESCROW_GRANTED
				   : ESCROW_STALE;
	}

	lock = &counter_partition(claims[0].counter->hash)->lock.lock;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	current = escrow_generation(root_hash);
	if (current.root != generation.root || current.global != generation.global)
	{
		LWLockRelease(lock);
		return ESCROW_STALE;
	}
	for (int i = 0; i < count; i++)
		granted &= claim_check(&claims[i]);
	for (int i = 0; i < count && hold && granted; i++)
		claim_apply(&claims[i]);
	LWLockRelease(lock);

	if (hold && granted)
		pg_atomic_fetch_add_u64(&EscrowState->claims, 1);
	return granted ? ESCROW_GRANTED : ESCROW_REFUSED;
}

/*
 * escrow_count_denials
 *		Counts a request at the pinned counters that it did not fit, all of one root:
 *		refused says whether one of them was enforced.
 *
 * Apart from the claim, since who is refused may claim again before it answers.
 */
void
escrow_count_denials(SharedCounter *const *counters, int count, bool refused, TimestampTz now)
{
	LWLock *lock;

	if (count == 0)
		return;
	lock = &counter_partition(counters[0]->hash)->lock.lock;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		counters[i]->denied++;
		counters[i]->last_denied_at = now;
	}
	LWLockRelease(lock);
	if (refused)
		pg_atomic_fetch_add_u64(&EscrowState->refusals, 1);
}

/*
 * escrow_record_use
 *		Replaces held by used on a pinned counter, without a check: use is a fact.
 *		What is used above what was held counts at once, the rest moves after
 *		commit. With held 0 it is a charge, with used 0 a release; a negative use,
 *		a correction downwards, counts after commit.
 */
void
escrow_record_use(SharedCounter *counter, int64 held, int64 used)
{
	LWLock *lock = &counter_partition(counter->hash)->lock.lock;
	PendingEffect *effect = pending_find(counter);
	int64 above = used > held ? used - held : 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	effect->applied.used += above;
	effect->deferred.used += used - above;
	effect->deferred.held -= held;
	counter->used += above;
	LWLockRelease(lock);
}

/*
 * escrow_read
 *		Returns a pinned counter as this transaction sees it.
 */
CounterTotals
escrow_read(SharedCounter *counter)
{
	LWLock *lock = &counter_partition(counter->hash)->lock.lock;
	CounterTotals deferred = pending_deferred(counter);
	CounterTotals totals;

	LWLockAcquire(lock, LW_SHARED);
	totals.used = counter->used + deferred.used;
	totals.held = counter->held + deferred.held;
	LWLockRelease(lock);
	return totals;
}

/*
 * escrow_peek
 *		Fills in a counter's totals and number of refusals, if it is in memory, and
 *		says whether it is. Pins nothing: for views.
 */
bool
escrow_peek(const CounterSpec *spec, CounterTotals *totals, int64 *denied)
{
	LWLock *lock = &counter_partition(spec->hash)->lock.lock;
	SharedCounter *counter;
	bool ready;

	LWLockAcquire(lock, LW_SHARED);
	counter = counter_find(&spec->key, spec->hash);
	ready = counter_is_ready(counter, escrow_root_epoch(spec->root_hash));
	if (ready)
	{
		totals->used = counter->used;
		totals->held = counter->held;
	}
	*denied = counter == NULL ? 0 : counter->denied;
	LWLockRelease(lock);
	return ready;
}

/*
 * partition_copy
 *		Appends copies of those counters of a partition that belong to this database
 *		and to the root, or, with root 0, that have denied something. Counts all of
 *		them, also those that there is no space for.
 */
static void
partition_copy(SharedPartition *partition, int64 root_id, uint64 epoch, CounterCopy *copies,
			   int space, int *count)
{
	dlist_iter iter;

	LWLockAcquire(&partition->lock.lock, LW_SHARED);
	dlist_foreach(iter, &partition->members)
	{
		const SharedCounter *counter = dlist_container(SharedCounter, member, iter.cur);
		CounterCopy *copy;

		if (counter->key.database != MyDatabaseId ||
			(root_id != 0 ? counter->key.root_id != root_id : counter->denied == 0))
			continue;
		if ((*count)++ >= space)
			continue;
		copy = &copies[*count - 1];
		copy->key = counter->key;
		copy->totals.used = counter->used;
		copy->totals.held = counter->held;
		copy->denied = counter->denied;
		copy->last_denied_at = counter->last_denied_at;
		copy->current = counter_is_ready(counter, epoch);
	}
	LWLockRelease(&partition->lock.lock);
}

/* Makes room for so many copies; those made before are not kept. */
static CounterCopy *
copies_alloc(int space)
{
	return palloc_extended(sizeof(CounterCopy) * (Size) space, MCXT_ALLOC_HUGE);
}

/*
 * escrow_copy_root
 *		Returns a palloc'd copy of all counters of a root that this database has in
 *		memory. The caller holds the root's lock exclusively, so that none changes
 *		or comes; those of other roots of the partition do, hence two passes.
 */
CounterCopy *
escrow_copy_root(int64 root_id, uint32 root_hash, int *count)
{
	CounterCopy *copies = NULL;

	for (int space = 0;; space = *count)
	{
		if (space > 0)
			copies = copies_alloc(space);
		*count = 0;
		/* A counter's hash has its root's partition in its low bits. */
		partition_copy(counter_partition(root_hash), root_id, escrow_root_epoch(root_hash), copies,
					   space, count);
		if (*count <= space)
			return copies;
	}
}

/*
 * escrow_copy_denied
 *		Returns a palloc'd copy of all counters of this database in memory that have
 *		denied a request, whatever their root, each partition as of one instant.
 */
CounterCopy *
escrow_copy_denied(int *count)
{
	CounterCopy *copies = NULL;

	for (int space = 0;; space = *count + ESCROW_PARTITIONS)
	{
		if (space > 0)
			copies = copies_alloc(space);
		*count = 0;
		for (int i = 0; i < ESCROW_PARTITIONS; i++)
			partition_copy(&EscrowState->partitions[i], 0, 0, copies, space, count);
		if (*count <= space)
			return copies;
	}
}
