/*
 * carry_balance.c
 *		What there is to use, and what is owed, as it goes from phase to phase.
 *
 * Nothing here allocates or throws: it runs under a lightweight lock.
 */
#include "postgres.h"

#include "balance/carry_internal.h"

static bool
grant_is_in_effect(const CarryGrant *grant, TimestampTz at)
{
	return grant->effective_at <= at && at < grant->ends_at;
}

/*
 * grants_select
 *		Selects the grants that matter to balances of phases from one that starts at an
 *		instant to one that starts at another: before any of them is made.
 */
void
grants_select(const CarryRule *rule, TimestampTz from, TimestampTz until)
{
	CarryGrants *selected = rule->selected;

	if (selected->from == from && selected->until == until)
		return;
	selected->from = from;
	selected->until = until;
	selected->count = 0;
	for (int i = 0; i < rule->history.grant_count; i++)
	{
		const CarryGrant *grant = &rule->history.grants[i];

		if (grant->effective_at <= until && from < grant->ends_at)
			selected->grants[selected->count++] = grant;
	}
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

/* Burns an amount; returns what no source covers. Grants wait while the limit does not apply. */
static int128
balance_burn(const CarryRule *rule, CarryBalance *balance, int128 amount)
{
	int128 left;

	for (int i = 0; i < balance->vintage_count && amount > 0; i++)
		take(&balance->vintages[i], &amount);
	take(&balance->allowance, &amount);
	left = amount;
	for (int i = 0; balance->applies && i < rule->selected->count && amount > 0; i++)
		take(&balance->grants[i], &amount);
	balance->burned += left - amount;
	return amount;
}

/*
 * Counts what the rows of a phase add up to. What was used while the limit did not apply is
 * taken from the amount of the period like anything else, so that a limit that is set and
 * dropped again gives nothing away; but nothing is owed for it. What is given back makes up
 * for that first.
 */
void
balance_use(const CarryRule *rule, CarryBalance *balance, int128 amount)
{
	if (amount >= 0)
	{
		amount = balance_burn(rule, balance, amount);
		if (balance->applies)
			balance->debt += amount;
		else
			balance->forgiven += amount;
	}
	else
	{
		amount = -amount;
		take(&balance->forgiven, &amount);
		take(&balance->debt, &amount);
		balance->allowance += amount;
	}
}

int128
balance_sum(const int128 *sources, int count)
{
	int128 sum = 0;

	for (int i = 0; i < count; i++)
		sum += sources[i];
	return sum;
}

/* What there is of grants to use. */
int128
balance_granted(const CarryRule *rule, const CarryBalance *balance)
{
	return balance->applies ? balance_sum(balance->grants, rule->selected->count) : 0;
}

int128
balance_available(const CarryRule *rule, const CarryBalance *balance)
{
	return balance_sum(balance->vintages, balance->vintage_count) + balance->allowance +
		   balance_granted(rule, balance) - balance->debt;
}

/*
 * What is unused of the period that ends becomes the youngest vintage; nothing, if the limit
 * does not apply as it ends.
 */
static void
balance_roll_over(CarryBalance *balance, const CarryTerms *terms)
{
	int kept = Min(balance->vintage_count, terms->rollover_periods - 1);
	int dropped = balance->vintage_count - kept;
	int128 excess;

	if (terms->rollover == 0 || !balance->applies)
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
void
balance_begin(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance)
{
	memset(balance, 0, offsetof(CarryBalance, grants));
	balance->rolled_over = 0;
	balance->carried = 0;
	balance->forgiven = 0;
	balance->used = 0;
	balance->owed = 0;
	balance->burned = 0;
	balance->allowance = phase->allowance;
	balance->applies = phase->applies;
	for (int i = 0; i < rule->selected->count; i++)
	{
		const CarryGrant *grant = rule->selected->grants[i];

		balance->grants[i] = grant_is_in_effect(grant, phase->start) ? grant->amount : 0;
	}
}

/* Does what happens where a phase begins. */
void
balance_enter(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance)
{
	const CarryGrants *selected = rule->selected;
	const CarryTerms *ending = phase->ending;

	if (phase->begins)
	{
		balance_begin(rule, phase, balance);
		return;
	}
	for (int i = 0; i < selected->count; i++)
	{
		const CarryGrant *grant = selected->grants[i];

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
		balance->forgiven = 0;
		balance->used = 0;
		balance->burned = 0;
	}
	for (int i = 0; i < selected->count; i++)
	{
		const CarryGrant *grant = selected->grants[i];

		if (grant->effective_at == phase->start && grant_is_in_effect(grant, phase->start))
			balance->grants[i] = grant->amount;
	}
	/* What is owed waits like the grants. */
	balance->applies = phase->applies;
	if (balance->applies)
		balance->debt = balance_burn(rule, balance, balance->debt);
	if (ending != NULL)
		balance->owed = balance->debt;
}

void
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
	balance->forgiven = opening->forgiven;
	balance->used = opening->used;
	balance->vintage_count = opening->vintage_count;
	for (int i = 0; i < opening->vintage_count; i++)
		balance->vintages[i] = opening->vintages[i];
	for (int i = 0; i < rule->selected->count; i++)
		balance->grants[i] = 0;
	for (int i = 0; i < opening->grant_count; i++)
	{
		for (int j = 0; j < rule->selected->count; j++)
		{
			if (rule->selected->grants[j]->grant_id == opening->grants[i].grant_id)
				balance->grants[j] = opening->grants[i].left;
		}
	}
}

void
balance_save(const CarryRule *rule, const CarryBalance *balance, SeriesState *state)
{
	CarryOpening *opening = (CarryOpening *) &state->opening;

	opening->is_begin = false;
	opening->debt = balance->debt;
	opening->allowance = balance->allowance;
	opening->rolled_over = balance->rolled_over;
	opening->carried = balance->carried;
	opening->forgiven = balance->forgiven;
	opening->used = balance->used;
	opening->vintage_count = balance->vintage_count;
	for (int i = 0; i < balance->vintage_count; i++)
		opening->vintages[i] = (int64) balance->vintages[i];
	opening->grant_count = 0;
	for (int i = 0; i < rule->selected->count; i++)
	{
		CarryGrantLeft *left = &opening->grants[opening->grant_count];

		if (balance->grants[i] == 0 || opening->grant_count == GRANTS_MAX)
			continue;
		left->grant_id = rule->selected->grants[i]->grant_id;
		left->left = (int64) balance->grants[i];
		opening->grant_count++;
	}
}

/*
 * carry_miss
 *		What came too late for its phase is taken from what is left at the floor, from what
 *		stays the longest first. It may have come to less by then, or to what is gone since:
 *		never to more, and what it was taken from would be there no longer.
 */
void
carry_miss(const SeriesRule *base, SeriesState *state, TimestampTz held_at, int64 micros)
{
	const CarryRule *rule = (const CarryRule *) base;
	int128 amount = micros;
	CarryBalance balance;

	if (amount == 0 || held_at < rule->history.begin)
		return;
	grants_select(rule, state->floor, state->floor);
	balance.grants = rule->grants[0];
	balance_load(rule, state, &rule->phases[phase_at(rule, state->floor)], &balance);
	for (int i = rule->selected->count - 1; i >= 0; i--)
		take(&balance.grants[i], &amount);
	for (int i = balance.vintage_count - 1; i >= 0; i--)
		take(&balance.vintages[i], &amount);
	take(&balance.allowance, &amount);
	balance.debt += amount;
	balance_save(rule, &balance, state);
}
