/*
 * directory.h
 *		Who pays for a request, who may make it, and which limits apply.
 */
#ifndef XAVIER_QUOTA_DIRECTORY_DIRECTORY_H
#define XAVIER_QUOTA_DIRECTORY_DIRECTORY_H

#include "balance/balance.h"
#include "escrow/escrow.h"
#include "ledger/ledger.h"
#include "period/period.h"
#include "query.h"

typedef enum LimitPolicy
{
	POLICY_HARD,  /* what does not fit is refused */
	POLICY_SOFT,  /* allowed, and flagged */
	POLICY_SHADOW /* only counted */
} LimitPolicy;

/* A limit that applies at a level of a spend path. */
typedef struct LevelLimit
{
	int64 limit_id;
	int64 version;
	int64 account_id;       /* the level */
	bool share;             /* of the spending user in the level */
	const char *scope;      /* of the level, as text */
	const Scope *scope_key; /* the same, as a value */
	const char *resource;
	const char *model_pattern;
	const Period *period;
	int64 amount; /* of every period but that of prorated_at */
	int64 overdraft;
	TimestampTz prorated_at; /* DT_NOEND: never */
	int64 prorated_amount;
	LimitPolicy policy;
	const char *source; /* explicit, default or plan */

	/* How what is left follows from more than one total; NULL: it does not. */
	SeriesRule *rule;
	bool carries;             /* by what it carries over; else the period rolls or replenishes */
	CarryHistory *history;    /* of one that carries */
	bool rolls_over;          /* by its own terms, not only by those of grants */
	TimestampTz applies_from; /* at this level, if it is a default or of a plan */

	/* The counter and the period last asked for; see level_limit_counter(). */
	CounterSpec counter;
	TimestampTz period_start;
	TimestampTz period_end;
} LevelLimit;

/* All limits of a spend path, ordered by level, resource, model and period. */
typedef struct SpendLimits
{
	int count;
	LevelLimit *limits;
} SpendLimits;

/* One thing that was looked at to decide whether a request may be made at all. */
typedef struct AccessCheck
{
	const char *check; /* account_active, member or model */
	const char *scope;
	bool passed;
	const char *reason; /* a stable code, if not passed */
} AccessCheck;

typedef struct ModelRule
{
	int level; /* index into the path's access scopes */
	const char *pattern;
	bool allow;
} ModelRule;

/* A user in a project: what of the answer does not depend on the request. */
typedef struct Payer
{
	Spender spender; /* without a model */
	uint32 root_hash;
	const char *root;  /* as text */
	const char *scope; /* of the project, as text */
	int check_count;
	AccessCheck *checks; /* accounts and membership */
	int rule_scope_count;
	const char **rule_scopes; /* levels that can have model rules */
	int rule_count;
	ModelRule *rules; /* ordered by level */
} Payer;

/* Functions in payer.c */
extern const Payer *
payer_enter(const char *user_id, const char *project_id, Generation *generation);
extern const Payer *payer_look(const char *user_id, const char *project_id);
extern int
payer_check_access(const Payer *payer, const char *model, const char *given, AccessCheck **checks);
extern bool payer_find_account(const Scope *scope, Spender *spender);

/* Functions in limits.c */
extern SpendLimits *limits_of_spender(const Spender *spender, uint32 root_hash);
extern const CounterSpec *
level_limit_counter(LevelLimit *limit, const Spender *spender, uint32 root_hash,
					TimestampTz held_at, TimestampTz now);
extern const char *spender_share_user(const Spender *spender);
extern int64 level_limit_amount(const LevelLimit *limit);
extern const char *limit_policy_name(LimitPolicy policy);
extern void directory_retire_context(MemoryContext context);

/* Functions in histories.c */
extern void limits_read_histories(QueryScope *scope, const Spender *spender, const char *user_id,
								  SpendLimits *limits, MemoryContext context);
extern CarryHistory *
limit_read_history(const LevelLimit *limit, const Spender *spender, TimestampTz since);

/* Functions in changes.c; see directory/changes.h for the others. */
extern void directory_enter(uint32 root_hash, Generation *generation);

#endif /* XAVIER_QUOTA_DIRECTORY_DIRECTORY_H */
