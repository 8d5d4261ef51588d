/*
 * series.h
 *		Counters whose room depends on more than one total: what is used and held
 *		is kept by slots of time, and a rule says what that leaves.
 *
 * A limit that starts afresh and carries nothing over needs one total, and has a
 * plain counter. A rolling window, a token bucket, and a limit that carries
 * something from one period into the next look back: they have a series, which
 * keeps the totals of slots (parts of a window, or phases between two changes of
 * what there is to spend) in shared memory. When it is full, the oldest slots are
 * taken into the opening, which the rule alone can read.
 *
 * Rules are in src/balance. Here is only what they have in common.
 */
#ifndef XAVIER_QUOTA_ESCROW_SERIES_H
#define XAVIER_QUOTA_ESCROW_SERIES_H

#include "xavier_quota.h"

/* A window has 60 to 120 slots that count; the others are for a clock that goes back. */
#define SERIES_SLOTS 128

/* What rows of one slot add up to. */
typedef struct CounterSlot
{
	TimestampTz start;
	int128 used;
	int128 held;
	int128 returned; /* what corrections took off used, as far as that is known; not above 0 */
} CounterSlot;

/* What a rule keeps of the time before the first slot. */
typedef struct SeriesOpening
{
	int128 words[80];
} SeriesOpening;

typedef struct SeriesState
{
	TimestampTz floor;        /* rows from here on are in slots, or there are none */
	TimestampTz matters_from; /* rows before this need not be anywhere */
	int32 count;
	SeriesOpening opening;
	CounterSlot slots[SERIES_SLOTS]; /* ascending by start */
} SeriesState;

/* An amount that a rule is told of: a row, or what the roll-up has of an hour, as of its end. */
typedef struct SeriesNote
{
	TimestampTz held_at;
	int64 micros;
	bool is_hour;
} SeriesNote;

/* What a rule is asked, and what it answers; see EscrowClaim. */
typedef struct SeriesClaim
{
	TimestampTz now;        /* of the operation */
	TimestampTz held_at;    /* of the row; the same unless it is older */
	TimestampTz slot;       /* start of the slot that held_at is in */
	TimestampTz period_end; /* of the period that it is in, if there are periods */
	int64 request;          /* >= 0 */
	int64 amount;           /* of the limit */
	int64 overdraft;

	/* answers */
	int128 used; /* in the window, or in the period */
	int128 held;
	int128 limit;       /* what used and held are counted against, without the overdraft */
	int128 rolled_over; /* into this period, from those before */
	int128 granted;     /* what grants in effect have left */
	int128 carried;     /* overage of the period before, brought into this one */
	bool fits;
	bool counts; /* what is granted has to be in a slot */
} SeriesClaim;

/*
 * A rule: functions of the rows in a series. Those marked (*) run under a
 * lightweight lock: they neither throw nor allocate, and are only called when the rule
 * is ready for the state.
 */
typedef struct SeriesRule SeriesRule;
struct SeriesRule
{
	/* Returns the start of the slot that an instant is in. */
	TimestampTz (*slot_start)(SeriesRule *rule, TimestampTz at);
	/* Gets ready for all states with slots between two instants; NULL: always is. */
	void (*prepare)(SeriesRule *rule, TimestampTz from, TimestampTz until);
	/* Says whether it is ready for a state. (*) */
	bool (*is_ready)(const SeriesRule *rule, const SeriesState *state, TimestampTz now);
	/* Sets the opening of a state whose rows before its floor do not matter. (*) */
	void (*open)(const SeriesRule *rule, SeriesState *state);
	/*
	 * Is told by a load what the hours before the floor add up to, from an instant on;
	 * NULL: does not care. They are as slots, in used.
	 */
	void (*look_back)(const SeriesRule *rule, SeriesState *state, TimestampTz from,
					  const CounterSlot *hours, int count);
	/* Takes all before an instant into the opening; it becomes the floor. (*) */
	void (*advance)(const SeriesRule *rule, SeriesState *state, TimestampTz until);
	/*
	 * Takes into the opening what is long past at an instant, but not the slot of another,
	 * unless that is very long ago; NULL: nothing. (*)
	 */
	void (*trim)(const SeriesRule *rule, SeriesState *state, TimestampTz at, TimestampTz needed);
	/*
	 * Is told of an amount that was added to a state; by a load in the order of time, of what
	 * the roll-up has of an hour as of its end. NULL: does not care. (*)
	 */
	void (*note)(const SeriesRule *rule, SeriesState *state, TimestampTz held_at, int64 micros);
	/*
	 * Is told of a correction, of how much of it can be told of in the order of time: an
	 * amount below 0, or 0; by a claim after commit. Goes with note. (*)
	 */
	void (*correct)(const SeriesRule *rule, SeriesState *state, TimestampTz held_at, int64 micros);
	/*
	 * Returns which of amounts in the order of time is the first that is not made up for
	 * after them all: when that was matters, when the others were does not. -1 if there
	 * is none. Goes with note.
	 */
	int (*first_owed)(const SeriesRule *rule, const SeriesNote *notes, int count);
	/*
	 * Is told of an amount that is a fact, and too old for a slot: nobody else has it until
	 * the series is loaded afresh. NULL: does not care. (*)
	 */
	void (*miss)(const SeriesRule *rule, SeriesState *state, TimestampTz held_at, int64 micros);
	/* Answers a claim. (*) */
	void (*assess)(const SeriesRule *rule, const SeriesState *state, SeriesClaim *claim);
	/*
	 * Returns the first instant from the claim's on at which it would fit if nothing else
	 * happened, infinity if there is none.
	 */
	TimestampTz (*retry_at)(SeriesRule *rule, const SeriesState *state, const SeriesClaim *claim);
};

/* Functions in series.c */
extern CounterSlot *series_find(SeriesState *state, TimestampTz start);
extern CounterSlot *
series_slot(SeriesState *state, const SeriesRule *rule, TimestampTz start, TimestampTz needed);
extern bool series_has_place(const SeriesState *state, TimestampTz start);
extern void series_prepare(SeriesRule *rule, const SeriesState *state, TimestampTz now);
extern void series_drop_before(SeriesState *state, TimestampTz floor);

#endif /* XAVIER_QUOTA_ESCROW_SERIES_H */
