/*
 * levels.h
 *		The limits that one operation touches, with their counters.
 */
#ifndef XAVIER_QUOTA_API_LEVELS_H
#define XAVIER_QUOTA_API_LEVELS_H

#include "types/json_writer.h"
#include "directory/directory.h"

/* One limit at one level, and what the operation asks and finds there. */
typedef struct Level
{
	LevelLimit limit;   /* a copy, with the counter and the amount of the operation's period */
	int64 amount_later; /* of the periods to come */
	int64 requested;
	EscrowClaim claim;
	SeriesState *state; /* of a series that is not, or no longer, looked at in memory */
} Level;

typedef struct LevelSet
{
	uint32 root_hash;
	bool in_memory; /* else computed from the tables, on a standby */
	TimestampTz now;
	int count;
	Level *levels;
} LevelSet;

/* Functions in levels.c */
extern void levels_init(void);
extern Amount *levels_count_hold(const Amount *amount, const char *model);
extern void
levels_collect(LevelSet *set, const Spender *spender, uint32 root_hash, TimestampTz held_at,
			   TimestampTz now, const Amount *const *amounts, int amount_count);
extern void level_init(Level *level, const LevelLimit *limit, TimestampTz held_at, TimestampTz now);
extern void level_answer_load(Level *level, const CounterLoad *load);
extern void levels_pin(LevelSet *set);
extern void levels_pin_or_compute(LevelSet *set);
extern EscrowAnswer
levels_claim(LevelSet *set, const Amount *request, Generation generation, bool hold);
extern void levels_count_denials(const LevelSet *set, TimestampTz now);
extern bool levels_afford(const LevelSet *set, const AmountEntry *entries, int count,
						  const Amount *least, const Amount *held);
extern void levels_take_from_memory(LevelSet *set);
extern void level_discount(Level *level, const CounterSpec *counter, int128 held);
extern void levels_record(LevelSet *set, const Amount *held, const Amount *charged);
extern void levels_look(LevelSet *set);
extern void levels_show_granted(LevelSet *set, const Amount *amount);
extern void levels_write_claims(const LevelSet *set, JsonWriter *writer, bool granted);
extern void levels_write_totals(const LevelSet *set, JsonWriter *writer);
extern const Level *levels_first_failure(const LevelSet *set);
extern bool level_never_fits(const Level *level);
extern TimestampTz level_retry_at(const Level *level, TimestampTz now);
extern TimestampTz levels_retry_at(const LevelSet *set);

#endif /* XAVIER_QUOTA_API_LEVELS_H */
