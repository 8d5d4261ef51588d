/*
 * carry_phases.c
 *		The phases of a limit that carries something: between the starts of periods, and
 *		of where grants, and times at which it does not apply, begin and end.
 *
 * They are computed ahead of the lock under which they are gone through, since zones
 * are looked up for it. A rule keeps those that it has needed.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "balance/carry_internal.h"

/* So many phases that nobody goes through any more are kept at most. */
#define PHASES_FORGOTTEN 256

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

/* Whether the limit applies at an instant. */
static bool
history_applies(const CarryHistory *history, TimestampTz at)
{
	for (int i = 0; i < history->gap_count; i++)
	{
		if (history->gaps[i].from <= at && at < history->gaps[i].until)
			return false;
	}
	return true;
}

/* The period that an instant is in; there is none before all time. */
void
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

TimestampTz
carry_slot_start(SeriesRule *base, TimestampTz at)
{
	CarryRule *rule = (CarryRule *) base;
	int next = instant_after(rule->breaks, rule->break_count, at);
	TimestampTz start;
	TimestampTz end;

	carry_period(rule, at, &start, &end);
	return next == 0 ? start : Max(start, rule->breaks[next - 1]);
}

/* Returns where the phase that starts at an instant ends. */
static TimestampTz
phase_end(const CarryRule *rule, TimestampTz start)
{
	int next = instant_after(rule->breaks, rule->break_count, start);
	TimestampTz period_start;
	TimestampTz period_end;

	carry_period(rule, start, &period_start, &period_end);
	return next < rule->break_count ? Min(period_end, rule->breaks[next]) : period_end;
}

/* Gives the phases room for so many: all that there are, or more. */
static void
phases_make_space(CarryRule *rule, int space)
{
	Size size = sizeof(CarryPhase) * (Size) space;

	/* The first time in the context of the rule; then malloc moves pages, not bytes. */
	rule->phases = rule->phases == NULL ? MemoryContextAllocHuge(rule->context, size)
										: repalloc_huge(rule->phases, size);
	rule->phase_space = space;
}

static void
phases_add(CarryRule *rule, const CarryPhase *phase)
{
	if (rule->phase_count == rule->phase_space)
		phases_make_space(rule, Max(8, rule->phase_space * 2));
	rule->phases[rule->phase_count++] = *phase;
}

/*
 * phases_extend
 *		Adds the phase that begins where the last one ends; the first one if there is
 *		none.
 */
void
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
	phase.applies = history_applies(&rule->history, start);
	phases_add(rule, &phase);
	rule->end = phase_end(rule, start);
}

/* Drops the phases before an index, when they have become many, and the space that they took. */
static void
phases_forget(CarryRule *rule, int first)
{
	if (first < PHASES_FORGOTTEN)
		return;
	rule->phase_count -= first;
	memmove(&rule->phases[0], &rule->phases[first], sizeof(CarryPhase) * rule->phase_count);
	if (rule->phase_space > 4 * Max(rule->phase_count, PHASES_FORGOTTEN))
		phases_make_space(rule, 2 * Max(rule->phase_count, PHASES_FORGOTTEN));
}

/*
 * carry_prepare
 *		Where from is not among the phases that there are, or right after them, they
 *		are computed afresh: somebody whose clock is far ahead may have taken all of
 *		them into the opening since they were.
 */
void
carry_prepare(SeriesRule *base, TimestampTz from, TimestampTz until)
{
	CarryRule *rule = (CarryRule *) base;

	if (rule->phase_count == 0 || rule->phases[0].start > from || rule->end < from)
	{
		rule->phase_count = 0;
		phases_extend(rule, from);
	}
	phases_forget(rule, phase_at(rule, from));
	while (rule->end <= Max(from, until))
	{
		CHECK_FOR_INTERRUPTS();
		phases_extend(rule, rule->end);
	}
}

/* Returns the index of the phase that starts at an instant, -1 if there is none. */
int
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

bool
carry_is_ready(const SeriesRule *base, const SeriesState *state, TimestampTz now)
{
	const CarryRule *rule = (const CarryRule *) base;

	return phase_at(rule, state->floor) >= 0 && rule->end > now &&
		   (state->count == 0 || rule->end > state->slots[state->count - 1].start);
}
