/*
 * escrow_claim.c
 *		Asking counters for room, and changing them.
 *
 * Invariant (1), safety: escrow_claim() checks all counters of an operation and
 * changes all of them under one lock, or none.
 *
 * What this transaction will give back at commit it may use again itself: both
 * take effect together, or neither.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "escrow/escrow_internal.h"

/* A series that has changed so often while it was prepared for is not to be had. */
#define PREPARE_TURNS_MAX 1000

static LWLock *
claim_lock(const EscrowClaim *claim)
{
	return &counter_partition(claim->counter->hash)->lock.lock;
}

/* The slot of a claim in pending effects. */
static TimestampTz
claim_slot(const EscrowClaim *claim)
{
	return claim->rule == NULL ? 0 : claim->series.slot;
}

/* Whether the rules of all claims are ready for the states that there are now. */
static bool
claims_are_ready(const EscrowClaim *claims, int count)
{
	for (int i = 0; i < count; i++)
	{
		const EscrowClaim *claim = &claims[i];

		if (claim->rule != NULL &&
			!claim->rule->is_ready(claim->rule, counter_state(claim->counter), claim->series.now))
			return false;
	}
	return true;
}

/* Gets the rules of claims ready for the states that there are now. */
static void
claims_prepare(EscrowClaim *claims, int count)
{
	for (int i = 0; i < count; i++)
	{
		EscrowClaim *claim = &claims[i];
		TimestampTz from;
		TimestampTz until;
		SeriesState *state;

		if (claim->rule == NULL || claim->rule->prepare == NULL)
			continue;
		LWLockAcquire(claim_lock(claim), LW_SHARED);
		state = counter_state(claim->counter);
		from = state->floor;
		until = claim->series.now;
		if (state->count > 0)
			until = Max(until, state->slots[state->count - 1].start);
		LWLockRelease(claim_lock(claim));
		claim->rule->prepare(claim->rule, from, until);
	}
}

/* Whether no definition has changed since a generation was read. */
static bool
generation_is_current(uint32 root_hash, Generation generation)
{
	Generation current = escrow_generation(root_hash);

	return current.root == generation.root && current.global == generation.global;
}

/*
 * lock_when_ready
 *		Takes the partition's lock of claims of one root at an instant at which their
 *		rules are ready for the series as they are; or, if a generation is given, at
 *		which it is not current any more.
 */
static LWLock *
lock_when_ready(EscrowClaim *claims, int count, LWLockMode mode, uint32 root_hash,
				const Generation *generation)
{
	LWLock *lock = claim_lock(&claims[0]);

	for (int turn = 0;; turn++)
	{
		if (turn == PREPARE_TURNS_MAX)
			elog(ERROR, "series cannot be prepared for");
		LWLockAcquire(lock, mode);
		if (claims_are_ready(claims, count) ||
			(generation != NULL && !generation_is_current(root_hash, *generation)))
			return lock;
		LWLockRelease(lock);
		CHECK_FOR_INTERRUPTS();
		claims_prepare(claims, count);
	}
}

/*
 * escrow_assess
 *		Fills in the answers of a claim on a series whose state is given. Its rule is
 *		ready for it.
 */
void
escrow_assess(EscrowClaim *claim, const SeriesState *state)
{
	SeriesClaim *series = &claim->series;

	series->request = claim->request;
	series->counts = true;
	claim->rule->assess(claim->rule, state, series);
	/* What could not be counted is not granted. */
	if (series->request != 0 && series->counts && !series_has_place(state, series->slot))
		series->fits = false;
	claim->totals.used = series->used;
	claim->totals.held = series->held;
	claim->capacity = series->limit + series->overdraft;
	claim->fits = series->fits;
}

/* Copies a series as this transaction sees it; lock held. */
static void
claim_copy_state(const EscrowClaim *claim, SeriesState *state)
{
	const SeriesState *shared = counter_state(claim->counter);

	memcpy(state, shared, offsetof(SeriesState, slots) + sizeof(CounterSlot) * shared->count);
	pending_add_deferred(claim->counter, state);
}

/* Lets a rule take into the opening what is long past. Lock held, rule ready. */
static void
claim_trim(const EscrowClaim *claim)
{
	if (claim->rule != NULL && claim->rule->trim != NULL)
		claim->rule->trim(claim->rule, counter_state(claim->counter), claim->series.slot,
						  claim->series.slot);
}

/* Fills in the answers of a claim; lock held. Returns whether it may be granted. */
static bool
claim_check(EscrowClaim *claim)
{
	if (claim->rule == NULL)
	{
		CounterTotals deferred = pending_deferred(claim->counter);

		claim->totals.used = claim->counter->used + deferred.used;
		claim->totals.held = claim->counter->held + deferred.held;
		claim->fits = escrow_claim_fits(claim);
	}
	else if (!pending_has_deferred(claim->counter))
		escrow_assess(claim, counter_state(claim->counter));
	else
	{
		SeriesState state;

		claim_copy_state(claim, &state);
		escrow_assess(claim, &state);
	}
	return claim->fits || !claim->enforced;
}

/*
 * claim_change_slot
 *		Returns the slot in which an amount is to count, and tells the rule of it. NULL
 *		if it is too old to have one: where that matters, the series is loaded afresh
 *		once nobody has it pinned. Lock held, rule ready.
 */
static CounterSlot *
claim_change_slot(EscrowClaim *claim, int64 micros)
{
	SeriesState *state = counter_state(claim->counter);
	CounterSlot *slot = series_slot(state, claim->rule, claim->series.slot, claim->series.slot);

	if (claim->rule->note != NULL)
		claim->rule->note(claim->rule, state, claim->series.held_at, micros);
	if (slot == NULL && claim->rule->miss != NULL)
		claim->rule->miss(claim->rule, state, claim->series.held_at, micros);
	if (slot == NULL && claim->series.slot >= state->matters_from)
		claim->counter->epoch = EPOCH_NEVER;
	return slot;
}

/*
 * effect_tell
 *		Notes that the rule of a series shall be told of a correction after commit. What
 *		comes after it, it has been told of already: then the correction is too late for
 *		being told of in the order of time.
 */
static void
effect_tell(PendingEffect *effect, const EscrowClaim *claim, int64 used)
{
	if (claim->rule == NULL || claim->rule->correct == NULL || used == 0)
		return;
	if (used > 0)
	{
		effect->told = 0;
		effect->increased = true;
		return;
	}
	effect->told += used;
	effect->told_at =
		effect->rule == NULL ? claim->series.held_at : Max(effect->told_at, claim->series.held_at);
	effect->rule = claim->rule;
}

/*
 * claim_apply
 *		Adds a granted request to the held amount. The part that this transaction
 *		has yet to give back moves over at commit, so that the counter never
 *		stands above its limit in between.
 *
 * In a series it is added at once: what is given back in another slot is not worth
 * the same to everybody. Until the commit, that leaves less to others than there is.
 */
static void
claim_apply(EscrowClaim *claim)
{
	PendingEffect *effect = pending_find(claim->counter, claim_slot(claim));
	int128 later = 0;

	if (claim->rule == NULL)
	{
		CounterTotals deferred = pending_deferred(claim->counter);

		later = Min(Max(-(deferred.used + deferred.held), 0), (int128) claim->request);
		claim->counter->held += claim->request - later;
	}
	else
	{
		CounterSlot *slot = claim_change_slot(claim, claim->request);

		if (slot == NULL)
			return;
		slot->held += claim->request;
		effect_tell(effect, claim, claim->request);
	}
	effect->applied.held += claim->request - later;
	effect->deferred.held += later;
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
	bool granted = true;

	if (count == 0)
		return generation_is_current(root_hash, generation) ? ESCROW_GRANTED : ESCROW_STALE;

	lock = lock_when_ready(claims, count, LW_EXCLUSIVE, root_hash, &generation);
	if (!generation_is_current(root_hash, generation))
	{
		LWLockRelease(lock);
		return ESCROW_STALE;
	}
	for (int i = 0; i < count; i++)
	{
		claim_trim(&claims[i]);
		granted &= claim_check(&claims[i]);
	}
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
 *		Replaces held by used on the pinned counter of a claim, without a check: use is
 *		a fact. What is used above what was held counts at once, the rest moves after
 *		commit. With held 0 it is a charge, with used 0 a release; a negative use,
 *		a correction downwards, counts after commit.
 */
void
escrow_record_use(EscrowClaim *claim, int64 held, int64 used)
{
	PendingEffect *effect = pending_find(claim->counter, claim_slot(claim));
	int64 above = used > held ? used - held : 0;
	LWLock *lock = lock_when_ready(claim, 1, LW_EXCLUSIVE, 0, NULL);

	effect->deferred.used += used - above;
	effect->deferred.held -= held;
	effect->returned += Min(used, 0);
	effect_tell(effect, claim, used);
	if (claim->rule == NULL)
	{
		effect->applied.used += above;
		claim->counter->used += above;
	}
	else
	{
		/* A charge finds its slot here, though all of a correction comes after commit. */
		CounterSlot *slot = claim_change_slot(claim, above);

		if (slot != NULL)
		{
			effect->applied.used += above;
			slot->used += above;
		}
	}
	LWLockRelease(lock);
}

/*
 * escrow_look
 *		Fills in the answers of claims on pinned counters as this transaction sees
 *		them, each as of one instant.
 */
void
escrow_look(EscrowClaim *claims, int count)
{
	for (int i = 0; i < count; i++)
	{
		LWLock *lock = lock_when_ready(&claims[i], 1, LW_SHARED, 0, NULL);

		(void) claim_check(&claims[i]);
		LWLockRelease(lock);
	}
}

/*
 * escrow_copy_state
 *		Copies the series of a claim as this transaction sees it.
 */
void
escrow_copy_state(const EscrowClaim *claim, SeriesState *state)
{
	LWLockAcquire(claim_lock(claim), LW_SHARED);
	claim_copy_state(claim, state);
	LWLockRelease(claim_lock(claim));
}
