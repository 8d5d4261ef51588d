/*
 * derive.c
 *		Completes the usage: what follows from the request and from the card.
 *
 * Before anything is priced, what a request leaves out takes the default of the card,
 * and the meters that nobody states follow from what they count: images from n, pixels
 * from size, seconds of video from the duration. What was given and has no influence on
 * the price is noted.
 */
#include "cost/plan.h"

#include "port/pg_bitutils.h"

/* Sides of images have at most so many digits. */
#define MAX_SIDE_DIGITS 5

/* Meters that follow from n. */
#define COUNTED_BY_N                                                                               \
	(MEASURE_BIT(MEASURE_IMAGES) | MEASURE_BIT(MEASURE_PIXELS) | MEASURE_BIT(MEASURE_MEGAPIXELS) | \
	 MEASURE_BIT(MEASURE_VIDEO_SECONDS))

/*
 * read_side
 *		Reads the digits of one side of a size; returns 0 if there are none, or more
 *		than five.
 */
static int64
read_side(const char **text, const char *end)
{
	int64 side = 0;
	const char *start = *text;

	for (; *text < end && **text >= '0' && **text <= '9'; (*text)++)
	{
		if (*text - start == MAX_SIDE_DIGITS)
			return 0;
		side = side * 10 + (**text - '0');
	}
	return side;
}

/*
 * size_to_pixels
 *		Reads a size such as 1024x1024, 1024-x-1024 or 1024*1024 and returns its
 *		pixels in millionths.
 */
static int64
size_to_pixels(const UsageText *size)
{
	const char *text = size->text;
	const char *end = size->text + size->length;
	int64 width = read_side(&text, end);
	int64 height = 0;

	if (text < end && *text == '-')
		text++;
	if (text < end && (*text == 'x' || *text == 'X' || *text == '*'))
	{
		text++;
		if (text < end && *text == '-')
			text++;
		height = read_side(&text, end);
	}
	if (width == 0 || height == 0 || text < end)
		usage_fail("size", "The size does not say how many pixels wide and high.",
				   "A size is written as 1024x1024.");
	return width * height * QUANTITY_ONE;
}

/*
 * derive_pixels
 *		Pixels follow from size and n.
 */
static void
derive_pixels(Usage *usage)
{
	int64 pixels = usage_multiply(size_to_pixels(&usage->texts[PARAMETER_SIZE]),
								  usage_get(usage, MEASURE_N), "size");

	usage_set(usage, MEASURE_PIXELS, pixels);
	usage_set(usage, MEASURE_MEGAPIXELS, pixels / 1000000);
}

/*
 * derive_from
 *		A meter follows from the key that counts it.
 */
static void
derive_from(const CardPlan *plan, Usage *usage, int meter, int key, int64 times)
{
	if ((plan->priced & MEASURE_BIT(meter)) != 0 && usage_has(usage, key))
		usage_set(usage, meter, usage_multiply(usage->micros[key], times, measures[key].name));
}

/*
 * derive_defaults
 *		Takes what the card says for keys that the request leaves out.
 */
static void
derive_defaults(const CardPlan *plan, Usage *usage, Assumptions *assumptions)
{
	uint64 missing = plan->defaults.given & ~usage->given;
	uint32 missing_parameters = plan->defaults.given_parameters & ~usage->given_parameters;

	for (; missing != 0; missing &= missing - 1)
	{
		int measure = pg_rightmost_one_pos64(missing);
		char value[DECIMAL_TEXT_SIZE];

		usage_set(usage, measure, plan->defaults.micros[measure]);
		decimal_to_cstring(plan->defaults.micros[measure], QUANTITY_SCALE, value);
		usage_assume(assumptions,
					 psprintf("%s: %s, the default of the card", measures[measure].name, value));
	}
	for (; missing_parameters != 0; missing_parameters &= missing_parameters - 1)
	{
		int parameter = pg_rightmost_one_pos32(missing_parameters);
		const UsageText *text = &plan->defaults.texts[parameter];

		usage->given_parameters |= 1u << parameter;
		usage->texts[parameter] = *text;
		usage_assume(assumptions, psprintf("%s: %.*s, the default of the card",
										   parameters[parameter], text->length, text->text));
	}
}

/*
 * derive_ignored
 *		Notes what was given and has no influence on the price.
 */
static void
derive_ignored(const CardPlan *plan, const Usage *usage, Assumptions *assumptions)
{
	uint64 ignored = usage->given & ~plan->understood;
	uint32 ignored_parameters = usage->given_parameters & ~plan->used_parameters;

	for (; ignored != 0; ignored &= ignored - 1)
	{
		int measure = pg_rightmost_one_pos64(ignored);

		if (usage->micros[measure] != 0)
			usage_assume(assumptions,
						 psprintf("%s: not priced by this card", measures[measure].name));
	}
	for (; ignored_parameters != 0; ignored_parameters &= ignored_parameters - 1)
		usage_assume(assumptions, psprintf("%s: no price of this card depends on it",
										   parameters[pg_rightmost_one_pos32(ignored_parameters)]));
}

/*
 * derive_usage
 *		Completes the usage by what follows from it and from the card.
 */
void
derive_usage(const CardPlan *plan, Usage *usage, Assumptions *assumptions)
{
	if ((plan->defaults.given & ~usage->given) != 0 ||
		(plan->defaults.given_parameters & ~usage->given_parameters) != 0)
		derive_defaults(plan, usage, assumptions);
	if ((usage->given & ~plan->understood) != 0 ||
		(usage->given_parameters & ~plan->used_parameters) != 0)
		derive_ignored(plan, usage, assumptions);
	if ((plan->priced & MEASURE_BIT(MEASURE_REQUESTS)) && !usage_has(usage, MEASURE_REQUESTS))
		usage_set(usage, MEASURE_REQUESTS, QUANTITY_ONE);
	if ((plan->priced & COUNTED_BY_N) && !usage_has(usage, MEASURE_N))
	{
		usage_set(usage, MEASURE_N, QUANTITY_ONE);
		usage_assume(assumptions, "n: 1");
	}

	if ((plan->priced & (MEASURE_BIT(MEASURE_PIXELS) | MEASURE_BIT(MEASURE_MEGAPIXELS))) &&
		usage_has_parameter(usage, PARAMETER_SIZE))
		derive_pixels(usage);
	derive_from(plan, usage, MEASURE_IMAGES, MEASURE_N, QUANTITY_ONE);
	derive_from(plan, usage, MEASURE_VIDEO_SECONDS, MEASURE_DURATION_SECONDS,
				usage_get(usage, MEASURE_N));
	derive_from(plan, usage, MEASURE_AUDIO_SECONDS, MEASURE_DURATION_SECONDS, QUANTITY_ONE);
	derive_from(plan, usage, MEASURE_STORAGE_GB_DAYS, MEASURE_STORAGE_GB,
				usage_get(usage, MEASURE_DAYS));
}
