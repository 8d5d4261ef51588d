/*
 * balance.h
 *		Rules by which a series of slots says what is left: a rolling window, a
 *		token bucket, and what is carried from one period into the next.
 */
#ifndef XAVIER_QUOTA_BALANCE_BALANCE_H
#define XAVIER_QUOTA_BALANCE_BALANCE_H

#include "escrow/series.h"
#include "period/period.h"

/* Unused amounts roll over through at most so many periods. */
#define ROLLOVER_PERIODS_MAX 12

/* At most so many grants of one limit have something left at one instant. */
#define GRANTS_MAX 64

/* What a limit was like, from an instant on. */
typedef struct CarryTerms
{
	TimestampTz set_at;
	int64 amount;
	int64 prorated_amount; /* of the period that set_at is in; -1: as amount */
	int64 rollover;        /* at most so much of what is unused rolls over */
	int rollover_periods;
	bool carry_overage;
} CarryTerms;

/* An amount that is there for a while, beside that of the period. */
typedef struct CarryGrant
{
	int64 grant_id;
	int64 amount;
	TimestampTz effective_at;
	TimestampTz ends_at;
	int64 rollover; /* at most so much is left after a reset; -1: all */
} CarryGrant;

/* When a limit did not apply at its level: others were nearer, or the account on no such plan. */
typedef struct CarryGap
{
	TimestampTz from;
	TimestampTz until;
} CarryGap;

/* How a limit has carried something since it first did. */
typedef struct CarryHistory
{
	const Period *period;
	TimestampTz begin; /* a start of a period: what was before does not matter */
	int terms_count;
	CarryTerms *terms; /* in the order of set_at; at least one */
	int grant_count;
	CarryGrant *grants; /* in the order in which they burn */
	int gap_count;
	CarryGap *gaps; /* in no order, and some within others */
} CarryHistory;

/* A period that is over, or will be. */
typedef struct CarryPeriod
{
	TimestampTz start;
	TimestampTz end;
	int128 allowance; /* the amount of the period itself */
	int128 limit;     /* all that there was to use */
	int128 used;
	int128 held;
	int128 granted;     /* what grants in effect at the end have left */
	int128 overage;     /* use that nothing covered */
	int128 rolled_over; /* into the period after it */
} CarryPeriod;

typedef void (*CarryPeriodVisitor)(const CarryPeriod *period, void *arg);

/*
 * Functions in rolling.c, refill.c and carry.c: make a rule, in the current memory
 * context, which lives as long as it is used.
 */
extern SeriesRule *rolling_rule(const Period *period);
extern SeriesRule *refill_rule(const Period *period, int64 amount, int64 overdraft);
extern SeriesRule *carry_rule(const CarryHistory *history);

/* From where on a load reads, from where on it reads exactly, and what an operation at now needs.
 */
typedef struct SeriesRange
{
	TimestampTz load_from;
	TimestampTz exact_from;
	TimestampTz needed;
} SeriesRange;

extern SeriesRange rolling_range(const SeriesRule *rule, TimestampTz now);
extern SeriesRange refill_range(const SeriesRule *rule, TimestampTz now);
extern SeriesRange carry_range(SeriesRule *rule, TimestampTz now);

/* Functions in carry.c */
extern void
carry_grants_left(SeriesRule *rule, const SeriesState *state, TimestampTz now, int128 *left);
extern void carry_visit_periods(SeriesRule *rule, const CounterSlot *slots, int count,
								TimestampTz now, CarryPeriodVisitor visit, void *arg);

/* How long a bucket of a window is; see rolling.c. */
extern int64 window_bucket_us(int64 window_us);

#endif /* XAVIER_QUOTA_BALANCE_BALANCE_H */
