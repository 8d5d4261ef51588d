/*
 * escrow_transaction.c
 *		Ties the effects in shared memory to the transaction that makes them.
 *
 * The list of pending effects is an array in TopMemoryContext, grown before
 * shared memory is touched. An entry pins one counter for one level of
 * subtransaction; further effects of that level on that counter add to it.
 *
 *		effect made ---- subtransaction commits ---> belongs to the level above
 *			|	\------- subtransaction aborts ----> applied part taken back, unpinned
 *			|----------- transaction aborts -------> the same for all entries
 *			\----------- transaction commits ------> deferred part added, unpinned
 *
 * The rule of a series (series.h) is told of a correction after commit. What it is made of
 * lives until the transaction ends (directory/limits.c).
 *
 * Invariant (4), atomicity: an entry exists before its effect does, and every
 * way out of a transaction comes through these callbacks. Invariant (7): they
 * neither throw nor allocate nor do I/O.
 *
 * XACT_EVENT_COMMIT runs after other backends see the rows (ProcArrayEndTransaction)
 * and before the heavyweight locks go. In that window the tables are ahead of
 * memory; the pins keep everyone from loading these counters from the tables.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "escrow/escrow_internal.h"

static PendingEffect *pending = NULL;
static int pending_count = 0;
static int pending_space = 0;
static bool operated = false;

/*
 * pending_reserve_space
 *		Makes sure that so many entries can be added without allocating.
 */
void
pending_reserve_space(int entries)
{
	int needed = pending_count + entries;

	if (needed <= pending_space)
		return;
	needed = Max(needed, Max(64, pending_space * 2));
	if (pending == NULL)
		pending = MemoryContextAlloc(TopMemoryContext, sizeof(PendingEffect) * needed);
	else
		pending = repalloc_huge(pending, sizeof(PendingEffect) * (Size) needed);
	pending_space = needed;
}

/*
 * pending_find
 *		Returns this level's entry of a counter, and of a slot of it, which must exist.
 */
PendingEffect *
pending_find(SharedCounter *counter, TimestampTz slot)
{
	int level = GetCurrentTransactionNestLevel();

	for (int i = pending_count - 1; i >= 0 && pending[i].nest_level >= level; i--)
	{
		if (pending[i].counter == counter && pending[i].slot == slot)
			return &pending[i];
	}
	Assert(false);
	return NULL;
}

/*
 * pending_note_pin
 *		Returns this level's entry of a counter, a new one if there is none. The
 *		caller pins the counter if the entry is new, under the partition's lock,
 *		and has reserved space.
 */
PendingEffect *
pending_note_pin(SharedCounter *counter, TimestampTz slot, bool *pinned_already)
{
	int level = GetCurrentTransactionNestLevel();
	PendingEffect *effect;

	/* Entries of deeper levels are gone: the list is ordered by level. */
	for (int i = pending_count - 1; i >= 0 && pending[i].nest_level >= level; i--)
	{
		if (pending[i].counter == counter && pending[i].slot == slot)
		{
			*pinned_already = true;
			return &pending[i];
		}
	}

	Assert(pending_count < pending_space);
	effect = &pending[pending_count++];
	memset(effect, 0, sizeof(PendingEffect));
	effect->counter = counter;
	effect->slot = slot;
	effect->nest_level = level;
	effect->pins = 1;
	*pinned_already = false;
	return effect;
}

/*
 * pending_deferred
 *		Returns what this transaction will add to a plain counter after commit.
 */
CounterTotals
pending_deferred(SharedCounter *counter)
{
	CounterTotals sum = {0, 0};

	for (int i = pending_count - 1; i >= 0; i--)
	{
		if (pending[i].counter == counter)
		{
			sum.used += pending[i].deferred.used;
			sum.held += pending[i].deferred.held;
		}
	}
	return sum;
}

/*
 * pending_has_deferred
 *		Says whether this transaction will change a counter after commit.
 */
bool
pending_has_deferred(SharedCounter *counter)
{
	for (int i = pending_count - 1; i >= 0; i--)
	{
		if (pending[i].counter == counter &&
			(pending[i].deferred.used != 0 || pending[i].deferred.held != 0))
			return true;
	}
	return false;
}

/*
 * pending_add_deferred
 *		Adds to a copy of a series what this transaction will add to its slots after
 *		commit.
 */
void
pending_add_deferred(SharedCounter *counter, SeriesState *state)
{
	for (int i = 0; i < pending_count; i++)
	{
		CounterSlot *slot;

		if (pending[i].counter != counter)
			continue;
		slot = series_find(state, pending[i].slot);
		if (slot == NULL)
			continue;
		slot->used += pending[i].deferred.used;
		slot->held += pending[i].deferred.held;
		slot->returned += pending[i].returned;
	}
}

/*
 * escrow_note_operation
 *		Notes that this transaction has called the engine, so that it cannot be
 *		prepared; it may pin no counter, where there is no limit.
 */
void
escrow_note_operation(void)
{
	operated = true;
}

/*
 * escrow_has_pins
 *		Says whether this transaction has counters pinned.
 */
bool
escrow_has_pins(void)
{
	return pending_count > 0;
}

/*
 * escrow_has_many_pins
 *		Says whether this transaction has a quarter of the counters of a kind pinned, or
 *		more: then it should not pin any that it can leave to another one.
 */
bool
escrow_has_many_pins(void)
{
	int counts[2] = {0, 0};

	for (int i = 0; i < pending_count; i++)
		counts[pending[i].counter->is_series]++;
	return counts[false] >= escrow_counters_max / 4 || counts[true] >= escrow_series_max / 4;
}

/*
 * effect_add
 *		Adds to the counter of an entry, or to its slot. A slot that is not there has been
 *		folded, or had no place: where that matters, the tables have to be asked, once
 *		nobody has the counter pinned.
 */
static void
effect_add(const PendingEffect *effect, int128 used, int128 held, int128 returned)
{
	SharedCounter *counter = effect->counter;
	SeriesState *state;
	CounterSlot *slot;

	if (!counter->is_series)
	{
		counter->used += used;
		counter->held += held;
		return;
	}
	if (used == 0 && held == 0)
		return;
	state = counter_state(counter);
	slot = series_find(state, effect->slot);
	if (slot != NULL)
	{
		slot->used += used;
		slot->held += held;
		slot->returned += returned;
	}
	else if (effect->slot >= state->matters_from)
		counter->epoch = EPOCH_NEVER;
}

/*
 * pending_finish
 *		Ends all entries from the given one on: adds their deferred part or takes
 *		back their applied part, and unpins. The entries of one operation share a
 *		partition, so its lock is taken once for a run of them.
 */
static void
pending_finish(int first, bool commit)
{
	LWLock *locked = NULL;

	for (int i = pending_count - 1; i >= first; i--)
	{
		PendingEffect *effect = &pending[i];
		SharedCounter *counter = effect->counter;
		LWLock *lock = &counter_partition(counter->hash)->lock.lock;

		if (lock != locked)
		{
			if (locked != NULL)
				LWLockRelease(locked);
			LWLockAcquire(lock, LW_EXCLUSIVE);
			locked = lock;
		}
		if (commit && effect->rule != NULL)
			effect->rule->correct(effect->rule, counter_state(counter), effect->told_at,
								  (int64) Max(effect->told, -(int128) MICROS_MAX));
		if (commit)
			effect_add(effect, effect->deferred.used, effect->deferred.held, effect->returned);
		else
			effect_add(effect, -effect->applied.used, -effect->applied.held, 0);
		counter_unpin(counter, effect->pins);
		if (effect->loading)
		{
			/* Its load failed; nobody else can have pinned it. */
			Assert(!commit && !counter->loaded && counter->pins == 0);
			counter_remove(counter);
		}
	}
	if (locked != NULL)
		LWLockRelease(locked);
	pending_count = first;
}

static void
escrow_xact_callback(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			pending_finish(0, true);
			operated = false;
			break;
		case XACT_EVENT_ABORT:
			pending_finish(0, false);
			operated = false;
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (operated)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot PREPARE a transaction that has operated on quotas"),
								errhint("Call the functions of xavier_quota in a transaction that "
										"ends with COMMIT.")));
			break;
		default:
			break;
	}
}

/* Hands up what the rule of a series is to be told of: what was below came after. */
static void
effect_hand_up(const PendingEffect *effect, PendingEffect *above)
{
	above->told = (effect->increased ? 0 : above->told) + effect->told;
	above->increased |= effect->increased;
	if (effect->rule == NULL)
		return;
	above->told_at = above->rule == NULL ? effect->told_at : Max(above->told_at, effect->told_at);
	above->rule = effect->rule;
}

/*
 * pending_hand_up
 *		Gives the entries from the given one on to the level above, merging those
 *		of one counter, so that a loop with a subtransaction per turn does not
 *		grow the list.
 */
static void
pending_hand_up(int first, int level)
{
	int kept = first;

	for (int i = first; i < pending_count; i++)
	{
		PendingEffect *effect = &pending[i];
		int above = first - 1;

		Assert(!effect->loading);
		while (above >= 0 && pending[above].nest_level == level &&
			   (pending[above].counter != effect->counter || pending[above].slot != effect->slot))
			above--;
		if (above >= 0 && pending[above].nest_level == level)
		{
			pending[above].pins += effect->pins;
			pending[above].applied.used += effect->applied.used;
			pending[above].applied.held += effect->applied.held;
			pending[above].deferred.used += effect->deferred.used;
			pending[above].deferred.held += effect->deferred.held;
			pending[above].returned += effect->returned;
			effect_hand_up(effect, &pending[above]);
		}
		else
		{
			effect->nest_level = level;
			pending[kept++] = *effect;
		}
	}
	pending_count = kept;
}

static void
escrow_subxact_callback(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
						SubTransactionId parent pg_attribute_unused(),
						void *arg pg_attribute_unused())
{
	int level = GetCurrentTransactionNestLevel();
	int first = pending_count;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (first > 0 && pending[first - 1].nest_level >= level)
		first--;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending_finish(first, false);
	else
		pending_hand_up(first, level - 1);
}

void
escrow_transaction_init(void)
{
	RegisterXactCallback(escrow_xact_callback, NULL);
	RegisterSubXactCallback(escrow_subxact_callback, NULL);
}
