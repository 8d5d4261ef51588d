/*
 * carry.c
 *		Limits that carry something over: unused amounts roll over, overage is owed,
 *		and grants add to what there is.
 *
 * Time is cut into phases: a phase begins where a period does, and where a grant begins
 * or ends. A slot of the series has what the rows of one phase add up to, open
 * holds included. What there is to use in a phase is what all the phases before it
 * have left, so it is computed by going through them in order:
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
 * that ends say; then grants begin; then the debt is paid.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "balance/balance.h"

/* A series is taken into its opening where it has come so many phases from its floor. */
#define PHASES_MAX 128

/* How many boundaries are tried to find when a request would fit. */
#define PHASES_AHEAD 64

typedef struct CarryPhase
{
	TimestampTz start;
	TimestampTz period_start;
	int64 allowance;          /* of its period */
	const CarryTerms *ending; /* of the period that ends where it starts; NULL: none does */
	bool begins;              /* nothing is carried into it */
} CarryPhase;

/* What there is, and what is owed. */
typedef struct CarryBalance
{
	int128 debt;
	int128 allowance;
	int vintage_count;
	int128 vintages[ROLLOVER_PERIODS_MAX]; /* oldest first */
	int128 *grants;                        /* left of each grant in effect, else 0 */

	/* of the running period */
	int128 rolled_over;
	int128 carried;
	int128 used; /* only in what was taken into the opening */
} CarryBalance;

typedef struct CarryRule
{
	SeriesRule rule; /* MUST BE FIRST */
	CarryHistory history;
	int break_count;
	TimestampTz *breaks; /* where grants begin and end, ascending */
	int128 *grants[2];   /* room for two balances */

	/* The phases that were prepared, and where the last of them ends. */
	MemoryContext context;
	int phase_count;
	int phase_space;
	CarryPhase *phases;
	TimestampTz end;
} CarryRule;

typedef struct CarryGrantLeft
{
	int64 grant_id;
	int64 left;
} CarryGrantLeft;

/* The balance at the floor, after what happens there. */
typedef struct CarryOpening
{
	int128 debt;
	int128 allowance;
	int128 rolled_over;
	int128 carried;
	int128 used;
	int32 vintage_count;
	int32 grant_count;
	bool is_begin; /* nothing was before */
	int64 vintages[ROLLOVER_PERIODS_MAX];
	CarryGrantLeft grants[GRANTS_MAX];
} CarryOpening;

StaticAssertDecl(sizeof(CarryOpening) <= sizeof(SeriesOpening),
				 "what is kept must have room in a series");

/* Phases ----------------------------------------------------------------------- */

/* Returns the index of the first of ascending instants that is after one. */
static int
instant_after(const TimestampTz *instants, int count, TimestampTz at)
{
	int low = 0;
	int high = count;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (instants[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The terms of the period that ends at an instant: the last that were set before. */
static const CarryTerms *
terms_before(const CarryRule *rule, TimestampTz end)
{
	const CarryHistory *history = &rule->history;
	int i = history->terms_count - 1;

	while (i > 0 && history->terms[i].set_at >= end)
		i--;
	return &history->terms[i];
}

static int64
period_allowance(const CarryRule *rule, TimestampTz start, TimestampTz end)
{
	const CarryTerms *terms = terms_before(rule, end);

	return terms->prorated_amount >= 0 && terms->set_at >= start ? terms->prorated_amount
																 : terms->amount;
}

/* The period that an instant is in; there is none before all time. */
static void
carry_period(const CarryRule *rule, TimestampTz at, TimestampTz *start, TimestampTz *end)
{
	if (!TIMESTAMP_IS_NOBEGIN(at))
		period_bounds(rule->history.period, at, start, end);
	else
	{
		*start = DT_NOBEGIN;
		*end = DT_NOEND;
	}
}

static TimestampTz
carry_slot_start(SeriesRule *base, TimestampTz at)
{
	CarryRule *rule = (CarryRule *) base;
	int next = instant_after(rule->breaks, rule->break_count, at);
	TimestampTz start;
	TimestampTz end;

	carry_period(rule, at, &start, &end);
	return next == 0 ? start : Max(start, rule->breaks[next - 1]);
}

/*
 * carry_phase_end
 *		Returns where the phase that starts at an instant ends.
 */
TimestampTz
carry_phase_end(SeriesRule *base, TimestampTz start)
{
	CarryRule *rule = (CarryRule *) base;
	int next = instant_after(rule->breaks, rule->break_count, start);
	TimestampTz period_start;
	TimestampTz period_end;

	carry_period(rule, start, &period_start, &period_end);
	return next < rule->break_count ? Min(period_end, rule->breaks[next]) : period_end;
}

static void
phases_add(CarryRule *rule, const CarryPhase *phase)
{
	if (rule->phase_count == rule->phase_space)
	{
		rule->phase_space = Max(8, rule->phase_space * 2);
		rule->phases =
			rule->phases == NULL
				? MemoryContextAlloc(rule->context, sizeof(CarryPhase) * rule->phase_space)
				: repalloc_huge(rule->phases, sizeof(CarryPhase) * (Size) rule->phase_space);
	}
	rule->phases[rule->phase_count++] = *phase;
}

/*
 * phases_extend
 *		Adds the phase that begins where the last one ends; the first one if there is
 *		none.
 */
static void
phases_extend(CarryRule *rule, TimestampTz start)
{
	CarryPhase phase;
	TimestampTz period_end;

	carry_period(rule, start, &phase.period_start, &period_end);
	phase.start = start;
	phase.allowance = period_allowance(rule, phase.period_start, period_end);
	phase.ending =
		rule->phase_count > 0 && start == phase.period_start ? terms_before(rule, start) : NULL;
	phase.begins = phase.ending != NULL && start <= rule->history.begin;
	phases_add(rule, &phase);
	rule->end = carry_phase_end(&rule->rule, start);
}

static void
carry_prepare(SeriesRule *base, TimestampTz from, TimestampTz until)
{
	CarryRule *rule = (CarryRule *) base;

	if (rule->phase_count == 0 || rule->phases[0].start > from)
	{
		rule->phase_count = 0;
		phases_extend(rule, from);
	}
	while (rule->end <= until)
	{
		CHECK_FOR_INTERRUPTS();
		phases_extend(rule, rule->end);
	}
}

/* Returns the index of the phase that starts at an instant, -1 if there is none. */
static int
phase_at(const CarryRule *rule, TimestampTz start)
{
	int low = 0;
	int high = rule->phase_count - 1;

	while (low <= high)
	{
		int middle = (low + high) / 2;

		if (rule->phases[middle].start == start)
			return middle;
		if (rule->phases[middle].start < start)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

static bool
carry_is_ready(const SeriesRule *base, const SeriesState *state, TimestampTz now)
{
	const CarryRule *rule = (const CarryRule *) base;

	return phase_at(rule, state->floor) >= 0 && rule->end > now &&
		   (state->count == 0 || rule->end > state->slots[state->count - 1].start);
}

/* Balances --------------------------------------------------------------------- */

static bool
grant_is_in_effect(const CarryGrant *grant, TimestampTz at)
{
	return grant->effective_at <= at && at < grant->ends_at;
}

/* Takes as much of an amount as a source has. */
static void
take(int128 *source, int128 *amount)
{
	int128 taken = Min(*source, *amount);

	if (taken > 0)
	{
		*source -= taken;
		*amount -= taken;
	}
}

/* Burns an amount; returns what no source covers. */
static int128
balance_burn(const CarryRule *rule, CarryBalance *balance, int128 amount)
{
	for (int i = 0; i < balance->vintage_count && amount > 0; i++)
		take(&balance->vintages[i], &amount);
	take(&balance->allowance, &amount);
	for (int i = 0; i < rule->history.grant_count && amount > 0; i++)
		take(&balance->grants[i], &amount);
	return amount;
}

/* Counts what the rows of a phase add up to. */
static void
balance_use(const CarryRule *rule, CarryBalance *balance, int128 amount)
{
	if (amount >= 0)
		balance->debt += balance_burn(rule, balance, amount);
	else
	{
		amount = -amount;
		take(&balance->debt, &amount);
		balance->allowance += amount;
	}
}

static int128
balance_sum(const int128 *sources, int count)
{
	int128 sum = 0;

	for (int i = 0; i < count; i++)
		sum += sources[i];
	return sum;
}

static int128
balance_available(const CarryRule *rule, const CarryBalance *balance)
{
	return balance_sum(balance->vintages, balance->vintage_count) + balance->allowance +
		   balance_sum(balance->grants, rule->history.grant_count) - balance->debt;
}

/* What is unused of the period that ends becomes the youngest vintage. */
static void
balance_roll_over(CarryBalance *balance, const CarryTerms *terms)
{
	int kept = Min(balance->vintage_count, terms->rollover_periods - 1);
	int dropped = balance->vintage_count - kept;
	int128 excess;

	if (terms->rollover == 0)
	{
		balance->vintage_count = 0;
		return;
	}
	memmove(&balance->vintages[0], &balance->vintages[dropped], sizeof(int128) * kept);
	balance->vintages[kept] = Max(balance->allowance, 0);
	balance->vintage_count = kept + 1;
	excess = balance_sum(balance->vintages, balance->vintage_count) - terms->rollover;
	for (int i = 0; i < balance->vintage_count && excess > 0; i++)
		take(&balance->vintages[i], &excess);
}

/* The balance of a beginning: nothing was before, and what is in effect is there in full. */
static void
balance_begin(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance)
{
	memset(balance, 0, offsetof(CarryBalance, grants));
	balance->rolled_over = 0;
	balance->carried = 0;
	balance->used = 0;
	balance->allowance = phase->allowance;
	for (int i = 0; i < rule->history.grant_count; i++)
	{
		const CarryGrant *grant = &rule->history.grants[i];

		balance->grants[i] = grant_is_in_effect(grant, phase->start) ? grant->amount : 0;
	}
}

/* Does what happens where a phase begins. */
static void
balance_enter(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance)
{
	const CarryHistory *history = &rule->history;
	const CarryTerms *ending = phase->ending;

	if (phase->begins)
	{
		balance_begin(rule, phase, balance);
		return;
	}
	for (int i = 0; i < history->grant_count; i++)
	{
		const CarryGrant *grant = &history->grants[i];

		if (!grant_is_in_effect(grant, phase->start))
			balance->grants[i] = 0;
		else if (grant->effective_at == phase->start)
			continue;
		else if (ending != NULL && grant->rollover >= 0)
			balance->grants[i] = Min(balance->grants[i], grant->rollover);
	}
	if (ending != NULL)
	{
		balance_roll_over(balance, ending);
		if (!ending->carry_overage)
			balance->debt = 0;
		balance->allowance = phase->allowance;
		balance->rolled_over = balance_sum(balance->vintages, balance->vintage_count);
		balance->carried = balance->debt;
		balance->used = 0;
	}
	for (int i = 0; i < history->grant_count; i++)
	{
		if (history->grants[i].effective_at == phase->start &&
			grant_is_in_effect(&history->grants[i], phase->start))
			balance->grants[i] = history->grants[i].amount;
	}
	balance->debt = balance_burn(rule, balance, balance->debt);
}

static void
balance_load(const CarryRule *rule, const SeriesState *state, const CarryPhase *phase,
			 CarryBalance *balance)
{
	const CarryOpening *opening = (const CarryOpening *) &state->opening;

	balance_begin(rule, phase, balance);
	if (opening->is_begin)
		return;
	balance->debt = opening->debt;
	balance->allowance = opening->allowance;
	balance->rolled_over = opening->rolled_over;
	balance->carried = opening->carried;
	balance->used = opening->used;
	balance->vintage_count = opening->vintage_count;
	for (int i = 0; i < opening->vintage_count; i++)
		balance->vintages[i] = opening->vintages[i];
	for (int i = 0; i < rule->history.grant_count; i++)
		balance->grants[i] = 0;
	for (int i = 0; i < opening->grant_count; i++)
	{
		for (int j = 0; j < rule->history.grant_count; j++)
		{
			if (rule->history.grants[j].grant_id == opening->grants[i].grant_id)
				balance->grants[j] = opening->grants[i].left;
		}
	}
}

static void
balance_save(const CarryRule *rule, const CarryBalance *balance, SeriesState *state)
{
	CarryOpening *opening = (CarryOpening *) &state->opening;

	opening->is_begin = false;
	opening->debt = balance->debt;
	opening->allowance = balance->allowance;
	opening->rolled_over = balance->rolled_over;
	opening->carried = balance->carried;
	opening->used = balance->used;
	opening->vintage_count = balance->vintage_count;
	for (int i = 0; i < balance->vintage_count; i++)
		opening->vintages[i] = (int64) balance->vintages[i];
	opening->grant_count = 0;
	for (int i = 0; i < rule->history.grant_count; i++)
	{
		CarryGrantLeft *left = &opening->grants[opening->grant_count];

		if (balance->grants[i] == 0 || opening->grant_count == GRANTS_MAX)
			continue;
		left->grant_id = rule->history.grants[i].grant_id;
		left->left = (int64) balance->grants[i];
		opening->grant_count++;
	}
}

static void
carry_open(const SeriesRule *base, SeriesState *state)
{
	memset(&state->opening, 0, sizeof(SeriesOpening));
	((CarryOpening *) &state->opening)->is_begin = true;
	state->matters_from = ((const CarryRule *) base)->history.begin;
}

/* The rows of a phase, found in ascending order by a caller that keeps the index. */
static const CounterSlot *
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

/* So that no claim has to go through more phases than that. */
static void
carry_trim(const SeriesRule *base, SeriesState *state, TimestampTz at)
{
	const CarryRule *rule = (const CarryRule *) base;
	int last = phase_at(rule, at) - PHASES_MAX;

	if (last > phase_at(rule, state->floor))
		carry_advance_to(rule, state, last);
}

/* Claims ----------------------------------------------------------------------- */

/* What a claim's phase looks like, in figures. */
static void
claim_answer(const CarryRule *rule, const CarryBalance *balance, SeriesClaim *claim)
{
	claim->limit = balance_available(rule, balance); /* as yet without what is used */
	claim->rolled_over = balance->rolled_over;
	claim->carried = balance->carried;
	claim->granted = balance_sum(balance->grants, rule->history.grant_count);
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
	if (claim->slot < rule->history.begin && claim->slot < state->floor)
	{
		/* Of before the limit carried anything: past all judging. */
		claim->limit = claim->amount;
		claim->fits = true;
		claim->counts = false;
		return;
	}
	if (mine < first)
		return; /* taken into the opening: nothing can be said, and nothing be held */

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
			memcpy(grants, without.grants, sizeof(int128) * rule->history.grant_count);
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

/*
 * carry_retry_at
 *		Goes on through the phases to come, in which nobody uses anything.
 */
static TimestampTz
carry_retry_at(SeriesRule *base, const SeriesState *state, const SeriesClaim *claim)
{
	CarryRule *rule = (CarryRule *) base;
	int next = 0;
	int mine;
	int first;
	CarryBalance balance;

	carry_prepare(base, state->floor, claim->now);
	first = phase_at(rule, state->floor);
	mine = phase_at(rule, carry_slot_start(base, claim->now));
	if (first < 0 || mine < first)
		return DT_NOEND;
	balance.grants = rule->grants[0];
	balance_load(rule, state, &rule->phases[first], &balance);
	for (int i = first;; i++)
	{
		const CounterSlot *slot;

		if (i == rule->phase_count)
		{
			if (i > mine + PHASES_AHEAD || TIMESTAMP_NOT_FINITE(rule->end))
				return DT_NOEND;
			phases_extend(rule, rule->end);
		}
		if (i > first)
			balance_enter(rule, &rule->phases[i], &balance);
		slot = slot_of_phase(state->slots, state->count, &next, rule->phases[i].start);
		if (slot != NULL)
			balance_use(rule, &balance, slot->used + slot->held);
		/* In its own phase it is not only what is left that may refuse it. */
		if (i == mine && claim->fits)
			return claim->now;
		if (i > mine && claim->request <= balance_available(rule, &balance) + claim->overdraft)
			return rule->phases[i].start;
	}
}

/* Reports ---------------------------------------------------------------------- */

/*
 * carry_grants_left
 *		Fills in what each grant of the rule's history has left at an instant.
 */
void
carry_grants_left(SeriesRule *base, const SeriesState *state, TimestampTz now, int128 *left)
{
	CarryRule *rule = (CarryRule *) base;
	int next = 0;
	int mine;
	int first;
	CarryBalance balance;

	carry_prepare(base, state->floor, now);
	first = phase_at(rule, state->floor);
	mine = phase_at(rule, carry_slot_start(base, now));
	balance.grants = left;
	if (mine < first)
	{
		balance_begin(rule, &rule->phases[first], &balance);
		return;
	}
	balance_load(rule, state, &rule->phases[first], &balance);
	for (int i = first; i <= mine; i++)
	{
		const CounterSlot *slot;

		if (i > first)
			balance_enter(rule, &rule->phases[i], &balance);
		slot = slot_of_phase(state->slots, state->count, &next, rule->phases[i].start);
		if (slot != NULL)
			balance_use(rule, &balance, slot->used + slot->held);
	}
}

/*
 * carry_visit_periods
 *		Goes through all periods from the begin of the history to that of now, with the
 *		rows of all phases given, and shows each when it has ended.
 */
void
carry_visit_periods(SeriesRule *base, const CounterSlot *slots, int count, TimestampTz now,
					CarryPeriodVisitor visit, void *arg)
{
	CarryRule *rule = (CarryRule *) base;
	CarryPeriod period = {0};
	int next = 0;
	CarryBalance balance;

	carry_prepare(base, rule->history.begin, now);
	balance.grants = rule->grants[0];
	for (int i = phase_at(rule, rule->history.begin); i < rule->phase_count; i++)
	{
		const CarryPhase *phase = &rule->phases[i];
		const CounterSlot *slot = slot_of_phase(slots, count, &next, phase->start);

		if (phase->start > now)
			break;
		if (phase->start == rule->history.begin)
			balance_begin(rule, phase, &balance);
		else
		{
			if (phase->ending != NULL)
			{
				period.end = phase->start;
				period.limit = balance_available(rule, &balance) + period.used + period.held;
				period.granted = balance_sum(balance.grants, rule->history.grant_count);
				period.overage = balance.debt;
			}
			balance_enter(rule, phase, &balance);
			if (phase->ending != NULL)
			{
				period.rolled_over = balance.rolled_over;
				visit(&period, arg);
			}
		}
		if (phase->start == rule->history.begin || phase->ending != NULL)
		{
			memset(&period, 0, sizeof(CarryPeriod));
			period.start = phase->start;
			period.allowance = phase->allowance;
		}
		if (slot != NULL)
		{
			balance_use(rule, &balance, slot->used + slot->held);
			period.used += slot->used;
			period.held += slot->held;
		}
	}
}

/* Rules ------------------------------------------------------------------------ */

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
	rule->breaks = palloc(sizeof(TimestampTz) * 2 * Max(history->grant_count, 1));
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
	qsort(rule->breaks, count, sizeof(TimestampTz), compare_instants);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || rule->breaks[i] != rule->breaks[i - 1])
			rule->breaks[rule->break_count++] = rule->breaks[i];
	}
	for (int i = 0; i < 2; i++)
		rule->grants[i] = palloc(sizeof(int128) * Max(history->grant_count, 1));

	rule->rule.slot_start = carry_slot_start;
	rule->rule.prepare = carry_prepare;
	rule->rule.is_ready = carry_is_ready;
	rule->rule.open = carry_open;
	rule->rule.advance = carry_advance;
	rule->rule.trim = carry_trim;
	rule->rule.assess = carry_assess;
	rule->rule.retry_at = carry_retry_at;
	return &rule->rule;
}
