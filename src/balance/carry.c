/*
 * carry.c
 *		Limits that carry something over: unused amounts roll over, overage is owed,
 *		and grants add to what there is.
 *
 * Time is cut into phases: a phase begins where a period does, where a grant begins or
 * ends, and where the limit ceases to apply at the level, or does so again. A slot of the
 * series has what the rows of one phase add up to, open holds included. What there is to
 * use in a phase is what all the phases before it have left, so it is computed by going
 * through them in order:
 *
 *		sources		what was rolled over, the oldest first; the amount of the period; the
 *					grants in effect, in the order of priority, end and age
 *		debt		what was used and no source has covered; the next one that comes
 *					pays for it first
 *
 * Nothing of that is stored but the state at the floor of the series, so a settlement
 * below its hold gives back to the very sources that the hold had drawn on, and memory,
 * load and verify() agree.
 *
 * The order of what happens where a phase begins: grants end; then, if a period begins,
 * what is unused rolls over and the debt is kept or forgiven, as the terms of the period
 * that ends say; then grants begin; then the debt is paid. While the limit does not
 * apply, grants and debts wait, and no period rolls over.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "balance/carry_internal.h"

/* A series is taken into its opening where it has come so many phases from its floor. */
#define PHASES_MAX 128
#define PHASES_KEPT 1024

/* How many boundaries are tried at most to find when a request would fit. */
#define PHASES_AHEAD 4096

static void
carry_open(const SeriesRule *base, SeriesState *state)
{
	memset(&state->opening, 0, sizeof(SeriesOpening));
	((CarryOpening *) &state->opening)->is_begin = true;
	state->matters_from = Min(((const CarryRule *) base)->history.begin, state->floor);
}

/* The rows of a phase, found in ascending order by a caller that keeps the index. */
const CounterSlot *
slot_of_phase(const CounterSlot *slots, int count, int *next, TimestampTz start)
{
	while (*next < count && slots[*next].start < start)
		(*next)++;
	return *next < count && slots[*next].start == start ? &slots[*next] : NULL;
}

/* Takes all phases before the one at index last into the opening. */
static void
carry_advance_to(const CarryRule *rule, SeriesState *state, int last)
{
	int first = phase_at(rule, state->floor);
	int next = 0;
	CarryBalance balance;

	if (last <= first)
		return;
	grants_select(rule, state->floor, rule->phases[last].start);
	balance.grants = rule->grants[0];
	balance_load(rule, state, &rule->phases[first], &balance);
	for (int i = first; i < last; i++)
	{
		const CounterSlot *slot =
			slot_of_phase(state->slots, state->count, &next, rule->phases[i].start);

		if (slot != NULL)
		{
			balance_use(rule, &balance, slot->used + slot->held);
			balance.used += slot->used + slot->held;
		}
		balance_enter(rule, &rule->phases[i + 1], &balance);
	}
	balance_save(rule, &balance, state);
	series_drop_before(state, rule->phases[last].start);
}

static void
carry_advance(const SeriesRule *base, SeriesState *state, TimestampTz until)
{
	const CarryRule *rule = (const CarryRule *) base;

	carry_advance_to(rule, state, phase_at(rule, until));
}

/*
 * So that claims have not to go through more phases than that, or than that many more where
 * something that is needed is older: a clock was ahead.
 */
static void
carry_trim(const SeriesRule *base, SeriesState *state, TimestampTz at, TimestampTz needed)
{
	const CarryRule *rule = (const CarryRule *) base;
	int mine = phase_at(rule, at);
	int kept = phase_at(rule, needed);
	int last = mine - PHASES_MAX;

	if (kept >= 0 && mine - kept <= PHASES_KEPT)
		last = Min(last, kept);
	if (last > phase_at(rule, state->floor))
		carry_advance_to(rule, state, last);
}

/* What a claim's phase looks like, in figures. */
static void
claim_answer(const CarryRule *rule, const CarryBalance *balance, SeriesClaim *claim)
{
	claim->limit = balance_available(rule, balance); /* as yet without what is used */
	claim->rolled_over = balance->rolled_over;
	claim->carried = balance->carried;
	claim->granted = balance_granted(rule, balance);
}

/* What is used and held in all phases of its period. */
static void
claim_add_period(const SeriesState *state, TimestampTz start, SeriesClaim *claim)
{
	for (int i = 0; i < state->count; i++)
	{
		if (state->slots[i].start < start || state->slots[i].start >= claim->period_end)
			continue;
		claim->used += state->slots[i].used;
		claim->held += state->slots[i].held;
	}
}

/*
 * carry_assess
 *		Goes through the phases with and without the request. Where the request is of a
 *		phase that others have used later ones after, since a clock is behind or
 *		the hold is old, none of those may come to owe what it could not before.
 */
static void
carry_assess(const SeriesRule *base, const SeriesState *state, SeriesClaim *claim)
{
	const CarryRule *rule = (const CarryRule *) base;
	int first = phase_at(rule, state->floor);
	int mine = phase_at(rule, claim->slot);
	int last = state->count == 0 ? mine : phase_at(rule, state->slots[state->count - 1].start);
	int next = 0;
	CarryBalance without;
	CarryBalance with;

	claim->used = 0;
	claim->held = 0;
	claim->limit = 0;
	claim->rolled_over = 0;
	claim->granted = 0;
	claim->carried = 0;
	claim->fits = claim->request == 0;
	if (mine < first)
	{
		/* Taken into the opening, or never looked at: nothing can be said, and nothing be held. */
		if (claim->slot < rule->history.begin)
			claim->limit = claim->amount;
		return;
	}

	grants_select(rule, state->floor, rule->phases[Max(mine, last)].start);
	without.grants = rule->grants[0];
	balance_load(rule, state, &rule->phases[first], &without);
	for (int i = first; i <= Max(mine, last); i++)
	{
		const CarryPhase *phase = &rule->phases[i];
		const CounterSlot *slot = slot_of_phase(state->slots, state->count, &next, phase->start);
		int128 used = slot == NULL ? 0 : slot->used + slot->held;

		if (i > first)
			balance_enter(rule, phase, &without);
		if (i > mine)
			balance_enter(rule, phase, &with);
		balance_use(rule, &without, used);
		if (i == mine)
		{
			int128 *grants = rule->grants[1];

			claim_answer(rule, &without, claim);
			claim->used = without.used;
			claim_add_period(state, phase->period_start, claim);
			claim->limit += claim->used + claim->held;
			claim->fits = claim->request == 0 || claim->used + claim->held + claim->request <=
													 claim->limit + claim->overdraft;
			if (claim->request == 0 || !claim->fits || last <= mine)
				return;
			memcpy(grants, without.grants, sizeof(int128) * rule->selected->count);
			with = without;
			with.grants = grants;
			balance_use(rule, &with, claim->request);
		}
		else if (i > mine)
		{
			balance_use(rule, &with, used);
			if (with.debt > claim->overdraft && with.debt > without.debt)
			{
				claim->fits = false;
				return;
			}
		}
	}
}

/* Whether nothing changes from a phase on but what is used: no terms, and no grant. */
static bool
phase_is_last_of_kind(const CarryRule *rule, const CarryPhase *phase)
{
	const CarryHistory *history = &rule->history;

	return phase->ending == &history->terms[history->terms_count - 1] &&
		   (rule->break_count == 0 || rule->breaks[rule->break_count - 1] <= phase->period_start);
}

/* Whether two balances of starts of periods are the same, but for what their grants have left. */
static bool
balances_are_same(const CarryBalance *one, const CarryBalance *other)
{
	return one->debt == other->debt && one->allowance == other->allowance &&
		   one->vintage_count == other->vintage_count &&
		   memcmp(one->vintages, other->vintages, sizeof(int128) * one->vintage_count) == 0;
}

/*
 * carry_retry_at
 *		Goes on through the phases to come: first those of before what others have used
 *		since, each of which has to be assessed for what follows, then those in which
 *		nobody uses anything.
 */
static TimestampTz
carry_retry_at(SeriesRule *base, const SeriesState *state, const SeriesClaim *claim)
{
	CarryRule *rule = (CarryRule *) base;
	int next = 0;
	int mine;
	int first;
	int last;
	CarryBalance balance;
	CarryBalance before = {.debt = -1};

	carry_prepare(base, state->floor, claim->now);
	first = phase_at(rule, state->floor);
	mine = phase_at(rule, carry_slot_start(base, claim->now));
	if (claim->fits)
		return claim->now;
	/* Of before the floor nothing can be said: it waits for that. */
	mine = Max(mine, first - 1);
	last = state->count == 0 ? mine : phase_at(rule, state->slots[state->count - 1].start);
	for (int i = mine + 1; i <= last; i++)
	{
		SeriesClaim later = *claim;

		CHECK_FOR_INTERRUPTS();
		if (i > mine + PHASES_AHEAD)
			return DT_NOEND;
		later.now = rule->phases[i].start;
		later.slot = later.now;
		carry_assess(base, state, &later);
		if (later.fits)
			return later.now;
	}
	last = Max(last, mine);
	grants_select(rule, state->floor, DT_NOEND);
	balance.grants = rule->grants[0];
	balance_load(rule, state, &rule->phases[first], &balance);
	for (int i = first;; i++)
	{
		const CounterSlot *slot;

		if (i == rule->phase_count)
		{
			if (i > last + PHASES_AHEAD || TIMESTAMP_NOT_FINITE(rule->end))
				return DT_NOEND;
			phases_extend(rule, rule->end);
		}
		if (i > first)
			balance_enter(rule, &rule->phases[i], &balance);
		slot = slot_of_phase(state->slots, state->count, &next, rule->phases[i].start);
		if (slot != NULL)
			balance_use(rule, &balance, slot->used + slot->held);
		if (i <= last)
			continue;
		if (claim->request <= balance_available(rule, &balance) + claim->overdraft)
			return rule->phases[i].start;
		if (phase_is_last_of_kind(rule, &rule->phases[i]))
		{
			/* One period is as the other, and so are all to come. */
			if (balances_are_same(&before, &balance))
				return DT_NOEND;
			before = balance;
		}
	}
}

/*
 * carry_range
 *		Where a load begins: where the limit first carried something, or at the period of
 *		a clock that is before that; and what an operation at now needs: its own phase.
 */
SeriesRange
carry_range(SeriesRule *base, TimestampTz now)
{
	CarryRule *rule = (CarryRule *) base;
	TimestampTz from = rule->history.begin;
	TimestampTz end;

	if (now < from)
		carry_period(rule, now, &from, &end);
	return (SeriesRange){from, from, carry_slot_start(base, now)};
}

static int
compare_instants(const void *a, const void *b)
{
	TimestampTz left = *(const TimestampTz *) a;
	TimestampTz right = *(const TimestampTz *) b;

	return left < right ? -1 : left > right;
}

/*
 * carry_rule
 *		Makes the rule of a limit with a history, which it keeps a pointer into.
 */
SeriesRule *
carry_rule(const CarryHistory *history)
{
	CarryRule *rule = palloc0(sizeof(CarryRule));
	int count = 0;

	rule->history = *history;
	rule->context = CurrentMemoryContext;
	rule->breaks =
		palloc(sizeof(TimestampTz) * 2 * Max(history->grant_count + history->gap_count, 1));
	for (int i = 0; i < history->grant_count; i++)
	{
		const CarryGrant *grant = &history->grants[i];

		if (grant->effective_at >= grant->ends_at)
			continue;
		if (!TIMESTAMP_NOT_FINITE(grant->effective_at))
			rule->breaks[count++] = grant->effective_at;
		if (!TIMESTAMP_NOT_FINITE(grant->ends_at))
			rule->breaks[count++] = grant->ends_at;
	}
	for (int i = 0; i < history->gap_count; i++)
	{
		if (!TIMESTAMP_NOT_FINITE(history->gaps[i].from))
			rule->breaks[count++] = history->gaps[i].from;
		rule->breaks[count++] = history->gaps[i].until;
	}
	qsort(rule->breaks, count, sizeof(TimestampTz), compare_instants);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || rule->breaks[i] != rule->breaks[i - 1])
			rule->breaks[rule->break_count++] = rule->breaks[i];
	}
	rule->selected = palloc0(sizeof(CarryGrants));
	rule->selected->grants = palloc(sizeof(CarryGrant *) * Max(history->grant_count, 1));
	grants_select(rule, DT_NOBEGIN, DT_NOEND);
	for (int i = 0; i < 2; i++)
		rule->grants[i] = palloc(sizeof(int128) * Max(history->grant_count, 1));

	rule->rule.slot_start = carry_slot_start;
	rule->rule.prepare = carry_prepare;
	rule->rule.is_ready = carry_is_ready;
	rule->rule.open = carry_open;
	rule->rule.advance = carry_advance;
	rule->rule.trim = carry_trim;
	rule->rule.miss = carry_miss;
	rule->rule.assess = carry_assess;
	rule->rule.retry_at = carry_retry_at;
	return &rule->rule;
}
