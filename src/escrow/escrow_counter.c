/*
 * escrow_counter.c
 *		Finding, loading and pinning counters, plain ones and series.
 *
 *		absent --pin--> loading --publish--> loaded, pinned <--pin/unpin--> idle
 *		                   |                                                 |
 *		                 abort: removed                 evicted, or forgotten: loading
 *
 * A counter is changed under the lock of its root's partition, never across
 * I/O (escrow_claim.c). A backend changes a counter only while it has it pinned,
 * and a pinned counter is neither evicted nor loaded again. Only the holder of the root's
 * load lock adds counters of that root; whoever finds one that is not loaded
 * waits for that lock, in the lock manager, where deadlocks are found and
 * timeouts work.
 *
 * A series is loaded from an instant on. One whose floor is later than what an
 * operation needs, since a clock has gone back, is loaded again if nobody has it
 * pinned; else its rule answers by what is there.
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
counter_find(const CounterSpec *spec)
{
	return hash_search_with_hash_value(spec->rule == NULL ? EscrowCounters : EscrowSeries,
									   &spec->key, spec->hash, HASH_FIND, NULL);
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
		dlist_push_tail(counter_idle_list(counter), &counter->idle);
}

/* Removes an idle counter from the table. */
void
counter_remove(SharedCounter *counter)
{
	Assert(counter->pins == 0);
	dlist_delete(&counter->idle);
	dlist_delete(&counter->member);
	hash_search_with_hash_value(counter->is_series ? EscrowSeries : EscrowCounters, &counter->key,
								counter->hash, HASH_REMOVE, NULL);
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

/* Says the same, for an operation that may need slots from an instant on. */
static bool
counter_is_ready_for(SharedCounter *counter, const CounterSpec *spec, uint64 epoch)
{
	return counter_is_ready(counter, epoch) && (!counter->is_series || counter->pins > 0 ||
												counter_state(counter)->floor <= spec->needed);
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
		counters[i] = counter_find(specs[i]);
		if (!counter_is_ready_for(counters[i], specs[i], epoch))
			return false;
	}
	for (int i = 0; i < count; i++)
	{
		bool pinned_already;

		pending_note_pin(counters[i], specs[i]->slot, &pinned_already);
		if (!pinned_already)
			counter_pin(counters[i]);
	}
	return true;
}

/* Evicts the least recently used counter or series of a partition; its lock is held. */
static bool
partition_evict_one(SharedPartition *partition, bool series)
{
	dlist_head *idle = &partition->idle[series];

	if (dlist_is_empty(idle))
		return false;
	counter_remove(dlist_container(SharedCounter, idle, dlist_head_node(idle)));
	pg_atomic_fetch_add_u64(&EscrowState->evictions, 1);
	return true;
}

/*
 * evict_anywhere
 *		Makes room by evicting up to so many idle counters, or series, of other partitions.
 *		No partition's lock is held. Returns whether it found any.
 */
static bool
evict_anywhere(int wanted, bool series)
{
	static uint32 next = 0;
	int evicted = 0;

	for (int i = 0; i < ESCROW_PARTITIONS && evicted < wanted; i++)
	{
		SharedPartition *partition = &EscrowState->partitions[next++ % ESCROW_PARTITIONS];

		LWLockAcquire(&partition->lock.lock, LW_EXCLUSIVE);
		while (evicted < wanted && partition_evict_one(partition, series))
			evicted++;
		LWLockRelease(&partition->lock.lock);
	}
	return evicted > 0;
}

/* Adds a counter that is not loaded, idle. NULL if its table is full. Lock held. */
static SharedCounter *
counter_add(const CounterSpec *spec)
{
	bool series = spec->rule != NULL;
	bool found;
	SharedCounter *counter =
		hash_search_with_hash_value(series ? EscrowSeries : EscrowCounters, &spec->key, spec->hash,
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
	counter->is_series = series;
	dlist_push_tail(&counter_partition(spec->hash)->members, &counter->member);
	dlist_push_tail(counter_idle_list(counter), &counter->idle);
	return counter;
}

/*
 * counter_reserve_all
 *		Pins all counters, adding those that are absent and marking for load those
 *		that are not to be trusted. Load lock and partition's lock held. Returns the
 *		spec that a full table has no room for, NULL if all is well; what it has done by
 *		then is found by the next try, or undone by the abort.
 */
static const CounterSpec *
counter_reserve_all(const CounterSpec *const *specs, int count, SharedCounter **counters,
					bool *to_load)
{
	uint64 epoch = escrow_root_epoch(specs[0]->root_hash);

	for (int i = 0; i < count; i++)
	{
		SharedCounter *counter = counter_find(specs[i]);
		PendingEffect *effect;
		bool pinned_already;

		to_load[i] = !counter_is_ready_for(counter, specs[i], epoch);
		if (counter == NULL)
			counter = counter_add(specs[i]);
		if (counter == NULL)
			return specs[i];
		effect = pending_note_pin(counter, specs[i]->slot, &pinned_already);
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
	return NULL;
}

/* Gives what was computed to the counters that this operation has reserved. */
static void
counter_publish(SharedCounter *const *counters, const CounterLoad *loads, int count)
{
	LWLock *lock = &counter_partition(counters[0]->hash)->lock.lock;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		if (counters[i]->is_series)
			*counter_state(counters[i]) = *loads[i].state;
		counters[i]->used = loads[i].totals.used;
		counters[i]->held = loads[i].totals.held;
		counters[i]->loaded = true;
		pending_find(counters[i], loads[i].spec->slot)->loading = false;
	}
	LWLockRelease(lock);
	pg_atomic_fetch_add_u64(&EscrowState->loads, 1);
	pg_atomic_fetch_add_u64(&EscrowState->counters_loaded, count);
}

static void
raise_full(bool series)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of shared memory for quotas"),
					errdetail("All %d %s are in use by transactions.",
							  series ? escrow_series_max : escrow_counters_max,
							  series ? "counters that look back" : "counters"),
					errhint("You might need to increase \"xavier_quota.%s\".",
							series ? "max_series" : "max_counters")));
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
	CounterLoad *loads = palloc0(sizeof(CounterLoad) * count);
	SharedCounter **load_counters = palloc(sizeof(SharedCounter *) * count);
	int load_count = 0;
	const CounterSpec *homeless;

	if (!lock_load(specs[0]->root_hash))
		pg_atomic_fetch_add_u64(&EscrowState->load_waits, 1);

	for (;;)
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		homeless = counter_reserve_all(specs, count, counters, to_load);
		LWLockRelease(lock);
		if (homeless == NULL)
			break;
		if (!evict_anywhere(count, homeless->rule != NULL))
			raise_full(homeless->rule != NULL);
		CHECK_FOR_INTERRUPTS();
	}

	for (int i = 0; i < count; i++)
	{
		if (!to_load[i])
			continue;
		loads[load_count].spec = specs[i];
		load_counters[load_count++] = counters[i];
	}
	if (load_count > 0)
	{
		loader(loads, load_count);
		counter_publish(load_counters, loads, load_count);
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
 * escrow_peek
 *		Fills in what memory says of a counter, and its number of refusals, and says
 *		whether it has it. Pins nothing: for views. A series needs a palloc'd state.
 */
bool
escrow_peek(CounterLoad *load, int64 *denied)
{
	const CounterSpec *spec = load->spec;
	LWLock *lock = &counter_partition(spec->hash)->lock.lock;
	SharedCounter *counter;
	bool ready;

	LWLockAcquire(lock, LW_SHARED);
	counter = counter_find(spec);
	ready = counter_is_ready_for(counter, spec, escrow_root_epoch(spec->root_hash));
	if (ready && counter->is_series)
		*load->state = *counter_state(counter);
	else if (ready)
	{
		load->totals.used = counter->used;
		load->totals.held = counter->held;
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
		copy->series = counter->is_series;
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
