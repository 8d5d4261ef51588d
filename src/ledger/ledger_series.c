/*
 * ledger_series.c
 *		Where the rows of a load go: into the total of a plain counter, or into the
 *		slots of a series.
 *
 * A load may find more slots than a series has room for, in any order: they are
 * gathered first, and the oldest taken into the opening by the rule, one after
 * the other, as memory would have done it.
 */
#include "postgres.h"

#include "datatype/timestamp.h"

#include "ledger/ledger_internal.h"

/*
 * load_uses_rollup
 *		Says whether the hourly roll-up can tell anything about a counter: not where
 *		every hour is in more than one slot.
 */
bool
load_uses_rollup(const CounterSpec *spec)
{
	return spec->rule == NULL || TIMESTAMP_IS_NOBEGIN(spec->load_from) ||
		   load_hour_is_whole(spec, spec->load_from + USECS_PER_HOUR) ||
		   load_hour_is_whole(spec, spec->needed + USECS_PER_HOUR);
}

/*
 * load_hour_is_whole
 *		Says whether an hour is in one slot of a series.
 */
bool
load_hour_is_whole(const CounterSpec *spec, TimestampTz hour)
{
	return spec->rule->slot_start(spec->rule, hour) ==
		   spec->rule->slot_start(spec->rule, hour + USECS_PER_HOUR - 1);
}

/* Returns the slot that starts at an instant, an empty one if there was none. */
static CounterSlot *
target_slot(LoadTarget *target, TimestampTz start)
{
	int low = 0;
	int high = target->slot_count;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (target->slots[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < target->slot_count && target->slots[low].start == start)
		return &target->slots[low];
	if (target->slot_count == target->slot_space)
	{
		target->slot_space = Max(SERIES_SLOTS, target->slot_space * 2);
		target->slots =
			target->slots == NULL
				? MemoryContextAlloc(target->context, sizeof(CounterSlot) * target->slot_space)
				: repalloc_huge(target->slots, sizeof(CounterSlot) * (Size) target->slot_space);
	}
	memmove(&target->slots[low + 1], &target->slots[low],
			sizeof(CounterSlot) * (target->slot_count - low));
	memset(&target->slots[low], 0, sizeof(CounterSlot));
	target->slots[low].start = start;
	target->slot_count++;
	return &target->slots[low];
}

static void
target_note(LoadTarget *target, TimestampTz held_at, int128 micros)
{
	if (target->load->spec->rule->note == NULL || micros == 0)
		return;
	if (target->row_count == target->row_space)
	{
		target->row_space = Max(64, target->row_space * 2);
		target->rows =
			target->rows == NULL
				? MemoryContextAlloc(target->context, sizeof(NotedRow) * target->row_space)
				: repalloc_huge(target->rows, sizeof(NotedRow) * (Size) target->row_space);
	}
	target->rows[target->row_count].held_at = held_at;
	target->rows[target->row_count++].micros = (int64) Min(micros, (int128) MICROS_MAX);
}

/*
 * load_add
 *		Counts a row of the instant held_at; of a plain counter, any sum of rows.
 */
void
load_add(LoadTarget *target, TimestampTz held_at, int128 used, int128 held)
{
	SeriesRule *rule = target->load->spec->rule;
	CounterSlot *slot;

	if (rule == NULL)
	{
		target->load->totals.used += used;
		target->load->totals.held += held;
		return;
	}
	if (used < 0 && rule->ignores_corrections)
		return;
	slot = target_slot(target, rule->slot_start(rule, held_at));
	slot->used += used;
	slot->held += held;
	target_note(target, held_at, used + held);
}

/*
 * load_add_hour
 *		Counts what the roll-up has of an hour, all of it in one slot of a series.
 */
void
load_add_hour(LoadTarget *target, TimestampTz hour, int128 used)
{
	SeriesRule *rule = target->load->spec->rule;

	target_slot(target, rule->slot_start(rule, hour))->used += used;
	target_note(target, hour + USECS_PER_HOUR, used);
}

static int
compare_rows(const void *a, const void *b)
{
	const NotedRow *left = a;
	const NotedRow *right = b;

	return left->held_at < right->held_at ? -1 : left->held_at > right->held_at;
}

/*
 * load_finish
 *		Makes the state of a series from what was gathered.
 */
void
load_finish(LoadTarget *target)
{
	const CounterSpec *spec = target->load->spec;
	SeriesRule *rule = spec->rule;
	SeriesState *state;

	if (rule == NULL)
		return;
	state = palloc0(sizeof(SeriesState));
	target->load->state = state;
	state->floor = spec->load_from;
	rule->open(rule, state);
	if (rule->prepare != NULL)
		rule->prepare(rule, state->floor,
					  target->slot_count == 0
						  ? spec->needed
						  : Max(spec->needed, target->slots[target->slot_count - 1].start));
	for (int i = 0; i < target->slot_count; i++)
	{
		CounterSlot *slot = series_slot(state, rule, target->slots[i].start);

		if (slot == NULL)
			elog(ERROR, "slot of a series has no place");
		slot->used = target->slots[i].used;
		slot->held = target->slots[i].held;
	}
	if (rule->trim != NULL)
		rule->trim(rule, state, spec->needed);
	qsort(target->rows, target->row_count, sizeof(NotedRow), compare_rows);
	for (int i = 0; i < target->row_count; i++)
		rule->note(rule, state, target->rows[i].held_at, target->rows[i].micros, true);
	if (target->slots != NULL)
		pfree(target->slots);
	if (target->rows != NULL)
		pfree(target->rows);
}
