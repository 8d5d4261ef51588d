/*
 * ledger_load.c
 *		Computes counters from the tables.
 *
 * A counter is the sum of three disjoint sets of rows, read in one snapshot:
 *
 *		roll-up		quota.usage_hourly, for the whole hours of the period
 *		events		those not folded yet (xid at or above the mark of their root
 *					and origin), and, of the folded ones, those in the edges of a
 *					period that does not begin or end on the hour
 *		holds		the open ones
 *
 * The fold moves rows from the second set to the first together with the mark,
 * in one transaction, so no snapshot sees an event twice or not at all.
 * History is never read: the cost is that of the roll-up's rows, of what came
 * since the last fold and of what is open now.
 *
 * Which rows count in a counter is the same rule by which an operation chooses
 * the counters of its row (api/levels.c): the level is among the row's levels,
 * a share counts its user only, the model matches, and the time of the hold is
 * in the period; or in a slot of a series, see ledger_series.c. There the hours whose
 * rows are not all in one slot are edges, too, and so is one from which on something is owed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "civil.h"
#include "ledger/hold_id.h"
#include "ledger/ledger_internal.h"
#include "model_pattern.h"
#include "query.h"

/* So many hours are read, at most, to know since when something is owed. */
#define HOURS_MAX 4

/* How far the events of a root are folded, by origin. */
typedef struct FoldMark
{
	int64 origin;
	FullTransactionId mark;
} FoldMark;

/* What the queries of one load share. */
typedef struct LoadScope
{
	QueryScope query;
	int64 root_id;
	int mark_count;
	int mark_space;
	FoldMark *marks;
} LoadScope;

/* The counters being computed; rows find their way to each that they count in. */
typedef struct LoadState
{
	LoadTarget *targets;
	int count;
	bool holds;              /* rows are holds, not events */
	const LoadScope *folded; /* rows are events, of which only those count that are folded */
} LoadState;

/* The whole hours [first, last) of a period; first >= last if it has none. */
typedef struct HourRange
{
	TimestampTz first;
	TimestampTz last;
} HourRange;

static HourRange
period_whole_hours(TimestampTz start, TimestampTz end)
{
	HourRange hours = {start, end};

	if (!TIMESTAMP_NOT_FINITE(start))
		hours.first = start + floor_modulo(-start, USECS_PER_HOUR);
	if (!TIMESTAMP_NOT_FINITE(end))
		hours.last = end - floor_modulo(end, USECS_PER_HOUR);
	return hours;
}

static void
load_add_row(const LoadState *state, const int64 *levels, int level_count, const char *user_id,
			 const char *model, const Amount *amount, TimestampTz held_at)
{
	for (int i = 0; i < state->count; i++)
	{
		LoadTarget *target = &state->targets[i];
		const CounterSpec *spec = target->load->spec;
		bool counts = false;
		int64 micros;

		if (held_at < load_start(spec) || held_at >= spec->period_end)
			continue;
		for (int level = 0; level < level_count && !counts; level++)
			counts = levels[level] == spec->key.account_id;
		if (!counts)
			continue;
		if (spec->key.user_id[0] != '\0' &&
			(user_id == NULL || strcmp(spec->key.user_id, user_id) != 0))
			continue;
		if (!model_matches(spec->model_pattern, model))
			continue;
		micros = amount_get(amount, spec->resource);
		if (state->holds)
			load_add(target, held_at, 0, micros + hold_counts_itself(spec->resource, model));
		else
			load_add(target, held_at, micros, 0);
	}
}

/* A row (origin, mark) of a root. */
static void
load_collect_mark(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	LoadScope *scope = arg;

	if (scope->mark_count == scope->mark_space)
	{
		scope->mark_space = Max(4, scope->mark_space * 2);
		scope->marks = scope->marks == NULL
						   ? palloc(sizeof(FoldMark) * scope->mark_space)
						   : repalloc(scope->marks, sizeof(FoldMark) * scope->mark_space);
	}
	scope->marks[scope->mark_count].origin = DatumGetInt64(values[0]);
	scope->marks[scope->mark_count++].mark = DatumGetFullTransactionId(values[1]);
}

/* Reads how far the root is folded, for every origin that it has events of. */
static void
load_marks(LoadScope *scope)
{
	static PreparedQuery query = {
		.text = "WITH RECURSIVE origins (origin) AS ("
				" SELECT min(origin) FROM quota.events WHERE root_id = $1"
				" UNION ALL"
				" SELECT (SELECT min(e.origin) FROM quota.events e"
				"         WHERE e.root_id = $1 AND e.origin > o.origin)"
				" FROM origins o WHERE o.origin IS NOT NULL)"
				" SELECT o.origin, coalesce(m.mark, '0'::pg_catalog.xid8)"
				" FROM origins o"
				" LEFT JOIN quota.fold_marks m ON m.root_id = $1 AND m.origin = o.origin"
				" WHERE o.origin IS NOT NULL",
		.argument_count = 1,
		.argument_types = {INT8OID},
	};
	Datum argument = Int64GetDatum(scope->root_id);

	query_run(&scope->query, &query, &argument, NULL, load_collect_mark, scope);
}

static bool
is_folded(const LoadScope *scope, int64 root_id, int64 origin, FullTransactionId xid)
{
	for (int i = 0; i < scope->mark_count && root_id == scope->root_id; i++)
	{
		if (scope->marks[i].origin == origin)
			return FullTransactionIdPrecedes(xid, scope->marks[i].mark);
	}
	return false;
}

/* A row (levels, user_id, model, amount, held_at[, origin, xid, root_id]) of an event or a hold. */
static void
load_collect_row(Datum *values, bool *nulls, void *arg)
{
	const LoadState *state = arg;
	int64 levels[LEVELS_MAX];
	int level_count;

	if (state->folded != NULL &&
		!is_folded(state->folded, DatumGetInt64(values[7]), DatumGetInt64(values[5]),
				   DatumGetFullTransactionId(values[6])))
		return;
	level_count = levels_from_datum(values[0], levels);
	load_add_row(arg, levels, level_count, nulls[1] ? NULL : TextDatumGetCString(values[1]),
				 nulls[2] ? NULL : TextDatumGetCString(values[2]), DatumGetAmountP(values[3]),
				 DatumGetTimestampTz(values[4]));
}

/*
 * load_user
 *		Returns the user whose shares all of the counters are, NULL if there is no such
 *		one. In a root with many holds open most loads are of another user's shares,
 *		and most rows are not theirs.
 */
static const char *
load_user(const LoadState *state)
{
	const char *user_id = state->targets[0].load->spec->key.user_id;

	for (int i = 1; i < state->count; i++)
	{
		if (strcmp(state->targets[i].load->spec->key.user_id, user_id) != 0)
			return NULL;
	}
	return user_id[0] == '\0' ? NULL : user_id;
}

static void
load_holds(LoadScope *scope, LoadState *state)
{
	static PreparedQuery query = {
		.text = "SELECT levels, user_id, model, amount, held_at FROM quota.holds"
				" WHERE hold_id BETWEEN $1 AND $2 AND root_id = $3"
				" AND ($4 IS NULL OR user_id = $4)",
		.argument_count = 4,
		.argument_types = {UUIDOID, UUIDOID, INT8OID, TEXTOID},
	};
	const CounterSpec *spec = state->targets[0].load->spec;
	const char *user_id = load_user(state);
	pg_uuid_t least;
	pg_uuid_t greatest;
	Datum arguments[] = {UUIDPGetDatum(&least), UUIDPGetDatum(&greatest),
						 Int64GetDatum(spec->key.root_id),
						 user_id == NULL ? (Datum) 0 : CStringGetTextDatum(user_id)};

	hold_id_least(spec->root_hash, DT_NOBEGIN, &least);
	hold_id_greatest(spec->root_hash, DT_NOEND, &greatest);
	state->holds = true;
	query_run(&scope->query, &query, arguments, user_id == NULL ? "   n" : NULL, load_collect_row,
			  state);
	state->holds = false;
}

/* Events that are not folded, of every origin that the root has. */
static void
load_tail(LoadScope *scope, LoadState *state)
{
	const char *user_id = load_user(state);

	for (int i = 0; i < scope->mark_count; i++)
	{
		TailRange range = {scope->root_id, scope->marks[i].origin, scope->marks[i].mark, user_id};

		ledger_scan_tail(scope->query.snapshot, &range, load_collect_row, state);
	}
}

/*
 * Folded events of a root from one instant to another, through its key. That the root is not asked
 * for, and the order is, keeps the planner from indexes by which it would read the root's history.
 */
static void
load_edge_of_root(LoadScope *scope, LoadState *state, TimestampTz from, TimestampTz until)
{
	static PreparedQuery query = {
		.text = "SELECT levels, user_id, model, charged, held_at, origin, xid, root_id"
				" FROM quota.events"
				" WHERE hold_id BETWEEN $1 AND $2 AND held_at >= $3 AND held_at < $4"
				" ORDER BY hold_id",
		.argument_count = 4,
		.argument_types = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	const CounterSpec *spec = state->targets[0].load->spec;
	pg_uuid_t least;
	pg_uuid_t greatest;
	Datum arguments[] = {UUIDPGetDatum(&least), UUIDPGetDatum(&greatest), TimestampTzGetDatum(from),
						 TimestampTzGetDatum(until)};

	hold_id_least(spec->root_hash, from, &least);
	hold_id_greatest(spec->root_hash, until, &greatest);
	query_run(&scope->query, &query, arguments, NULL, load_collect_row, state);
}

/*
 * The same of one user. Ordered, so that the index of users is the one to take whatever the
 * planner believes of the table.
 */
static void
load_edge_of_user(LoadScope *scope, LoadState *state, const char *user_id, TimestampTz from,
				  TimestampTz until)
{
	static PreparedQuery query = {
		.text = "SELECT levels, user_id, model, charged, held_at, origin, xid, root_id"
				" FROM quota.events"
				" WHERE root_id = $1 AND user_id = $2 AND held_at >= $3 AND held_at < $4"
				" ORDER BY held_at",
		.argument_count = 4,
		.argument_types = {INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	Datum arguments[] = {Int64GetDatum(state->targets[0].load->spec->key.root_id),
						 CStringGetTextDatum(user_id), TimestampTzGetDatum(from),
						 TimestampTzGetDatum(until)};

	query_run(&scope->query, &query, arguments, NULL, load_collect_row, state);
}

/* Folded events from one instant to another: an edge of a period. */
static void
load_edge(LoadScope *scope, LoadState *state, TimestampTz from, TimestampTz until)
{
	const char *user_id = load_user(state);

	if (from >= until)
		return;
	state->folded = scope;
	if (user_id == NULL)
		load_edge_of_root(scope, state, from, until);
	else
		load_edge_of_user(scope, state, user_id, from, until);
	state->folded = NULL;
}

/* A sum in units, as numeric: exact in millionths. */
static int128
numeric_to_micros(Numeric numeric)
{
	char *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(numeric)));
	const char *digit = text;
	bool negative = *digit == '-';
	int decimals = -1;
	int128 micros = 0;

	for (digit += negative; *digit != '\0' && decimals < 6; digit++)
	{
		if (*digit == '.')
			decimals = 0;
		else
		{
			micros = micros * 10 + (*digit - '0');
			if (decimals >= 0)
				decimals++;
		}
	}
	for (decimals = Max(decimals, 0); decimals < 6; decimals++)
		micros *= 10;
	pfree(text);
	return negative ? -micros : micros;
}

/* Where the roll-up's rows of one counter go. */
typedef struct RollupState
{
	LoadTarget *target;
	bool coarse; /* the hours are before all slots */
	int edge_count;
	int edge_space;
	TimestampTz *edges; /* hours that are not all in one slot, ascending */
} RollupState;

/* Notes an hour whose events have to be read one by one; rows come in the order of hours. */
static void
rollup_add_edge(RollupState *state, TimestampTz hour)
{
	if (state->edge_count > 0 && state->edges[state->edge_count - 1] == hour)
		return;
	if (state->edge_count == state->edge_space)
	{
		MemoryContext old = MemoryContextSwitchTo(state->target->context);

		state->edge_space = Max(16, state->edge_space * 2);
		state->edges =
			state->edges == NULL
				? palloc(sizeof(TimestampTz) * state->edge_space)
				: repalloc_huge(state->edges, sizeof(TimestampTz) * (Size) state->edge_space);
		MemoryContextSwitchTo(old);
	}
	state->edges[state->edge_count++] = hour;
}

/* A row (model, used, hour) of the roll-up; hour is null where hours do not matter. */
static void
load_collect_rollup(Datum *values, bool *nulls, void *arg)
{
	RollupState *state = arg;
	const CounterSpec *spec = state->target->load->spec;
	char *model = TextDatumGetCString(values[0]);
	TimestampTz hour = nulls[2] ? 0 : DatumGetTimestampTz(values[2]);

	if (!model_matches(spec->model_pattern, model[0] == '\0' ? NULL : model))
		return;
	if (nulls[2])
		load_add(state->target, hour, numeric_to_micros(DatumGetNumeric(values[1])), 0);
	else if (state->coarse || load_hour_is_whole(spec, hour))
		load_add_hour(state->target, hour, numeric_to_micros(DatumGetNumeric(values[1])));
	else
		rollup_add_edge(state, hour);
}

/*
 * load_rollup
 *		Adds what the roll-up has of whole hours. Of a series, what it has of hours
 *		that are in more than one slot is read from the events instead, unless they are
 *		before all slots: coarse.
 */
static void
load_rollup(LoadScope *scope, LoadTarget *target, HourRange hours, bool coarse)
{
	static PreparedQuery query = {
		.text = "SELECT model, pg_catalog.sum(used), NULL FROM quota.usage_hourly"
				" WHERE root_id = $1 AND account_id = $2 AND resource = $3"
				" AND hour >= $4 AND hour < $5 AND ($6 IS NULL OR user_id = $6) GROUP BY model",
		.argument_count = 6,
		.argument_types = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
	};
	static PreparedQuery query_by_hour = {
		.text = "SELECT model, pg_catalog.sum(used), hour FROM quota.usage_hourly"
				" WHERE root_id = $1 AND account_id = $2 AND resource = $3"
				" AND hour >= $4 AND hour < $5 AND ($6 IS NULL OR user_id = $6)"
				" GROUP BY hour, model ORDER BY hour",
		.argument_count = 6,
		.argument_types = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
	};
	const CounterSpec *spec = target->load->spec;
	bool share = spec->key.user_id[0] != '\0';
	Datum arguments[] = {Int64GetDatum(spec->key.root_id),
						 Int64GetDatum(spec->key.account_id),
						 CStringGetTextDatum(spec->resource),
						 TimestampTzGetDatum(hours.first),
						 TimestampTzGetDatum(hours.last),
						 share ? CStringGetTextDatum(spec->key.user_id) : (Datum) 0};
	RollupState state = {target, coarse, 0, 0, NULL};
	LoadState one = {.targets = target, .count = 1};

	query_run(&scope->query, spec->rule == NULL ? &query : &query_by_hour, arguments,
			  share ? NULL : "     n", load_collect_rollup, &state);
	for (int i = 0; i < state.edge_count; i++)
		load_edge(scope, &one, state.edges[i], state.edges[i] + USECS_PER_HOUR);
}

/*
 * load_folded
 *		Adds what has been folded: from the roll-up as far as it goes, from the events
 *		in the edges.
 */
static void
load_folded(LoadScope *scope, LoadTarget *target)
{
	const CounterSpec *spec = target->load->spec;
	TimestampTz start = load_start(spec);
	LoadState one = {.targets = target, .count = 1};
	HourRange hours;

	if (spec->rule != NULL && spec->exact_from > start)
	{
		hours = period_whole_hours(start, spec->exact_from);
		if (hours.first < hours.last)
		{
			load_rollup(scope, target, hours, true);
			load_edge(scope, &one, start, hours.first);
			start = hours.last;
		}
	}
	hours = period_whole_hours(start, spec->period_end);
	if (hours.first < hours.last && load_uses_rollup(spec))
	{
		load_rollup(scope, target, hours, false);
		load_edge(scope, &one, start, hours.first);
		load_edge(scope, &one, hours.last, spec->period_end);
	}
	else
		load_edge(scope, &one, start, spec->period_end);
}

/*
 * load_hours
 *		Reads the events of the hours that a rule has to know more of than what they add up to.
 */
static void
load_hours(LoadScope *scope, LoadTarget *target)
{
	LoadState one = {.targets = target, .count = 1};
	TimestampTz hour;
	int128 micros;

	target->only_notes = true;
	for (int i = 0; i < HOURS_MAX && load_next_hour(target, &hour, &micros); i++)
	{
		int noted = target->note_count;

		load_edge(scope, &one, hour, hour + USECS_PER_HOUR);
		load_rest_of_hour(target, hour, micros, noted);
	}
	target->only_notes = false;
}

/*
 * ledger_load
 *		Computes what the tables say of counters of one root, as of now, in one snapshot.
 *
 * Rows of this transaction that are not committed count. The caller sees to it
 * that no other transaction has changed a counter in memory and not finished.
 */
void
ledger_load(CounterLoad *loads, int count)
{
	LoadTarget *targets = palloc0(sizeof(LoadTarget) * count);
	LoadState state = {.targets = targets, .count = count};
	LoadScope scope = {.root_id = loads[0].spec->key.root_id};

	for (int i = 0; i < count; i++)
	{
		targets[i].load = &loads[i];
		targets[i].context = CurrentMemoryContext;
		memset(&loads[i].totals, 0, sizeof(CounterTotals));
	}
	query_begin(&scope.query);
	load_marks(&scope);
	for (int i = 0; i < count; i++)
		load_folded(&scope, &targets[i]);
	load_tail(&scope, &state);
	load_holds(&scope, &state);
	for (int i = 0; i < count; i++)
		load_hours(&scope, &targets[i]);
	query_end(&scope.query);
	for (int i = 0; i < count; i++)
		load_finish(&targets[i]);
	pfree(targets);
}
