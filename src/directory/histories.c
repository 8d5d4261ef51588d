/*
 * histories.c
 *		How limits have carried something over: their terms over time, the grants that feed
 *		them, and when they did not apply.
 *
 * A limit carries if its terms have ever let something roll over or overage be owed, or if
 * there is a grant for it at the level. What is left of it then follows from all that was
 * since it first carried something; not from what was before the limit was made, or before
 * a default or a plan applied.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "directory/changes.h"
#include "directory/directory.h"

typedef struct HistoryState
{
	MemoryContext context;
	SpendLimits *limits;
} HistoryState;

/* The history of a limit; a new one if it has none yet. Memory context of the limits. */
static CarryHistory *
limit_history(LevelLimit *limit)
{
	if (limit->history == NULL)
	{
		limit->history = palloc0(sizeof(CarryHistory));
		limit->history->period = limit->period;
	}
	return limit->history;
}

/* Arrays grow at powers of two. */
static void *
array_grow(void *array, int count, Size size)
{
	if (count == 0)
		return palloc(size);
	return (count & (count - 1)) == 0 ? repalloc(array, size * count * 2) : array;
}

/* A row (limit_id, account_id, share, grant_id, amount, effective_at, ends_at, rollover). */
static void
collect_grant(Datum *values, bool *nulls, void *arg)
{
	HistoryState *state = arg;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	for (int i = 0; i < state->limits->count; i++)
	{
		LevelLimit *limit = &state->limits->limits[i];
		CarryHistory *history;
		CarryGrant *grant;

		if (limit->limit_id != DatumGetInt64(values[0]) ||
			limit->account_id != DatumGetInt64(values[1]) ||
			limit->share != DatumGetBool(values[2]) || limit->rule != NULL)
			continue;
		history = limit_history(limit);
		history->grants = array_grow(history->grants, history->grant_count, sizeof(CarryGrant));
		grant = &history->grants[history->grant_count++];
		grant->grant_id = DatumGetInt64(values[3]);
		grant->amount = DatumGetInt64(values[4]);
		grant->effective_at = DatumGetTimestampTz(values[5]);
		grant->ends_at = nulls[6] ? DT_NOEND : DatumGetTimestampTz(values[6]);
		grant->rollover = nulls[7] ? -1 : DatumGetInt64(values[7]);
	}
	MemoryContextSwitchTo(old);
}

/* The grants at the levels of a spender, in the order in which they burn. */
static void
read_grants(QueryScope *scope, const Spender *spender, const char *user_id, HistoryState *state)
{
	static PreparedQuery query = {
		.text =
			"SELECT limit_id, account_id, user_id IS NOT NULL, grant_id,"
			" (amount * 1000000)::pg_catalog.int8, effective_at,"
			" least(expires_at, voided_at), (rollover * 1000000)::pg_catalog.int8"
			" FROM quota.grants"
			" WHERE root_id = $1 AND account_id = ANY ($2) AND (user_id IS NULL OR user_id = $3)"
			" ORDER BY priority, expires_at NULLS LAST, created_at, grant_id",
		.argument_count = 3,
		.argument_types = {INT8OID, INT8ARRAYOID, TEXTOID},
	};
	Datum elements[LEVELS_MAX];
	Datum arguments[3];

	for (int i = 0; i < spender->level_count; i++)
		elements[i] = Int64GetDatum(spender->levels[i]);
	arguments[0] = Int64GetDatum(spender->root_id);
	arguments[1] =
		PointerGetDatum(construct_array(elements, spender->level_count, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	arguments[2] = user_id == NULL ? (Datum) 0 : CStringGetTextDatum(user_id);
	query_run(scope, &query, arguments, user_id == NULL ? "  n" : NULL, collect_grant, state);
}

/* A row (limit_id, set_at, amount, prorated_amount, rollover, rollover_periods, carry_overage). */
static void
collect_terms(Datum *values, bool *nulls, void *arg)
{
	HistoryState *state = arg;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	for (int i = 0; i < state->limits->count; i++)
	{
		LevelLimit *limit = &state->limits->limits[i];
		CarryHistory *history = limit->history;
		CarryTerms *terms;

		if (history == NULL || limit->limit_id != DatumGetInt64(values[0]))
			continue;
		history->terms = array_grow(history->terms, history->terms_count, sizeof(CarryTerms));
		terms = &history->terms[history->terms_count++];
		terms->set_at = changes_instant(DatumGetTimestampTz(values[1]));
		terms->amount = DatumGetInt64(values[2]);
		terms->prorated_amount = nulls[3] ? -1 : DatumGetInt64(values[3]);
		terms->rollover = DatumGetInt64(values[4]);
		terms->rollover_periods = Max(Min(DatumGetInt16(values[5]), ROLLOVER_PERIODS_MAX), 1);
		terms->carry_overage = DatumGetBool(values[6]);
	}
	MemoryContextSwitchTo(old);
}

/* The terms of all limits that have a history. Those of plans belong to no root: 0. */
static void
read_terms(QueryScope *scope, const Spender *spender, HistoryState *state)
{
	static PreparedQuery query = {
		.text = "SELECT limit_id, set_at, (amount * 1000000)::pg_catalog.int8,"
				" (prorated_amount * 1000000)::pg_catalog.int8,"
				" (rollover * 1000000)::pg_catalog.int8, rollover_periods, carry_overage"
				" FROM quota.limit_terms"
				" WHERE root_id IN ($1, 0) AND limit_id = ANY ($2) ORDER BY set_at",
		.argument_count = 2,
		.argument_types = {INT8OID, INT8ARRAYOID},
	};
	const SpendLimits *limits = state->limits;
	Datum *elements = palloc(sizeof(Datum) * Max(limits->count, 1));
	Datum arguments[2];
	int count = 0;

	for (int i = 0; i < limits->count; i++)
	{
		if (limits->limits[i].history != NULL)
			elements[count++] = Int64GetDatum(limits->limits[i].limit_id);
	}
	if (count == 0)
		return;
	arguments[0] = Int64GetDatum(spender->root_id);
	arguments[1] = PointerGetDatum(
		construct_array(elements, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	query_run(scope, &query, arguments, NULL, collect_terms, state);
}

/* A row (limit_id, account_id, share, from, until). */
static void
collect_gap(Datum *values, bool *nulls, void *arg)
{
	HistoryState *state = arg;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	for (int i = 0; i < state->limits->count; i++)
	{
		LevelLimit *limit = &state->limits->limits[i];
		CarryHistory *history = limit->history;
		CarryGap gap;

		if (history == NULL || limit->limit_id != DatumGetInt64(values[0]) ||
			limit->account_id != DatumGetInt64(values[1]) ||
			limit->share != DatumGetBool(values[2]) || nulls[4])
			continue;
		gap.from = changes_instant(DatumGetTimestampTz(values[3]));
		gap.until = changes_instant(DatumGetTimestampTz(values[4]));
		if (gap.from >= gap.until)
			continue;
		history->gaps = array_grow(history->gaps, history->gap_count, sizeof(CarryGap));
		history->gaps[history->gap_count++] = gap;
	}
	MemoryContextSwitchTo(old);
}

/*
 * When the limits that have a history did not apply at their levels: a limit of the same
 * resource, models and period stood before them that was dropped since, or the
 * account was not on the plan.
 */
static void
read_gaps(QueryScope *scope, const Spender *spender, const char *user_id, HistoryState *state)
{
	static PreparedQuery query = {
		.text =
			"WITH wanted AS ("
			" SELECT w.limit_id, w.account_id, w.share FROM ROWS FROM (pg_catalog.unnest($2),"
			"  pg_catalog.unnest($3), pg_catalog.unnest($4)) w (limit_id, account_id, share)"
			"), defined AS ("
			" SELECT w.limit_id, w.account_id, w.share, l.resource, l.model, l.period,"
			"  NULL AS plan, NULL::pg_catalog.int8 AS plan_account_id,"
			"  NULL::pg_catalog.timestamptz AS plan_since, NULL::pg_catalog.int8 AS default_of,"
			"  NULL AS child_kind"
			" FROM wanted w"
			" JOIN quota.limits l ON l.root_id = $1 AND l.limit_id = w.limit_id"
			" WHERE l.child_kind IS NOT NULL"
			" UNION ALL"
			" SELECT w.limit_id, w.account_id, w.share, l.resource, l.model, l.period, l.plan,"
			"  CASE WHEN w.share THEN s.account_id ELSE a.account_id END,"
			"  CASE WHEN w.share THEN s.plan_since ELSE a.plan_since END,"
			"  CASE WHEN w.share THEN a.account_id ELSE a.parent_id END,"
			"  CASE WHEN w.share THEN 'user' ELSE a.kind END"
			" FROM wanted w"
			" JOIN quota.plan_limits l ON l.limit_id = w.limit_id"
			" JOIN quota.accounts a ON a.root_id = $1 AND a.account_id = w.account_id"
			" LEFT JOIN quota.accounts s ON w.share AND s.root_id = $1"
			"  AND s.parent_id = w.account_id AND s.kind = 'user' AND s.name = $5)"
			" SELECT d.limit_id, d.account_id, d.share, p.set_at, p.dropped_at"
			" FROM defined d JOIN quota.past_limits p ON p.root_id = $1"
			"  AND p.account_id = d.account_id AND p.user_id = $5 AND p.resource = d.resource"
			"  AND p.model = d.model AND p.period OPERATOR(quota.=) d.period WHERE d.share"
			" UNION ALL"
			" SELECT d.limit_id, d.account_id, d.share, p.set_at, p.dropped_at"
			" FROM defined d JOIN quota.past_limits p ON p.root_id = $1"
			"  AND p.account_id = d.account_id AND p.user_id IS NULL AND p.resource = d.resource"
			"  AND p.model = d.model AND p.period OPERATOR(quota.=) d.period"
			"  AND p.child_kind IS NULL WHERE NOT d.share"
			" UNION ALL"
			" SELECT d.limit_id, d.account_id, d.share, p.set_at, p.dropped_at"
			" FROM defined d JOIN quota.past_limits p ON p.root_id = $1"
			"  AND p.account_id = d.default_of AND p.user_id IS NULL AND p.resource = d.resource"
			"  AND p.model = d.model AND p.period OPERATOR(quota.=) d.period"
			"  AND p.child_kind = d.child_kind"
			" UNION ALL"
			" SELECT d.limit_id, d.account_id, d.share, pg_catalog.max(p.until) OVER earlier,"
			"  pg_catalog.lead(p.since, 1, d.plan_since) OVER earlier"
			" FROM defined d JOIN quota.past_plans p ON p.root_id = $1"
			"  AND p.account_id = d.plan_account_id AND p.plan = d.plan"
			" WINDOW earlier AS (PARTITION BY d.limit_id, d.account_id, d.share ORDER BY p.since)",
		.argument_count = 5,
		.argument_types = {INT8OID, INT8ARRAYOID, INT8ARRAYOID, BOOLARRAYOID, TEXTOID},
	};
	const SpendLimits *limits = state->limits;
	Datum *ids = palloc(sizeof(Datum) * Max(limits->count, 1));
	Datum *accounts = palloc(sizeof(Datum) * Max(limits->count, 1));
	Datum *shares = palloc(sizeof(Datum) * Max(limits->count, 1));
	Datum arguments[5];
	int count = 0;

	for (int i = 0; i < limits->count; i++)
	{
		const LevelLimit *limit = &limits->limits[i];

		/* One that was made for the level has always been the nearest. */
		if (limit->history == NULL || strcmp(limit->source, "explicit") == 0)
			continue;
		ids[count] = Int64GetDatum(limit->limit_id);
		accounts[count] = Int64GetDatum(limit->account_id);
		shares[count] = BoolGetDatum(limit->share);
		count++;
	}
	if (count == 0)
		return;
	arguments[0] = Int64GetDatum(spender->root_id);
	arguments[1] = PointerGetDatum(
		construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	arguments[2] = PointerGetDatum(
		construct_array(accounts, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	arguments[3] =
		PointerGetDatum(construct_array(shares, count, BOOLOID, sizeof(bool), true, TYPALIGN_CHAR));
	arguments[4] = user_id == NULL ? (Datum) 0 : CStringGetTextDatum(user_id);
	query_run(scope, &query, arguments, user_id == NULL ? "    n" : NULL, collect_gap, state);
}

/*
 * history_begin
 *		Returns the start of the period in which a limit first carried something.
 */
static TimestampTz
history_begin(const LevelLimit *limit)
{
	const CarryHistory *history = limit->history;
	TimestampTz made = Max(history->terms[0].set_at, limit->applies_from);
	TimestampTz since = DT_NOEND;
	TimestampTz start;
	TimestampTz end;

	for (int i = history->terms_count - 1; i >= 0; i--)
	{
		if (history->terms[i].rollover > 0 || history->terms[i].carry_overage)
			since = history->terms[i].set_at;
	}
	for (int i = 0; i < history->grant_count; i++)
		since = Min(since, history->grants[i].effective_at);
	since = Max(since, made);
	/* Where nobody has kept the terms, what was before now is not known. */
	if (!IS_VALID_TIMESTAMP(since))
		since = clock_now();
	period_bounds(limit->period, since, &start, &end);
	return start;
}

/*
 * Before an account was first on the plan, in the period in which it came, the plan's limits
 * did not apply either.
 */
static void
history_add_first_gap(const LevelLimit *limit, CarryHistory *history)
{
	if (strcmp(limit->source, "plan") != 0 || limit->applies_from <= history->begin ||
		TIMESTAMP_NOT_FINITE(limit->applies_from))
		return;
	history->gaps = array_grow(history->gaps, history->gap_count, sizeof(CarryGap));
	history->gaps[history->gap_count++] = (CarryGap){history->begin, limit->applies_from};
}

/* Where nobody has kept the terms of a limit, those of now have always been. */
static void
history_complete(const LevelLimit *limit, CarryHistory *history)
{
	if (history->terms_count > 0)
		return;
	history->terms = palloc0(sizeof(CarryTerms));
	history->terms[0].set_at = DT_NOBEGIN;
	history->terms[0].amount = limit->amount;
	history->terms[0].prorated_amount = -1;
	history->terms[0].rollover_periods = 1;
	history->terms_count = 1;
}

/*
 * limits_read_histories
 *		Reads how limits of a spend path have carried something, and gives those that
 *		have their rules. user_id is whose shares the levels have, or NULL.
 */
void
limits_read_histories(QueryScope *scope, const Spender *spender, const char *user_id,
					  SpendLimits *limits, MemoryContext context)
{
	HistoryState state = {context, limits};
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < limits->count; i++)
	{
		if (limits->limits[i].rolls_over && limits->limits[i].rule == NULL)
			(void) limit_history(&limits->limits[i]);
	}
	MemoryContextSwitchTo(old);
	read_grants(scope, spender, user_id, &state);
	read_terms(scope, spender, &state);
	read_gaps(scope, spender, user_id, &state);

	MemoryContextSwitchTo(context);
	for (int i = 0; i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];

		if (limit->history == NULL)
			continue;
		history_complete(limit, limit->history);
		limit->history->begin = history_begin(limit);
		history_add_first_gap(limit, limit->history);
		limit->rule = carry_rule(limit->history);
		limit->carries = true;
	}
	MemoryContextSwitchTo(old);
}

/*
 * limit_read_history
 *		Returns the history of a limit that carries nothing, from the period of an instant
 *		on: what its amounts were, and when it applied. In the current memory context.
 */
CarryHistory *
limit_read_history(const LevelLimit *limit, const Spender *spender, TimestampTz since)
{
	LevelLimit copy = *limit;
	SpendLimits limits = {1, &copy};
	HistoryState state = {CurrentMemoryContext, &limits};
	CarryHistory *history;
	TimestampTz end;
	QueryScope scope;

	copy.history = NULL;
	history = limit_history(&copy);
	query_begin(&scope);
	read_terms(&scope, spender, &state);
	read_gaps(&scope, spender, spender_share_user(spender), &state);
	query_end(&scope);
	history_complete(limit, history);
	since = Max(since, Max(history->terms[0].set_at, limit->applies_from));
	if (!IS_VALID_TIMESTAMP(since))
		since = clock_now();
	period_bounds(limit->period, since, &history->begin, &end);
	history_add_first_gap(limit, history);
	return history;
}
