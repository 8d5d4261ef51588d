/*
 * plan.h
 *		A rate card, compiled.
 */
#ifndef XAVIER_QUOTA_COST_PLAN_H
#define XAVIER_QUOTA_COST_PLAN_H

#include "cost/decimal.h"
#include "cost/usage.h"

#define PLAN_MAX_LINES 1000
#define PLAN_MAX_VALUES 64

typedef enum ConditionKind
{
	CONDITION_ABOVE,            /* a measure is strictly more than a bound */
	CONDITION_NUMBER,           /* a measure is one of some numbers */
	CONDITION_ABSENT,           /* a measure is not given */
	CONDITION_TEXT,             /* a parameter is one of some texts */
	CONDITION_ABSENT_PARAMETER, /* a parameter is not given */
} ConditionKind;

typedef struct PlanCondition
{
	ConditionKind kind;
	int subject; /* a Measure or Parameter */
	int count;   /* of numbers or texts */
	int64 *numbers;
	UsageText *texts; /* normalized */
} PlanCondition;

/* Conditions that must all hold. */
typedef struct PlanConditions
{
	int count;
	PlanCondition *items;
} PlanConditions;

/* A price up to a quantity. */
typedef struct PlanSlice
{
	int64 up_to_micros; /* PG_INT64_MAX: without end */
	int128 price;       /* PRICE_SCALE */
} PlanSlice;

typedef struct PlanLine
{
	Measure meter;
	int number;         /* in the card, from 1 */
	bool graduated;     /* each slice at its own price; else all at the price of the last */
	int64 free_micros;  /* not charged */
	int64 most_micros;  /* more is not charged */
	int64 block_micros; /* rounded up to a multiple of this; 0: not at all */
	int slice_count;
	PlanSlice *slices;
	PlanConditions conditions;
} PlanLine;

typedef struct PlanMultiplier
{
	int128 factor; /* 10^-decimals */
	int decimals;
	uint64 meters;
	PlanConditions conditions;
} PlanMultiplier;

typedef struct CardPlan
{
	int64 card_id;
	const char *model;
	const char *provider; /* NULL: the card does not say */
	int line_count;
	PlanLine *lines;                 /* by meter, then in the order of the card */
	int16 first_line[MEASURE_COUNT]; /* -1: the card has none for the meter */
	int multiplier_count;
	PlanMultiplier *multipliers;
	Usage defaults;               /* of the card, for what a request leaves out */
	uint64 priced;                /* meters with a line */
	uint64 walked;                /* those and the totals that include them */
	uint64 required;              /* meters that must be known */
	uint64 understood;            /* measures that the price depends on */
	uint32 used_parameters;       /* parameters that the price depends on */
	int64 max_output_micros;      /* -1: unknown */
	int128 minimum;               /* PRICE_SCALE */
	int most_cost_lines;          /* bound of the lines of a cost */
	bool reasoning_is_additional; /* the provider counts reasoning outside of the output */
} CardPlan;

/* One line of a computed cost. */
typedef struct CostLine
{
	const char *meter;
	int64 quantity_micros;
	int128 unit_price; /* PRICE_SCALE */
	int128 cost;       /* COST_SCALE */
} CostLine;

typedef struct CostResult
{
	int128 total; /* COST_SCALE */
	int line_count;
	CostLine *lines;
} CostResult;

/* Functions in card.c */
extern CardPlan *card_compile(Jsonb *card, int64 card_id, const char *model);

/* Functions in condition.c */
extern bool condition_holds(const PlanCondition *condition, const Usage *usage);

/* Whether all conditions hold for a request; true if there are none. */
static inline bool
conditions_hold(const PlanConditions *conditions, const Usage *usage)
{
	for (int i = 0; i < conditions->count; i++)
	{
		if (!condition_holds(&conditions->items[i], usage))
			return false;
	}
	return true;
}

/* Functions in derive.c */
extern void derive_usage(const CardPlan *plan, Usage *usage, Assumptions *assumptions);

/* Functions in evaluate.c */
extern void evaluate_require(const CardPlan *plan, const Usage *usage);
extern const PlanLine *evaluate_find_line(const CardPlan *plan, int meter, const Usage *usage);
extern int128 evaluate_line_ceiling(const CardPlan *plan, const PlanLine *line, const Usage *usage,
									int64 quantity);
extern void
evaluate_cost(const CardPlan *plan, const Usage *usage, bool is_ceiling, CostResult *cost);
extern bool evaluate_try_ceiling(const CardPlan *plan, const Usage *usage, CostResult *cost);

#endif /* XAVIER_QUOTA_COST_PLAN_H */
