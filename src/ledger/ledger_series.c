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

#include "civil.h"
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

/* Returns the slot of a list that starts at an instant, an empty one if there was none. */
static CounterSlot *
list_slot(LoadTarget *target, SlotList *list, TimestampTz start)
{
	int low = 0;
	int high = list->count;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (list->slots[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count && list->slots[low].start == start)
		return &list->slots[low];
	if (list->count == list->space)
	{
		list->space = Max(SERIES_SLOTS, list->space * 2);
		list->slots = list->slots == NULL
						  ? MemoryContextAlloc(target->context, sizeof(CounterSlot) * list->space)
						  : repalloc_huge(list->slots, sizeof(CounterSlot) * (Size) list->space);
	}
	memmove(&list->slots[low + 1], &list->slots[low], sizeof(CounterSlot) * (list->count - low));
	memset(&list->slots[low], 0, sizeof(CounterSlot));
	list->slots[low].start = start;
	list->count++;
	return &list->slots[low];
}

/* Counts in the hour of an instant that is before all slots. */
static void
add_to_hour(LoadTarget *target, TimestampTz at, int128 used)
{
	list_slot(target, &target->hours, at - floor_modulo(at, USECS_PER_HOUR))->used += used;
}

static void
target_note(LoadTarget *target, TimestampTz held_at, int128 micros, bool is_hour)
{
	SeriesNote *note;

	if (target->load->spec->rule->note == NULL || micros == 0)
		return;
	if (target->note_count == target->note_space)
	{
		target->note_space = Max(64, target->note_space * 2);
		target->notes =
			target->notes == NULL
				? MemoryContextAlloc(target->context, sizeof(SeriesNote) * target->note_space)
				: repalloc_huge(target->notes, sizeof(SeriesNote) * (Size) target->note_space);
	}
	note = &target->notes[target->note_count++];
	note->held_at = held_at;
	note->micros = (int64) Min(Max(micros, -(int128) MICROS_MAX), (int128) MICROS_MAX);
	note->is_hour = is_hour;
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
	if (held_at < target->load->spec->exact_from)
	{
		add_to_hour(target, held_at, used + held);
		return;
	}
	target_note(target, held_at, used + held, false);
	if (target->only_notes)
		return;
	slot = list_slot(target, &target->slots, rule->slot_start(rule, held_at));
	slot->used += used;
	slot->held += held;
	slot->returned += Min(used, (int128) 0);
}

/*
 * load_add_hour
 *		Counts what the roll-up has of an hour, all of it in one slot of a series, or
 *		before all of them.
 */
void
load_add_hour(LoadTarget *target, TimestampTz hour, int128 used)
{
	SeriesRule *rule = target->load->spec->rule;

	if (hour < target->load->spec->exact_from)
	{
		add_to_hour(target, hour, used);
		return;
	}
	list_slot(target, &target->slots, rule->slot_start(rule, hour))->used += used;
	target_note(target, hour + USECS_PER_HOUR, used, true);
}

static int
compare_notes(const void *a, const void *b)
{
	const SeriesNote *left = a;
	const SeriesNote *right = b;

	return left->held_at < right->held_at ? -1 : left->held_at > right->held_at;
}

/*
 * load_next_hour
 *		Finds the hour of which the roll-up's sum does not do, since what is owed goes back to it
 *		and when it was used matters, and takes that out. Returns false if there is none.
 */
bool
load_next_hour(LoadTarget *target, TimestampTz *hour, int128 *micros)
{
	const SeriesRule *rule = target->load->spec->rule;
	TimestampTz end;
	int first;
	int kept = 0;

	if (target->note_count == 0)
		return false;
	qsort(target->notes, target->note_count, sizeof(SeriesNote), compare_notes);
	first = rule->first_owed(rule, target->notes, target->note_count);
	if (first < 0 || !target->notes[first].is_hour)
		return false;
	end = target->notes[first].held_at;
	*micros = 0;
	for (int i = 0; i < target->note_count; i++)
	{
		if (target->notes[i].is_hour && target->notes[i].held_at == end)
			*micros += target->notes[i].micros;
		else
			target->notes[kept++] = target->notes[i];
	}
	target->note_count = kept;
	*hour = end - USECS_PER_HOUR;
	return true;
}

/*
 * load_rest_of_hour
 *		Notes what the events of an hour, noted from an index on, do not have of its sum, as of
 *		its end: the roll-up outlives them.
 */
void
load_rest_of_hour(LoadTarget *target, TimestampTz hour, int128 micros, int noted)
{
	for (int i = noted; i < target->note_count; i++)
		micros -= target->notes[i].micros;
	target_note(target, hour + USECS_PER_HOUR, Max(micros, 0), false);
}

static void
load_prepare(SeriesRule *rule, const SeriesState *state, TimestampTz until)
{
	if (rule->prepare != NULL)
		rule->prepare(rule, state->floor, until);
}

/*
 * load_finish
 *		Makes the state of a series from what was gathered, or hands it over as it is.
 */
void
load_finish(LoadTarget *target)
{
	const CounterSpec *spec = target->load->spec;
	const SlotList *slots = &target->slots;
	SeriesRule *rule = spec->rule;
	SeriesState *state;

	if (rule == NULL)
		return;
	if (target->load->all_slots)
	{
		target->load->slot_count = slots->count;
		target->load->slots = slots->slots;
		return;
	}
	state = palloc0(sizeof(SeriesState));
	target->load->state = state;
	state->floor = spec->exact_from;
	rule->open(rule, state);
	if (rule->look_back != NULL)
		rule->look_back(rule, state, spec->load_from, target->hours.slots, target->hours.count);
	/*
	 * Slot by slot: what has been taken into the opening needs not be prepared for any more.
	 * What is needed is not taken into it, though a clock that was ahead has left rows of later.
	 */
	for (int i = 0; i < slots->count; i++)
	{
		TimestampTz start = slots->slots[i].start;
		CounterSlot *slot;

		load_prepare(rule, state, start);
		slot = series_slot(state, rule, start, spec->needed);
		if (slot == NULL)
			elog(ERROR, "slot of a series has no place");
		*slot = slots->slots[i];
	}
	if (rule->trim != NULL)
	{
		load_prepare(rule, state, spec->needed);
		rule->trim(rule, state, spec->needed, spec->needed);
		load_prepare(rule, state, spec->needed);
	}
	qsort(target->notes, target->note_count, sizeof(SeriesNote), compare_notes);
	for (int i = 0; i < target->note_count; i++)
	{
		const SeriesNote *note = &target->notes[i];

		if (note->micros < 0)
			rule->correct(rule, state, note->held_at, note->micros);
		else
			rule->note(rule, state, note->held_at, note->micros);
	}
	if (target->slots.slots != NULL)
		pfree(target->slots.slots);
	if (target->hours.slots != NULL)
		pfree(target->hours.slots);
	if (target->notes != NULL)
		pfree(target->notes);
}
