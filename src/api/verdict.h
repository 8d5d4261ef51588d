/*
 * verdict.h
 *		The documents that callers get: verdicts and receipts.
 */
#ifndef XAVIER_QUOTA_API_VERDICT_H
#define XAVIER_QUOTA_API_VERDICT_H

#include "api/levels.h"
#include "cost/cost.h"

/* What a verdict tells. Fields that do not apply are 0 or NULL. */
typedef struct Verdict
{
	bool allowed;
	const char *state; /* checked, refused, open, settled, released or expired */
	bool replayed;
	const pg_uuid_t *hold_id;
	TimestampTz expires_at; /* DT_NOEND: none */
	bool past_period;       /* counts in the period of an earlier hold: a reset does not help */
	const char *user_id;
	const char *project_id;
	const char *model;
	const char *root;
	const Jsonb *estimate;
	const Amount *amount; /* in place of an estimate, where no model is */
	int access_count;
	const AccessCheck *access;
	const LevelSet *levels;
	const CostFits *fits; /* NULL: not a refusal that less could turn */
} Verdict;

/* What a receipt tells. */
typedef struct Receipt
{
	const pg_uuid_t *hold_id;
	const char *state;
	const char *outcome;
	const char *reason;
	bool replayed;
	bool ignored; /* a repeated settle with other usage */
	bool late;
	const Amount *held;
	const Amount *charged;
	const char *cost_usd;
	const Jsonb *lines; /* an array, or NULL */
	const LevelSet *levels;
} Receipt;

/* Functions in verdict.c */
extern Jsonb *verdict_write(const Verdict *verdict);
extern Jsonb *receipt_write(const Receipt *receipt);
extern const AccessCheck *access_first_failure(const AccessCheck *checks, int count);
extern Jsonb *document_lines(const Jsonb *document);

#endif /* XAVIER_QUOTA_API_VERDICT_H */
