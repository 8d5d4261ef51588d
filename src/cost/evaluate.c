/*
 * evaluate.c
 *		What a request costs by a compiled card.
 *
 * Of a usage that is complete (derive.c), evaluate_require() refuses one that lacks
 * what the card prices. evaluate_cost() splits totals into their parts and prices
 * every meter by the first line of the card whose conditions hold.
 *
 * A part that no line prices stays in its total: reasoning tokens without a price
 * of their own cost what output tokens cost, and cached tokens without a price of
 * their own what input tokens cost. So every token is priced exactly once.
 *
 * Costs are whole numbers of 10^-30 dollars; no step rounds.
 */
#include "cost/plan.h"

#include "port/pg_bitutils.h"

/*
 * lines_of_meter
 *		Gives the lines of a meter, which lie together; returns how many there are.
 */
static int
lines_of_meter(const CardPlan *plan, int meter, const PlanLine **lines)
{
	int first = plan->first_line[meter];
	int count = 0;

	if (first < 0)
		return 0;
	*lines = &plan->lines[first];
	while (first + count < plan->line_count && plan->lines[first + count].meter == (Measure) meter)
		count++;
	return count;
}

/*
 * evaluate_find_line
 *		Returns the first line of the meter whose conditions hold, or NULL.
 */
const PlanLine *
evaluate_find_line(const CardPlan *plan, int meter, const Usage *usage)
{
	if (plan->first_line[meter] < 0)
		return NULL;
	for (int i = plan->first_line[meter];
		 i < plan->line_count && plan->lines[i].meter == (Measure) meter; i++)
	{
		if (conditions_hold(&plan->lines[i].conditions, usage))
			return &plan->lines[i];
	}
	return NULL;
}

/*
 * line_is_superseded
 *		Whether a line does not apply because the request says the same in another
 *		way: a price per image while the tokens of the image are given.
 */
static bool
line_is_superseded(const PlanLine *line, const Usage *usage)
{
	for (int i = 0; i < line->conditions.count; i++)
	{
		const PlanCondition *condition = &line->conditions.items[i];

		if (condition->kind == CONDITION_ABSENT && usage_has(usage, condition->subject))
			return true;
	}
	return false;
}

/*
 * meter_is_superseded
 *		Whether some line of a meter does not apply because of what else is given.
 */
static bool
meter_is_superseded(const CardPlan *plan, int meter, const Usage *usage)
{
	const PlanLine *lines;
	int count = lines_of_meter(plan, meter, &lines);

	for (int i = 0; i < count; i++)
	{
		if (line_is_superseded(&lines[i], usage))
			return true;
	}
	return false;
}

/*
 * key_of_meter
 *		Returns the key by which a request states a meter.
 */
static const char *
key_of_meter(int meter)
{
	switch (meter)
	{
		case MEASURE_PIXELS:
		case MEASURE_MEGAPIXELS:
			return parameters[PARAMETER_SIZE];
		case MEASURE_VIDEO_SECONDS:
		case MEASURE_AUDIO_SECONDS:
			return measures[MEASURE_DURATION_SECONDS].name;
		case MEASURE_STORAGE_GB_DAYS:
			return measures[MEASURE_STORAGE_GB].name;
		default:
			return measures[meter].name;
	}
}

/*
 * evaluate_require
 *		Raises XQ201 if the completed usage lacks a quantity that the card needs.
 */
void
evaluate_require(const CardPlan *plan, const Usage *usage)
{
	for (uint64 missing = plan->required & ~usage->given; missing != 0; missing &= missing - 1)
	{
		int meter = pg_rightmost_one_pos64(missing);

		if (!meter_is_superseded(plan, meter, usage))
			usage_fail(key_of_meter(meter),
					   psprintf("It is missing, and model %s is priced by %s.", plan->model,
								measures[meter].name),
					   NULL);
	}
	if ((usage->given & plan->priced) == 0)
		usage_fail(key_of_meter(pg_rightmost_one_pos64(plan->priced)),
				   psprintf("None of the quantities by which model %s is priced is given.",
							plan->model),
				   NULL);
}

/*
 * fail_no_line
 *		Raises an error for a quantity that no line of the card prices, naming the
 *		first parameter on which the lines depend.
 */
pg_noreturn static void
fail_no_line(const CardPlan *plan, int meter, const Usage *usage)
{
	const PlanLine *lines;
	int count = lines_of_meter(plan, meter, &lines);
	int unmatched = -1;

	for (int i = 0; i < count; i++)
	{
		const PlanConditions *conditions = &lines[i].conditions;

		for (int j = 0; j < conditions->count; j++)
		{
			const PlanCondition *condition = &conditions->items[j];

			if (condition->kind != CONDITION_TEXT || condition_holds(condition, usage))
				continue;
			if (!usage_has_parameter(usage, condition->subject))
				usage_fail(parameters[condition->subject],
						   psprintf("It is missing, and the price of %s of model %s depends on it.",
									measures[meter].name, plan->model),
						   NULL);
			if (unmatched < 0)
				unmatched = condition->subject;
		}
	}
	usage_fail(unmatched >= 0 ? parameters[unmatched] : measures[meter].name,
			   psprintf("Model %s has no price of %s for this request.", plan->model,
						measures[meter].name),
			   NULL);
}

/*
 * fail_overflow
 *		Raises the error of a cost beyond 128 bits.
 */
pg_noreturn static void
fail_overflow(const CardPlan *plan)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("cost out of range"),
					errdetail("The cost of a request to model %s is more than 170000000 dollars.",
							  plan->model)));
}

/*
 * multiplied_price
 *		Applies the multipliers of the card that hold; returns false on overflow.
 *		Exact: card_compile() has checked that no product has more decimals than a price
 *		may have.
 */
static bool
multiplied_price(const CardPlan *plan, int meter, const Usage *usage, int128 *price)
{
	for (int i = 0; i < plan->multiplier_count; i++)
	{
		const PlanMultiplier *multiplier = &plan->multipliers[i];

		if ((multiplier->meters & MEASURE_BIT(meter)) == 0 ||
			!conditions_hold(&multiplier->conditions, usage))
			continue;
		if (__builtin_mul_overflow(*price, multiplier->factor, price))
			return false;
		Assert(*price % decimal_power_of_ten(multiplier->decimals) == 0);
		*price /= decimal_power_of_ten(multiplier->decimals);
	}
	return true;
}

/*
 * multiply_price
 *		Gives quantity x price; returns false on overflow.
 */
static inline bool
multiply_price(int128 price, int64 quantity, int128 *product)
{
	/* Of 64 and of 63 bits, as nearly always: one instruction. */
	if ((uint128) price <= PG_UINT64_MAX)
	{
		*product = (int128) ((uint128) (uint64) price * (uint64) quantity);
		return true;
	}
	return !__builtin_mul_overflow(price, (int128) quantity, product);
}

/*
 * cost_add_line
 *		Adds quantity x price, multiplied, to the cost; returns false on overflow.
 */
static bool
cost_add_line(const CardPlan *plan, CostResult *cost, int meter, const Usage *usage, int64 quantity,
			  int128 price)
{
	CostLine *line = &cost->lines[cost->line_count++];

	Assert(cost->line_count <= plan->most_cost_lines);
	if (plan->multiplier_count > 0 && !multiplied_price(plan, meter, usage, &price))
		return false;
	line->meter = measures[meter].name;
	line->quantity_micros = quantity;
	line->unit_price = price;
	return multiply_price(price, quantity, &line->cost) &&
		   !__builtin_add_overflow(cost->total, line->cost, &cost->total);
}

/*
 * charged_quantity
 *		What a line charges of a quantity: at most most, less free, in started blocks.
 */
static int64
charged_quantity(const PlanLine *line, int64 quantity)
{
	quantity = Min(quantity, line->most_micros);
	quantity = quantity > line->free_micros ? quantity - line->free_micros : 0;
	if (line->block_micros != 0 && quantity % line->block_micros != 0)
		quantity += line->block_micros - quantity % line->block_micros;
	return quantity;
}

/*
 * price_graduated
 *		Prices each part of a quantity by its slice; returns false on overflow.
 */
static bool
price_graduated(const CardPlan *plan, const PlanLine *line, const Usage *usage, int64 charged,
				CostResult *cost)
{
	const PlanSlice *slice = line->slices;
	int64 start = 0;

	for (; slice->up_to_micros < charged; slice++)
	{
		if (!cost_add_line(plan, cost, line->meter, usage, slice->up_to_micros - start,
						   slice->price))
			return false;
		start = slice->up_to_micros;
	}
	return cost_add_line(plan, cost, line->meter, usage, charged - start, slice->price);
}

/*
 * price_volume
 *		Prices all of a quantity by the slice that it reaches. More may cost less that
 *		way, so the ceiling is the dearest of all quantities up to there. Returns false
 *		on overflow.
 */
static bool
price_volume(const CardPlan *plan, const PlanLine *line, const Usage *usage, int64 charged,
			 bool is_ceiling, CostResult *cost)
{
	const PlanSlice *slice = line->slices;
	const PlanSlice *dearest = NULL;
	int128 highest = 0;
	int128 product;

	for (; slice->up_to_micros < charged; slice++)
	{
		if (!is_ceiling)
			continue;
		if (__builtin_mul_overflow(slice->price, (int128) slice->up_to_micros, &product))
			return false;
		if (product > highest)
		{
			highest = product;
			dearest = slice;
		}
	}
	if (dearest != NULL)
	{
		if (__builtin_mul_overflow(slice->price, (int128) charged, &product))
			return false;
		if (highest > product)
		{
			slice = dearest;
			charged = slice->up_to_micros;
		}
	}
	return cost_add_line(plan, cost, line->meter, usage, charged, slice->price);
}

/*
 * evaluate_line_ceiling
 *		Returns what a line charges for up to a quantity at most; the largest number
 *		there is on overflow.
 */
int128
evaluate_line_ceiling(const CardPlan *plan, const PlanLine *line, const Usage *usage,
					  int64 quantity)
{
	CostLine lines[PLAN_MAX_VALUES];
	CostResult cost = {.lines = lines};
	int64 charged = charged_quantity(line, quantity);

	if (charged > 0 && (line->graduated ? !price_graduated(plan, line, usage, charged, &cost)
										: !price_volume(plan, line, usage, charged, true, &cost)))
		return (int128) (~(uint128) 0 >> 1);
	return cost.total;
}

/*
 * own_quantity
 *		The quantity of a meter; what is cached or cache-written of audio and images
 *		is counted there and not again.
 */
static int64
own_quantity(const Usage *usage, int meter)
{
	int64 quantity = usage_get(usage, meter);

	if (meter == MEASURE_AUDIO_INPUT_TOKENS)
		quantity -= usage_get(usage, MEASURE_CACHED_AUDIO_INPUT_TOKENS) +
					usage_get(usage, MEASURE_CACHE_WRITE_AUDIO_TOKENS);
	else if (meter == MEASURE_IMAGE_INPUT_TOKENS)
		quantity -= usage_get(usage, MEASURE_CACHED_IMAGE_INPUT_TOKENS);
	else if (meter == MEASURE_VIDEO_INPUT_TOKENS)
		quantity -= usage_get(usage, MEASURE_CACHED_VIDEO_INPUT_TOKENS);
	return Max(quantity, 0);
}

/* What compute() answers instead of a meter. */
#define COMPUTED (-1)
#define OVERFLOWED (-2)

/*
 * compute
 *		Prices the completed usage. Returns COMPUTED, OVERFLOWED, or the meter of which
 *		there is something that no line prices. Never raises an error.
 */
static int
compute(const CardPlan *plan, const Usage *usage, bool is_ceiling, CostResult *cost)
{
	const PlanLine *lines[MEASURE_COUNT];
	int64 quantities[MEASURE_COUNT];
	int64 taken[MEASURE_COUNT]; /* by parts with a price of their own */
	uint64 present = plan->walked & usage->given;
	uint64 charged = 0; /* meters with a line */
	int128 minimum = plan->minimum * QUANTITY_ONE;

	cost->total = 0;
	cost->line_count = 0;
	for (uint64 rest = present; rest != 0; rest &= rest - 1)
		taken[pg_rightmost_one_pos64(rest)] = 0;
	for (uint64 rest = present; rest != 0;)
	{
		int meter = pg_leftmost_one_pos64(rest);
		int total = measures[meter].part_of;
		int64 quantity = own_quantity(usage, meter);

		rest &= ~MEASURE_BIT(meter);

		/* No part is more than its total: where there is nothing, nothing was taken. */
		Assert(taken[meter] <= quantity && (total < 0 || quantity == 0 || usage_has(usage, total)));
		if (quantity == 0)
			continue;
		lines[meter] = evaluate_find_line(plan, meter, usage);
		quantities[meter] = quantity - taken[meter];
		if (lines[meter] != NULL)
		{
			taken[meter] = quantity;
			charged |= MEASURE_BIT(meter);
		}
		else if (total < 0 && quantities[meter] != 0 && !meter_is_superseded(plan, meter, usage))
			return meter;
		if (total >= 0)
			taken[total] += taken[meter];
	}
	for (; charged != 0; charged &= charged - 1)
	{
		int meter = pg_rightmost_one_pos64(charged);
		const PlanLine *line = lines[meter];
		int64 quantity = charged_quantity(line, quantities[meter]);

		if (quantity == 0)
			continue;
		if (line->graduated ? !price_graduated(plan, line, usage, quantity, cost)
							: !price_volume(plan, line, usage, quantity, is_ceiling, cost))
			return OVERFLOWED;
	}
	if (cost->total < minimum)
	{
		CostLine *line = &cost->lines[cost->line_count++];

		line->meter = "minimum_charge";
		line->quantity_micros = QUANTITY_ONE;
		line->cost = minimum - cost->total;
		line->unit_price = line->cost / QUANTITY_ONE;
		cost->total = minimum;
	}
	return COMPUTED;
}

/*
 * evaluate_cost
 *		Prices the completed usage; cost->lines has room for plan->most_cost_lines. The
 *		cost of a ceiling covers every quantity up to those of the usage, as far as
 *		tiers are concerned. Raises XQ201 if a quantity has no price, 22003 if the cost
 *		is out of range.
 */
void
evaluate_cost(const CardPlan *plan, const Usage *usage, bool is_ceiling, CostResult *cost)
{
	int answer = compute(plan, usage, is_ceiling, cost);

	if (answer == OVERFLOWED)
		fail_overflow(plan);
	if (answer != COMPUTED)
		fail_no_line(plan, answer, usage);
}

/*
 * evaluate_try_ceiling
 *		The same for a ceiling that there may not be: returns false instead of an error.
 */
bool
evaluate_try_ceiling(const CardPlan *plan, const Usage *usage, CostResult *cost)
{
	return compute(plan, usage, true, cost) == COMPUTED;
}
