/*
 * carry_internal.h
 *		What the files of limits that carry something share: phases, balances, the rule.
 */
#ifndef XAVIER_QUOTA_BALANCE_CARRY_INTERNAL_H
#define XAVIER_QUOTA_BALANCE_CARRY_INTERNAL_H

#include "balance/balance.h"

typedef struct CarryPhase
{
	TimestampTz start;
	TimestampTz period_start;
	int64 allowance;          /* of its period */
	const CarryTerms *ending; /* of the period that ends where it starts; NULL: none does */
	bool begins;              /* nothing is carried into it */
	bool applies;             /* no gap of the history */
} CarryPhase;

/*
 * Grants that are in effect at some time between two instants, in the order in which they
 * burn: the others need not be gone through, however many there have ever been.
 */
typedef struct CarryGrants
{
	TimestampTz from;
	TimestampTz until;
	int count;
	const CarryGrant **grants;
} CarryGrants;

/* What there is, and what is owed. */
typedef struct CarryBalance
{
	int128 debt;
	int128 allowance;
	bool applies; /* of its phase */
	int vintage_count;
	int128 vintages[ROLLOVER_PERIODS_MAX]; /* oldest first */
	int128 *grants; /* left of each of those selected that is in effect, else 0 */

	/* of the running period */
	int128 rolled_over;
	int128 carried;
	int128 forgiven; /* used while the limit did not apply, and covered by nothing */
	int128 used;     /* only in what was taken into the opening */

	/* likewise, for reports, which begin where nothing was before: not kept in an opening */
	int128 owed;   /* what nothing had paid off as it began */
	int128 burned; /* of grants */
} CarryBalance;

typedef struct CarryRule
{
	SeriesRule rule; /* MUST BE FIRST */
	CarryHistory history;
	int break_count;
	TimestampTz *breaks; /* where grants and gaps begin and end, ascending */
	CarryGrants *selected;
	int128 *grants[2]; /* room for two balances */

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
	int128 forgiven;
	int128 used;
	int32 vintage_count;
	int32 grant_count;
	bool is_begin; /* nothing was before */
	int64 vintages[ROLLOVER_PERIODS_MAX];
	CarryGrantLeft grants[GRANTS_MAX];
} CarryOpening;

StaticAssertDecl(sizeof(CarryOpening) <= sizeof(SeriesOpening),
				 "what is kept must have room in a series");

/* Functions in carry_phases.c */
extern TimestampTz carry_slot_start(SeriesRule *base, TimestampTz at);
extern void carry_prepare(SeriesRule *base, TimestampTz from, TimestampTz until);
extern bool carry_is_ready(const SeriesRule *base, const SeriesState *state, TimestampTz now);
extern void phases_extend(CarryRule *rule, TimestampTz start);
extern int phase_at(const CarryRule *rule, TimestampTz start);
extern void
carry_period(const CarryRule *rule, TimestampTz at, TimestampTz *start, TimestampTz *end);

/* Functions in carry_balance.c */
extern void grants_select(const CarryRule *rule, TimestampTz from, TimestampTz until);
extern void balance_begin(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance);
extern void balance_enter(const CarryRule *rule, const CarryPhase *phase, CarryBalance *balance);
extern void balance_use(const CarryRule *rule, CarryBalance *balance, int128 amount);
extern int128 balance_sum(const int128 *sources, int count);
extern int128 balance_granted(const CarryRule *rule, const CarryBalance *balance);
extern int128 balance_available(const CarryRule *rule, const CarryBalance *balance);
extern void balance_load(const CarryRule *rule, const SeriesState *state, const CarryPhase *phase,
						 CarryBalance *balance);
extern void balance_save(const CarryRule *rule, const CarryBalance *balance, SeriesState *state);
extern void
carry_miss(const SeriesRule *base, SeriesState *state, TimestampTz held_at, int64 micros);

/* Functions in carry.c */
extern const CounterSlot *
slot_of_phase(const CounterSlot *slots, int count, int *next, TimestampTz start);

#endif /* XAVIER_QUOTA_BALANCE_CARRY_INTERNAL_H */
