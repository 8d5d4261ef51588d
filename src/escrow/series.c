/*
 * series.c
 *		The slots of a series: finding one, adding one.
 *
 * Slots are in the order of time and come at the end, but for a row that is late; a
 * slot that there is not has no rows. The callers hold the partition's lock, or
 * the state is theirs alone.
 */
#include "postgres.h"

#include "escrow/series.h"

/* Returns the index of the first slot that starts at or after an instant. */
static int
series_position(const SeriesState *state, TimestampTz start)
{
	int low = 0;
	int high = state->count;

	if (high > 0 && state->slots[high - 1].start < start)
		return high;
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (state->slots[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * series_find
 *		Returns the slot that starts at an instant, NULL if it has no rows or is
 *		folded already.
 */
CounterSlot *
series_find(SeriesState *state, TimestampTz start)
{
	int position = series_position(state, start);

	return position < state->count && state->slots[position].start == start
			   ? &state->slots[position]
			   : NULL;
}

/*
 * series_has_place
 *		Says whether an amount can be counted in the slot that starts at an instant.
 */
bool
series_has_place(const SeriesState *state, TimestampTz start)
{
	return start >= state->floor && (state->count < SERIES_SLOTS || start >= state->slots[0].start);
}

/*
 * series_prepare
 *		Gets a rule ready for a state that nobody else changes, and for a claim at now.
 */
void
series_prepare(SeriesRule *rule, const SeriesState *state, TimestampTz now)
{
	if (rule->prepare != NULL)
		rule->prepare(rule, state->floor,
					  state->count == 0 ? now : Max(now, state->slots[state->count - 1].start));
}

/*
 * series_drop_before
 *		Removes the slots before an instant, which becomes the floor.
 */
void
series_drop_before(SeriesState *state, TimestampTz floor)
{
	int position = series_position(state, floor);

	state->count -= position;
	memmove(&state->slots[0], &state->slots[position], sizeof(CounterSlot) * state->count);
	state->floor = floor;
}

/*
 * series_slot
 *		Returns the slot that starts at an instant, an empty one if there was none;
 *		takes into the opening what is long past then and not needed, and the oldest where
 *		there is no room. NULL if the slot would be before the floor, or before all slots of
 *		a full series. The rule is ready for the state.
 */
CounterSlot *
series_slot(SeriesState *state, const SeriesRule *rule, TimestampTz start, TimestampTz needed)
{
	CounterSlot *slot = series_find(state, start);
	int position;

	if (slot != NULL || start < state->floor)
		return slot;
	if (rule->trim != NULL)
		rule->trim(rule, state, start, needed);
	if (state->count == SERIES_SLOTS && start < state->slots[0].start)
	{
		rule->advance(rule, state, state->slots[0].start);
		return NULL;
	}
	if (state->count == SERIES_SLOTS)
		rule->advance(rule, state, Min(state->slots[1].start, start));
	if (start < state->floor || state->count == SERIES_SLOTS)
		return NULL;
	position = series_position(state, start);
	slot = &state->slots[position];
	memmove(slot + 1, slot, sizeof(CounterSlot) * (state->count - position));
	state->count++;
	slot->start = start;
	slot->used = 0;
	slot->held = 0;
	slot->returned = 0;
	return slot;
}
