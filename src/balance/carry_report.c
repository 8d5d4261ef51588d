/*
 * carry_report.c
 *		What is told of a limit that carries something beside what a claim needs: what
 *		each grant has left, and how its periods have ended.
 */
#include "postgres.h"

#include "balance/carry_internal.h"

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
	grants_select(rule, state->floor, rule->phases[Max(mine, first)].start);
	balance.grants = rule->grants[0];
	if (mine < first)
		balance_begin(rule, &rule->phases[first], &balance);
	else
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
	memset(left, 0, sizeof(int128) * rule->history.grant_count);
	for (int i = 0; i < rule->selected->count; i++)
		left[rule->selected->grants[i] - rule->history.grants] = balance.grants[i];
}

/*
 * carry_visit_periods
 *		Goes through all periods from the begin of the history to that of now, with the
 *		rows of all phases given, and shows each in which the limit applied when it has ended.
 */
void
carry_visit_periods(SeriesRule *base, const CounterSlot *slots, int count, TimestampTz now,
					CarryPeriodVisitor visit, void *arg)
{
	CarryRule *rule = (CarryRule *) base;
	CarryPeriod period = {0};
	bool applied = false;
	int next = 0;
	CarryBalance balance;

	carry_prepare(base, rule->history.begin, now);
	grants_select(rule, rule->history.begin, now);
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
				period.granted =
					balance.burned + balance_sum(balance.grants, rule->selected->count);
				period.overage = Max(balance.debt - balance.owed, 0);
			}
			balance_enter(rule, phase, &balance);
			if (phase->ending != NULL)
			{
				period.rolled_over = balance.rolled_over;
				if (applied)
					visit(&period, arg);
				applied = false;
			}
		}
		applied |= phase->applies;
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
