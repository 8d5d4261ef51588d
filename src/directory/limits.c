/*
 * limits.c
 *		Which limits apply at the levels of a spend path.
 *
 * The levels of a row are the accounts of its path and, in each, the share of
 * its user (none in what belongs to a user: there the user is the root). At each
 * level, for each resource, model pattern and period, the nearest definition
 * wins: one made for the level itself, else its parent's default for children of
 * its kind, else that of the plan it is on.
 *
 * Read once per backend and spend path, and read again when the generations or
 * this transaction's own changes say so. An entry lives in a memory context of
 * its own; when there are too many, all go.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "directory/changes.h"
#include "directory/directory.h"
#include "query.h"
#include "relations.h"
#include "types/scope.h"

#define CACHE_MAX 8192

typedef struct LimitsKey
{
	Oid extension;
	int64 root_id;
	int64 leaf_id;
	char user_id[USER_ID_SIZE];
} LimitsKey;

typedef struct LimitsEntry
{
	LimitsKey key;
	MemoryContext context; /* NULL: nothing read yet */
	Generation generation;
	uint64 local_epoch;
	int level_count;
	int64 levels[LEVELS_MAX];
	SpendLimits limits;
} LimitsEntry;

static HTAB *limits_cache = NULL;
static MemoryContext limits_context = NULL;

/*
 * directory_retire_context
 *		Gives up what is remembered in a context when the transaction ends: until
 *		then it may be in use by the operation that asks for it again.
 */
void
directory_retire_context(MemoryContext context)
{
	MemoryContextSetParent(context, TopTransactionContext);
}

static LimitsEntry *
limits_entry(const Spender *spender)
{
	LimitsKey key;
	LimitsEntry *entry;
	bool found;

	if (limits_cache != NULL && hash_get_num_entries(limits_cache) >= CACHE_MAX)
	{
		directory_retire_context(limits_context);
		limits_cache = NULL;
	}
	if (limits_cache == NULL)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "xavier_quota limits",
													  ALLOCSET_DEFAULT_SIZES);
		HASHCTL info = {.keysize = sizeof(LimitsKey),
						.entrysize = sizeof(LimitsEntry),
						.hcxt = context};

		limits_cache =
			hash_create("xavier_quota limits", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		limits_context = context;
		MemoryContextSetParent(context, CacheMemoryContext);
	}

	memset(&key, 0, sizeof(key));
	key.extension = quota_extension();
	key.root_id = spender->root_id;
	key.leaf_id = spender->levels[spender->level_count - 1];
	if (spender->user_id != NULL)
		strlcpy(key.user_id, spender->user_id, USER_ID_SIZE);
	entry = hash_search(limits_cache, &key, HASH_ENTER, &found);
	if (!found)
		entry->context = NULL;
	return entry;
}

/*
 * spender_share_user
 *		Returns whose shares the levels of a spender have: nobody's where nobody
 *		spends, and nobody's where a user spends what is the user's own.
 */
const char *
spender_share_user(const Spender *spender)
{
	Scope *root;

	if (spender->user_id == NULL)
		return NULL;
	root = scope_root(spender->scope);
	if (strcmp(scope_kind(root), "user") == 0 && strcmp(scope_name(root), spender->user_id) == 0)
		return NULL;
	return spender->user_id;
}

static LimitPolicy
policy_parse(const char *name)
{
	if (strcmp(name, "hard") == 0)
		return POLICY_HARD;
	return strcmp(name, "soft") == 0 ? POLICY_SOFT : POLICY_SHADOW;
}

/*
 * limit_policy_name
 *		Returns the name of a policy, as definitions have it.
 */
const char *
limit_policy_name(LimitPolicy policy)
{
	return policy == POLICY_HARD ? "hard" : policy == POLICY_SOFT ? "soft" : "shadow";
}

typedef struct CollectState
{
	MemoryContext context;
	SpendLimits *limits;
	int space;
	const char *user_id;
} CollectState;

/*
 * limits_grow
 *		Adds an empty limit, in the current memory context.
 */
static LevelLimit *
limits_grow(CollectState *state)
{
	SpendLimits *limits = state->limits;

	if (limits->count == state->space)
	{
		state->space = Max(4, state->space * 2); /* few have more, and thousands are kept */
		limits->limits = limits->limits == NULL
							 ? palloc(sizeof(LevelLimit) * state->space)
							 : repalloc(limits->limits, sizeof(LevelLimit) * state->space);
	}
	memset(&limits->limits[limits->count], 0, sizeof(LevelLimit));
	return &limits->limits[limits->count++];
}

static void
collect_limit(Datum *values, bool *nulls, void *arg)
{
	CollectState *state = arg;
	Scope *scope = DatumGetScopeP(values[2]);
	bool share = DatumGetBool(values[1]);
	char *scope_text =
		scope_to_cstring(share ? scope_append(scope, "user", state->user_id) : scope);
	MemoryContext old = MemoryContextSwitchTo(state->context);
	LevelLimit *limit = limits_grow(state);

	limit->account_id = DatumGetInt64(values[0]);
	limit->share = share;
	limit->scope_key = share ? scope_append(scope, "user", state->user_id)
							 : (const Scope *) PG_DETOAST_DATUM_COPY(values[2]);
	limit->scope = pstrdup(scope_text); /* not with the room in which it was written */
	limit->source = TextDatumGetCString(values[3]);
	limit->limit_id = DatumGetInt64(values[4]);
	limit->version = DatumGetInt64(values[5]);
	limit->resource = TextDatumGetCString(values[6]);
	limit->model_pattern = TextDatumGetCString(values[7]);
	limit->period = (const Period *) PG_DETOAST_DATUM_COPY(values[8]);
	limit->amount = DatumGetInt64(values[9]);
	limit->overdraft = DatumGetInt64(values[10]);
	limit->policy = policy_parse(TextDatumGetCString(values[11]));
	limit->prorated_at = nulls[12] ? DT_NOEND : DatumGetTimestampTz(values[12]);
	limit->prorated_amount = nulls[13] ? 0 : DatumGetInt64(values[13]);
	limit->rolls_over = DatumGetBool(values[14]);
	limit->applies_from = nulls[15] ? DT_NOBEGIN : changes_instant(DatumGetTimestampTz(values[15]));
	if (period_kind(limit->period) == PERIOD_ROLLING)
		limit->rule = rolling_rule(limit->period);
	else if (period_kind(limit->period) == PERIOD_REPLENISH)
		limit->rule = refill_rule(limit->period, limit->amount, limit->overdraft);
	MemoryContextSwitchTo(old);
}

/* The limit that no table has: how many holds a root may have open. */
static void
add_open_holds(const Spender *spender, CollectState *state)
{
	char *scope_text = scope_to_cstring(scope_root(spender->scope));
	MemoryContext old = MemoryContextSwitchTo(state->context);
	LevelLimit *limit = limits_grow(state);

	limit->account_id = spender->root_id;
	limit->scope_key = scope_root(spender->scope);
	limit->scope = pstrdup(scope_text);
	limit->source = "setting";
	limit->resource = OPEN_HOLDS;
	limit->model_pattern = "*";
	limit->period = period_parse("lifetime");
	limit->policy = POLICY_HARD;
	limit->prorated_at = DT_NOEND;
	MemoryContextSwitchTo(old);
}

/*
 * limits_read
 *		Reads the limits of a spend path, as of now.
 */
static void
limits_read(const Spender *spender, SpendLimits *limits, MemoryContext context)
{
	static PreparedQuery query = {
		.text =
			"WITH accounts AS ("
			" SELECT p.position, a.account_id, a.scope, a.kind, a.plan, a.plan_since, a.created_at,"
			"  lag(a.account_id) OVER (ORDER BY p.position) AS parent_id"
			" FROM pg_catalog.unnest($2) WITH ORDINALITY p (account_id, position)"
			" JOIN quota.accounts a ON a.root_id = $1 AND a.account_id = p.account_id"
			"), levels AS ("
			" SELECT position, account_id, scope, false AS share, plan, plan_since,"
			"  account_id AS plan_account_id FROM accounts"
			" UNION ALL"
			" SELECT a.position, a.account_id, a.scope, true, s.plan, s.plan_since, s.account_id"
			" FROM accounts a"
			" LEFT JOIN quota.accounts s ON s.root_id = $1 AND s.parent_id = a.account_id"
			"  AND s.kind = 'user' AND s.name = $3"
			" WHERE $3 IS NOT NULL"
			"), candidates AS ("
			" SELECT v.position, v.account_id, v.share, v.scope, 1 AS rank, 'explicit' AS source,"
			"  l.limit_id, l.version, l.resource, l.model, l.period, l.amount, l.overdraft, l.policy,"
			"  l.prorated_at, l.prorated_amount, $1 AS terms_root,"
			"  NULL::pg_catalog.timestamptz AS applies_from"
			" FROM levels v JOIN quota.limits l ON l.root_id = $1 AND l.account_id = v.account_id"
			" WHERE l.child_kind IS NULL"
			"  AND CASE WHEN v.share THEN l.user_id = $3 ELSE l.user_id IS NULL END"
			" UNION ALL"
			" SELECT v.position, v.account_id, v.share, v.scope, 2, 'default',"
			"  l.limit_id, l.version, l.resource, l.model, l.period, l.amount, l.overdraft, l.policy,"
			"  l.prorated_at, l.prorated_amount, $1,"
			"  CASE WHEN NOT v.share THEN a.created_at END"
			" FROM levels v JOIN accounts a ON a.account_id = v.account_id"
			" JOIN quota.limits l ON l.root_id = $1"
			"  AND l.account_id = CASE WHEN v.share THEN v.account_id ELSE a.parent_id END"
			"  AND l.child_kind = CASE WHEN v.share THEN 'user' ELSE a.kind END"
			" UNION ALL"
			" SELECT v.position, v.account_id, v.share, v.scope, 3, 'plan',"
			"  l.limit_id, l.version, l.resource, l.model, l.period, l.amount, l.overdraft, l.policy,"
			"  NULL, NULL, 0,"
			"  LEAST(v.plan_since, (SELECT pg_catalog.min(o.since) FROM quota.past_plans o"
			"   WHERE o.root_id = $1 AND o.account_id = v.plan_account_id AND o.plan = v.plan))"
			" FROM levels v JOIN quota.plan_limits l ON l.plan = v.plan)"
			" SELECT DISTINCT ON (position, share, resource, model, period)"
			"  account_id, share, scope, source, limit_id, version, resource, model, period,"
			"  (amount * 1000000)::pg_catalog.int8, (overdraft * 1000000)::pg_catalog.int8, policy,"
			"  prorated_at, (prorated_amount * 1000000)::pg_catalog.int8,"
			"  EXISTS (SELECT FROM quota.limit_terms t WHERE t.root_id = terms_root"
			"   AND t.limit_id = candidates.limit_id AND (t.rollover > 0 OR t.carry_overage)),"
			"  applies_from"
			" FROM candidates"
			" ORDER BY position, share, resource, model, period USING OPERATOR(quota.<), rank",
		.argument_count = 3,
		.argument_types = {INT8OID, INT8ARRAYOID, TEXTOID},
	};
	const char *user_id = spender_share_user(spender);
	CollectState state = {context, limits, 0, user_id};
	Datum elements[LEVELS_MAX];
	Datum arguments[3];
	QueryScope scope;

	for (int i = 0; i < spender->level_count; i++)
		elements[i] = Int64GetDatum(spender->levels[i]);
	arguments[0] = Int64GetDatum(spender->root_id);
	arguments[1] =
		PointerGetDatum(construct_array(elements, spender->level_count, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	arguments[2] = user_id == NULL ? (Datum) 0 : CStringGetTextDatum(user_id);

	limits->count = 0;
	limits->limits = NULL;
	query_begin(&scope);
	query_run(&scope, &query, arguments, user_id == NULL ? "  n" : NULL, collect_limit, &state);
	limits_read_histories(&scope, spender, user_id, limits, context);
	query_end(&scope);
	add_open_holds(spender, &state);
}

/*
 * limits_of_spender
 *		Returns the limits that apply to what a row states: its levels and user.
 *
 * The caller has entered the root. The result is good until this backend next
 * asks for limits; it may be changed only through level_limit_counter().
 */
SpendLimits *
limits_of_spender(const Spender *spender, uint32 root_hash)
{
	LimitsEntry *entry = limits_entry(spender);
	Generation generation = {0, 0, 0};
	bool trusted = escrow_is_attached() && !RecoveryInProgress();
	MemoryContext context;

	if (trusted)
		generation = escrow_generation(root_hash);
	if (trusted && entry->context != NULL && entry->generation.root == generation.root &&
		entry->generation.global == generation.global &&
		entry->local_epoch == changes_local_epoch() && entry->level_count == spender->level_count &&
		memcmp(entry->levels, spender->levels, sizeof(int64) * spender->level_count) == 0)
		return &entry->limits;

	if (entry->context != NULL)
		directory_retire_context(entry->context);
	entry->context = NULL;
	context = AllocSetContextCreate(CurrentMemoryContext, "xavier_quota limits of a path",
									ALLOCSET_SMALL_SIZES);
	limits_read(spender, &entry->limits, context);
	MemoryContextSetParent(context, limits_context);
	entry->context = context;
	entry->generation = generation;
	entry->local_epoch = changes_local_epoch();
	entry->level_count = spender->level_count;
	memcpy(entry->levels, spender->levels, sizeof(int64) * spender->level_count);
	return &entry->limits;
}

static void
counter_key(const LevelLimit *limit, const Spender *spender, int64 private_id, CounterKey *key)
{
	memset(key, 0, sizeof(CounterKey));
	key->database = MyDatabaseId;
	key->extension = quota_extension();
	key->root_id = spender->root_id;
	key->account_id = limit->account_id;
	key->limit_id = limit->limit_id;
	key->version = limit->version;
	key->private_id = private_id;
	if (limit->share)
		strlcpy(key->user_id, spender->user_id, USER_ID_SIZE);
}

/* The one series of a limit that looks back, with the slot of a row. */
static void
series_counter(LevelLimit *limit, const Spender *spender, uint32 root_hash, int64 private_id,
			   TimestampTz held_at, TimestampTz now)
{
	CounterSpec *counter = &limit->counter;
	SeriesRule *rule = limit->rule;
	SeriesRange range;

	if (counter->resource == NULL || counter->key.private_id != private_id)
	{
		counter_key(limit, spender, private_id, &counter->key);
		counter->key.period_start = DT_NOBEGIN;
		counter->hash = counter_hash(&counter->key, root_hash);
	}
	counter->period_end = DT_NOEND;
	counter->rule = rule;
	counter->slot = rule->slot_start(rule, held_at);
	if (limit->carries)
	{
		range = carry_range(rule, now);
		period_bounds(limit->period, held_at, &limit->period_start, &limit->period_end);
	}
	else
	{
		range = period_kind(limit->period) == PERIOD_ROLLING ? rolling_range(rule, now)
															 : refill_range(rule, now);
		limit->period_start = now - period_window_us(limit->period);
		limit->period_end = DT_NOEND;
	}
	counter->load_from = range.load_from;
	counter->exact_from = range.exact_from;
	counter->needed = range.needed;
}

static void
plain_counter(LevelLimit *limit, const Spender *spender, uint32 root_hash, int64 private_id,
			  TimestampTz held_at)
{
	CounterSpec *counter = &limit->counter;
	CounterKey *key = &counter->key;

	if (counter->resource != NULL && held_at >= key->period_start &&
		held_at < counter->period_end && key->private_id == private_id)
		return;
	counter_key(limit, spender, private_id, key);
	period_bounds(limit->period, held_at, &key->period_start, &counter->period_end);
	counter->hash = counter_hash(key, root_hash);
	limit->period_start = key->period_start;
	limit->period_end = counter->period_end;
}

/*
 * level_limit_counter
 *		Returns the counter in which a row of the spender with this time of hold
 *		counts for a limit, for an operation at now. Good until the next call for the
 *		same limit.
 */
const CounterSpec *
level_limit_counter(LevelLimit *limit, const Spender *spender, uint32 root_hash,
					TimestampTz held_at, TimestampTz now)
{
	CounterSpec *counter = &limit->counter;
	int64 private_id = changes_private_id(root_hash);

	if (limit->rule != NULL)
		series_counter(limit, spender, root_hash, private_id, held_at, now);
	else
		plain_counter(limit, spender, root_hash, private_id, held_at);
	counter->root_hash = root_hash;
	counter->resource = limit->resource;
	counter->model_pattern = limit->model_pattern;
	return counter;
}

/*
 * level_limit_amount
 *		Returns how much may be used in the period of the counter last asked for: a
 *		function of the definition and the period, so nothing has to be set back.
 */
int64
level_limit_amount(const LevelLimit *limit)
{
	Assert(limit->counter.resource != NULL);
	return limit->prorated_at >= limit->period_start && limit->prorated_at < limit->period_end
			   ? limit->prorated_amount
			   : limit->amount;
}
