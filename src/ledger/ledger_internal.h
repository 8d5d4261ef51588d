/*
 * ledger_internal.h
 *		Columns of the ledger's tables, as schema/50_ledger_tables.sql declares them.
 */
#ifndef XAVIER_QUOTA_LEDGER_INTERNAL_H
#define XAVIER_QUOTA_LEDGER_INTERNAL_H

#include "ledger/ledger.h"
#include "query.h"

typedef enum HoldColumn
{
	HOLD_ID = 1,
	HOLD_ROOT_ID,
	HOLD_LEVELS,
	HOLD_SCOPE,
	HOLD_USER_ID,
	HOLD_MODEL,
	HOLD_AMOUNT,
	HOLD_HELD_AT,
	HOLD_EXPIRES_AT,
	HOLD_CARD_ID,
	HOLD_REQUEST,
	HOLD_SEQ,
	HOLD_EXPECTED,
	HOLD_COLUMNS = HOLD_EXPECTED
} HoldColumn;

typedef enum EventColumn
{
	EVENT_ID = 1,
	EVENT_SEQ,
	EVENT_KIND,
	EVENT_ROOT_ID,
	EVENT_LEVELS,
	EVENT_SCOPE,
	EVENT_USER_ID,
	EVENT_MODEL,
	EVENT_HELD,
	EVENT_AMOUNT_CHARGED,
	EVENT_COST_USD,
	EVENT_OUTCOME,
	EVENT_HELD_AT,
	EVENT_RECORDED_AT,
	EVENT_CARD_ID,
	EVENT_USAGE,
	EVENT_REASON,
	EVENT_ORIGIN,
	EVENT_XID,
	EVENT_EXPECTED,
	EVENT_INPUT_BYTES,
	EVENT_COLUMNS = EVENT_INPUT_BYTES
} EventColumn;

typedef enum KeyColumn
{
	KEY_ROOT_ID = 1,
	KEY_KEY,
	KEY_FINGERPRINT,
	KEY_HOLD_ID,
	KEY_CREATED_AT,
	KEY_COLUMNS = KEY_CREATED_AT
} KeyColumn;

/* Slots, ascending by start. */
typedef struct SlotList
{
	int count;
	int space;
	CounterSlot *slots;
} SlotList;

/* A counter being computed from the tables. What it gathers is in a context of its own. */
typedef struct LoadTarget
{
	CounterLoad *load;
	MemoryContext context;
	SlotList slots; /* of a series */
	SlotList hours; /* before them */
	int note_count;
	int note_space;
	SeriesNote *notes; /* if its rule wants to be told */
	bool only_notes;   /* of rows that come now: the slots have them */
} LoadTarget;

/* Events of a root and an origin from a transaction on; of one user, or of all (NULL). */
typedef struct TailRange
{
	int64 root_id;
	int64 origin;
	FullTransactionId mark;
	const char *user_id;
} TailRange;

/* From when on rows count. */
static inline TimestampTz
load_start(const CounterSpec *spec)
{
	return spec->rule == NULL ? spec->key.period_start : spec->load_from;
}

/* Functions in ledger_series.c */
extern bool load_uses_rollup(const CounterSpec *spec);
extern bool load_hour_is_whole(const CounterSpec *spec, TimestampTz hour);
extern void load_add(LoadTarget *target, TimestampTz held_at, int128 used, int128 held);
extern void load_add_hour(LoadTarget *target, TimestampTz hour, int128 used);
extern bool load_next_hour(LoadTarget *target, TimestampTz *hour, int128 *micros);
extern void load_rest_of_hour(LoadTarget *target, TimestampTz hour, int128 micros, int noted);
extern void load_finish(LoadTarget *target);

/* Functions in ledger_tail.c */
extern void ledger_scan_tail(Snapshot snapshot, const TailRange *range, QueryRow row, void *arg);

/* Functions in ledger_read.c */
extern int levels_from_datum(Datum datum, int64 *levels);

#endif /* XAVIER_QUOTA_LEDGER_INTERNAL_H */
