/*
 * payer.c
 *		Who pays: context, not person. Finds the spend path of a user in a project
 *		and what decides whether the user may spend there.
 *
 * The project decides who pays. Access is that every account of the path, and the
 * user's share where it has an account of its own, is active; that the nearest
 * entry for the user among the members of the path's accounts is active (the
 * user of a personal root needs none); and that every level of the path lets the
 * model pass.
 *
 * Answers are kept per backend and (user, project), and read again when the
 * generations, the names of accounts or this transaction's own changes say so.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "directory/changes.h"
#include "directory/directory.h"
#include "errors.h"
#include "model_pattern.h"
#include "query.h"
#include "relations.h"
#include "types/scope.h"

#define CACHE_MAX 8192
#define PROJECT_ID_MAX 1024

/* Texts that identify a payer; hashed and compared as strings. */
typedef struct PayerKey
{
	char text[USER_ID_SIZE + PROJECT_ID_MAX];
} PayerKey;

typedef struct PayerEntry
{
	PayerKey key;
	MemoryContext context; /* of what payer points to; NULL: just made */
	Oid extension;
	Generation generation;
	uint64 local_epoch;
	Payer payer;
} PayerEntry;

static HTAB *payer_cache = NULL;
static MemoryContext payer_context = NULL;

/*
 * payer_entry
 *		Returns what is remembered of a payer; with HASH_FIND NULL if nothing is,
 *		with HASH_ENTER an entry to be filled in.
 */
static PayerEntry *
payer_entry(const char *user_id, const char *project_id, HASHACTION action)
{
	char key[sizeof(PayerKey)];
	PayerEntry *entry;
	bool found;

	if (payer_cache == NULL && action == HASH_FIND)
		return NULL;
	if (payer_cache != NULL && action == HASH_ENTER &&
		hash_get_num_entries(payer_cache) >= CACHE_MAX)
	{
		directory_retire_context(payer_context);
		payer_cache = NULL;
	}
	if (payer_cache == NULL)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "xavier_quota payers",
													  ALLOCSET_DEFAULT_SIZES);
		HASHCTL info = {.keysize = sizeof(PayerKey),
						.entrysize = sizeof(PayerEntry),
						.hcxt = context};

		payer_cache =
			hash_create("xavier_quota payers", 256, &info, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		payer_context = context;
		MemoryContextSetParent(context, CacheMemoryContext);
	}

	/* \x01 cannot be part of either: see payer_check_arguments(). */
	snprintf(key, sizeof(key), "%s\x01%s", user_id, project_id);
	entry = hash_search(payer_cache, key, action, &found);
	if (!found && entry != NULL)
		entry->context = NULL;
	return entry;
}

/* ASCII control characters are in no name; see types/scope.c. */
static bool
is_name(const char *text, int size)
{
	if (text[0] == '\0' || strlen(text) >= (size_t) size)
		return false;
	for (; *text != '\0'; text++)
	{
		if ((unsigned char) *text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static void
payer_check_arguments(const char *user_id, const char *project_id)
{
	if (!is_name(user_id, USER_ID_SIZE))
		ereport(ERROR,
				(errcode(ERRCODE_QUOTA_UNKNOWN_USER), errmsg("user \"%s\" does not exist", user_id),
				 errdetail("The identifier of a user has 1 to %d bytes and no control "
						   "characters.",
						   USER_ID_SIZE - 1)));
	if (!is_name(project_id, PROJECT_ID_MAX))
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_PROJECT),
						errmsg("project \"%s\" does not exist", project_id),
						errdetail("The identifier of a project has 1 to %d bytes and no control "
								  "characters.",
								  PROJECT_ID_MAX - 1)));
}

/* The account that a project's identifier stands for. */
typedef struct FoundProject
{
	int64 root_id;
	int64 account_id;
	bool is_share;
	char *scopes[2];
	int count;
	MemoryContext context;
} FoundProject;

static void
collect_project(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	FoundProject *found = arg;
	MemoryContext old = MemoryContextSwitchTo(found->context);

	found->root_id = DatumGetInt64(values[0]);
	found->account_id = DatumGetInt64(values[1]);
	found->is_share = DatumGetBool(values[2]);
	if (found->count < 2)
		found->scopes[found->count] = scope_to_cstring(DatumGetScopeP(values[3]));
	found->count++;
	MemoryContextSwitchTo(old);
}

static void
find_by_scope(QueryScope *scope, const Scope *path, FoundProject *found)
{
	static PreparedQuery query = {
		.text = "SELECT root_id, account_id, kind = 'user' AND parent_id IS NOT NULL, scope"
				" FROM quota.accounts WHERE scope OPERATOR(quota.=) $1::quota.scope",
		.argument_count = 1,
		.argument_types = {TEXTOID},
	};
	Datum argument = CStringGetTextDatum(scope_to_cstring(path));

	query_run(scope, &query, &argument, NULL, collect_project, found);
}

static void
find_project(QueryScope *scope, const char *project_id, FoundProject *found)
{
	static PreparedQuery query = {
		.text = "SELECT root_id, account_id, false, scope FROM quota.accounts"
				" WHERE kind = 'project' AND name = $1 ORDER BY scope USING OPERATOR(quota.<)"
				" LIMIT 2",
		.argument_count = 1,
		.argument_types = {TEXTOID},
	};
	Datum argument = CStringGetTextDatum(project_id);

	query_run(scope, &query, &argument, NULL, collect_project, found);
	if (found->count == 0 && strchr(project_id, ':') != NULL)
	{
		Scope *path = scope_parse(project_id);

		find_by_scope(scope, path, found);
		found->is_share = scope_depth(path) > 1 && strcmp(scope_kind(path), "user") == 0;
	}

	if (found->count > 1)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_AMBIGUOUS_PROJECT),
						errmsg("project \"%s\" is not unique", project_id),
						errdetail("There are \"%s\" and \"%s\", for example.", found->scopes[0],
								  found->scopes[1]),
						errhint("Name the project by its full scope.")));
	if (found->is_share)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_PROJECT),
						errmsg("\"%s\" is the share of a user, not a project", project_id),
						errhint("Name the project that the request is made in.")));
	if (found->count == 0)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_PROJECT),
						errmsg("project \"%s\" does not exist", project_id),
						errhint("Create it with quota.put_account(), and name it as it is named "
								"there, or by its full scope.")));
}

typedef struct PathState
{
	MemoryContext context;
	Payer *payer;
	const char *user_id;
	bool personal;
	AccessCheck checks[2 * LEVELS_MAX + 1];
	const char *rule_scopes[2 * LEVELS_MAX];
	int64 rule_accounts[2 * LEVELS_MAX];
	char *member_scope; /* of the nearest entry, NULL if none */
	bool member_active;
} PathState;

static void
path_add_check(PathState *state, const char *check, const char *scope, bool passed,
			   const char *reason)
{
	Payer *payer = state->payer;
	AccessCheck *entry = &state->checks[payer->check_count++];

	entry->check = check;
	entry->scope = scope;
	entry->passed = passed;
	entry->reason = passed ? NULL : reason;
}

static void
path_add_rule_scope(PathState *state, int64 account_id, const char *scope)
{
	Payer *payer = state->payer;

	state->rule_accounts[payer->rule_scope_count] = account_id;
	state->rule_scopes[payer->rule_scope_count++] = scope;
}

/* The share of the path's user in one of its accounts, as text that is kept. */
static char *
share_text(const PathState *state, const Scope *scope)
{
	return MemoryContextStrdup(state->context,
							   scope_to_cstring(scope_append(scope, "user", state->user_id)));
}

/* One account of the path, from the root down. What is written anew for it is not kept. */
static void
collect_level(Datum *values, bool *nulls, void *arg)
{
	PathState *state = arg;
	Payer *payer = state->payer;
	Spender *spender = &payer->spender;
	char *path_text =
		MemoryContextStrdup(state->context, scope_to_cstring(DatumGetScopeP(values[1])));
	char *share = nulls[6] ? NULL : share_text(state, DatumGetScopeP(values[1]));
	MemoryContext old = MemoryContextSwitchTo(state->context);
	Scope *scope = (Scope *) PG_DETOAST_DATUM_COPY(values[1]);

	if (spender->level_count == LEVELS_MAX)
		elog(ERROR, "path of \"%s\" is too deep", path_text);
	if (spender->level_count == 0)
	{
		payer->root = path_text;
		payer->root_hash = scope_root_hash(scope);
		state->personal = strcmp(TextDatumGetCString(values[2]), "user") == 0 &&
						  strcmp(TextDatumGetCString(values[3]), state->user_id) == 0;
	}
	spender->levels[spender->level_count++] = DatumGetInt64(values[0]);
	spender->scope = scope;
	payer->scope = path_text;

	path_add_check(state, "account_active", path_text, DatumGetBool(values[4]), "account_inactive");
	path_add_rule_scope(state, DatumGetInt64(values[0]), path_text);
	if (!nulls[5])
	{
		state->member_scope = path_text;
		state->member_active = DatumGetBool(values[5]);
	}
	if (share != NULL)
	{
		path_add_check(state, "account_active", share, DatumGetBool(values[6]), "account_inactive");
		path_add_rule_scope(state, DatumGetInt64(values[7]), share);
	}
	MemoryContextSwitchTo(old);
}

static void
read_path(QueryScope *scope, const FoundProject *found, PathState *state)
{
	static PreparedQuery query = {
		.text = "WITH RECURSIVE path AS ("
				" SELECT a.account_id, a.parent_id, a.scope, a.kind, a.name, a.active, 0 AS up"
				" FROM quota.accounts a WHERE a.root_id = $1 AND a.account_id = $2"
				" UNION ALL"
				" SELECT a.account_id, a.parent_id, a.scope, a.kind, a.name, a.active, p.up + 1"
				" FROM path p JOIN quota.accounts a"
				"  ON a.root_id = $1 AND a.account_id = p.parent_id)"
				" SELECT p.account_id, p.scope, p.kind, p.name, p.active, m.active, s.active,"
				"  s.account_id"
				" FROM path p"
				" LEFT JOIN quota.members m ON m.root_id = $1 AND m.account_id = p.account_id"
				"  AND m.user_id = $3"
				" LEFT JOIN quota.accounts s ON s.root_id = $1 AND s.parent_id = p.account_id"
				"  AND s.kind = 'user' AND s.name = $3"
				" ORDER BY p.up DESC",
		.argument_count = 3,
		.argument_types = {INT8OID, INT8OID, TEXTOID},
	};
	Datum arguments[] = {Int64GetDatum(found->root_id), Int64GetDatum(found->account_id),
						 CStringGetTextDatum(state->user_id)};

	query_run(scope, &query, arguments, NULL, collect_level, state);
}

typedef struct RuleState
{
	MemoryContext context;
	PathState *path;
	int space;
} RuleState;

static void
collect_rule(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	RuleState *state = arg;
	Payer *payer = state->path->payer;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	int64 account_id = DatumGetInt64(values[0]);
	ModelRule *rule;

	if (payer->rule_count == state->space)
	{
		state->space = Max(8, state->space * 2);
		payer->rules = payer->rules == NULL
						   ? palloc(sizeof(ModelRule) * state->space)
						   : repalloc(payer->rules, sizeof(ModelRule) * state->space);
	}
	rule = &payer->rules[payer->rule_count++];
	rule->level = 0;
	while (state->path->rule_accounts[rule->level] != account_id)
		rule->level++;
	rule->pattern = TextDatumGetCString(values[1]);
	rule->allow = DatumGetBool(values[2]);
	MemoryContextSwitchTo(old);
}

static void
read_rules(QueryScope *scope, PathState *path)
{
	static PreparedQuery query = {
		.text = "SELECT account_id, pattern, allow FROM quota.model_rules"
				" WHERE root_id = $1 AND account_id = ANY ($2)",
		.argument_count = 2,
		.argument_types = {INT8OID, INT8ARRAYOID},
	};
	RuleState state = {path->context, path, 0};
	int count = path->payer->rule_scope_count;
	Datum elements[2 * LEVELS_MAX];
	Datum arguments[2];

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(path->rule_accounts[i]);
	arguments[0] = Int64GetDatum(path->payer->spender.root_id);
	arguments[1] = PointerGetDatum(
		construct_array(elements, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	query_run(scope, &query, arguments, NULL, collect_rule, &state);
}

static void
ignore_row(Datum *values pg_attribute_unused(), bool *nulls pg_attribute_unused(),
		   void *arg pg_attribute_unused())
{
}

/* A user that nobody knows is a mistake of the caller, not a refusal. */
static void
require_known_user(QueryScope *scope, const char *user_id)
{
	static PreparedQuery query = {
		.text = "SELECT 1 WHERE EXISTS (SELECT FROM quota.members WHERE user_id = $1)"
				" OR EXISTS (SELECT FROM quota.accounts WHERE kind = 'user' AND name = $1)",
		.argument_count = 1,
		.argument_types = {TEXTOID},
	};
	Datum argument = CStringGetTextDatum(user_id);

	if (query_run(scope, &query, &argument, NULL, ignore_row, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_QUOTA_UNKNOWN_USER), errmsg("user \"%s\" does not exist", user_id),
				 errhint("Make the user a member with quota.put_member(), or create a "
						 "personal account with quota.put_account().")));
}

/* What is kept is as long as it has to be: thousands are. */
static void *
copy_array(MemoryContext context, const void *array, Size size, int count)
{
	return memcpy(MemoryContextAlloc(context, size * count), array, size * count);
}

/*
 * payer_read
 *		Reads the payer of a user in a project, as of now, into a context.
 */
static void
payer_read(const char *user_id, const char *project_id, Payer *payer, MemoryContext context)
{
	FoundProject found = {.context = CurrentMemoryContext};
	PathState path = {.context = context, .payer = payer};
	QueryScope scope;

	memset(payer, 0, sizeof(Payer));
	path.user_id = MemoryContextStrdup(context, user_id);

	query_begin(&scope);
	find_project(&scope, project_id, &found);
	payer->spender.root_id = found.root_id;
	read_path(&scope, &found, &path);
	if (payer->spender.level_count == 0)
		elog(ERROR, "account of project \"%s\" has no path", project_id);
	if (!path.personal)
	{
		if (path.member_scope == NULL)
			require_known_user(&scope, user_id);
		path_add_check(&path, "member", path.member_scope ? path.member_scope : payer->root,
					   path.member_scope != NULL && path.member_active, "not_a_member");
	}
	payer->spender.user_id = path.user_id;
	read_rules(&scope, &path);
	query_end(&scope);
	payer->checks = copy_array(context, path.checks, sizeof(AccessCheck), payer->check_count);
	payer->rule_scopes =
		copy_array(context, path.rule_scopes, sizeof(char *), payer->rule_scope_count);
}

/*
 * payer_find_root
 *		Returns the hash of the root that a project's identifier leads to, as of
 *		now, and the account it stands for.
 */
static uint32
payer_find_root(const char *project_id, int64 *account_id)
{
	FoundProject found = {.context = CurrentMemoryContext};
	QueryScope scope;

	query_begin(&scope);
	find_project(&scope, project_id, &found);
	query_end(&scope);
	*account_id = found.account_id;
	return scope_root_hash(scope_parse(found.scopes[0]));
}

/*
 * payer_is_current
 *		Says whether what is remembered is still true. Where all that has changed
 *		is which accounts there are, the project's name may still mean the same.
 */
static bool
payer_is_current(PayerEntry *entry, const char *project_id, Generation generation)
{
	const Spender *spender = &entry->payer.spender;
	int64 account_id;

	if (entry->extension != quota_extension() || entry->generation.root != generation.root ||
		entry->generation.global != generation.global ||
		entry->local_epoch != changes_local_epoch())
		return false;
	if (entry->generation.names == generation.names)
		return true;
	if (payer_find_root(project_id, &account_id) != entry->payer.root_hash ||
		account_id != spender->levels[spender->level_count - 1])
		return false;
	entry->generation.names = generation.names;
	return true;
}

/*
 * payer_refresh
 *		Reads a payer and remembers it. Names that nobody knows end in an error and
 *		are not remembered: callers can make up any number of them.
 */
static PayerEntry *
payer_refresh(const char *user_id, const char *project_id)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "xavier_quota payer", ALLOCSET_SMALL_SIZES);
	Oid extension = quota_extension();
	PayerEntry *entry;
	Payer payer;

	payer_read(user_id, project_id, &payer, context);
	entry = payer_entry(user_id, project_id, HASH_ENTER);
	if (entry->context != NULL)
		directory_retire_context(entry->context);
	entry->payer = payer;
	memset(&entry->generation, 0, sizeof(Generation));
	entry->extension = extension;
	entry->local_epoch = changes_local_epoch();
	MemoryContextSetParent(context, payer_context);
	entry->context = context;
	return entry;
}

/*
 * payer_enter
 *		Finds who pays for a user in a project, and enters the root: its lock is
 *		taken and the generation of its definitions given back.
 *
 * The global lock is held already. The result is good until this backend next
 * asks for a payer. Errors: XQ001 unknown user, XQ002 unknown project, XQ009
 * ambiguous name.
 */
const Payer *
payer_enter(const char *user_id, const char *project_id, Generation *generation)
{
	PayerEntry *entry;
	uint32 root_hash;
	int64 account_id;

	payer_check_arguments(user_id, project_id);
	entry = payer_entry(user_id, project_id, HASH_FIND);

	/* What is remembered, or a look without a lock, tells which root to lock. */
	if (entry == NULL || entry->extension != quota_extension())
		root_hash = payer_find_root(project_id, &account_id);
	else
		root_hash = entry->payer.root_hash;
	for (;; root_hash = entry->payer.root_hash)
	{
		directory_enter(root_hash, generation);
		if (entry != NULL && payer_is_current(entry, project_id, *generation))
			return &entry->payer;
		entry = payer_refresh(user_id, project_id);

		/* What was read under the lock of another root is read again under the right one. */
		if (entry->payer.root_hash == root_hash)
		{
			entry->generation = *generation;
			return &entry->payer;
		}
	}
}

/*
 * payer_look
 *		Finds who pays without locks and without trusting what is remembered, for
 *		a standby.
 */
const Payer *
payer_look(const char *user_id, const char *project_id)
{
	payer_check_arguments(user_id, project_id);
	return &payer_refresh(user_id, project_id)->payer;
}

/*
 * payer_check_access
 *		Fills checks with everything that decides whether the payer's user may use
 *		a model (NULL: no model) there, passed or not; returns their number. A rule
 *		speaks of the model if it matches its name or the one that the caller gave.
 */
int
payer_check_access(const Payer *payer, const char *model, const char *given, AccessCheck **checks)
{
	int count = payer->check_count;

	*checks = palloc(sizeof(AccessCheck) * (count + payer->rule_scope_count));
	memcpy(*checks, payer->checks, sizeof(AccessCheck) * count);
	for (int level = 0; level < payer->rule_scope_count && model != NULL; level++)
	{
		bool has_rules = false;
		bool has_allow = false;
		bool allowed = false;
		bool denied = false;

		for (int i = 0; i < payer->rule_count; i++)
		{
			const ModelRule *rule = &payer->rules[i];

			if (rule->level != level)
				continue;
			has_rules = true;
			has_allow |= rule->allow;
			if (model_matches(rule->pattern, model) || model_matches(rule->pattern, given))
			{
				allowed |= rule->allow;
				denied |= !rule->allow;
			}
		}
		if (has_rules)
		{
			AccessCheck *check = &(*checks)[count++];

			check->check = "model";
			check->scope = payer->rule_scopes[level];
			check->passed = !denied && (allowed || !has_allow);
			check->reason = check->passed ? NULL : "model_denied";
		}
	}
	return count;
}

/*
 * payer_find_account
 *		Fills the spender of an account, or of a share ('company:acme/user:ann'),
 *		without a user's request behind it. Returns false if there is no such
 *		account.
 */
bool
payer_find_account(const Scope *path, Spender *spender)
{
	FoundProject found = {.context = CurrentMemoryContext};
	Payer payer;
	PathState state = {.context = CurrentMemoryContext, .payer = &payer};
	const Scope *account = path;
	QueryScope scope;

	memset(spender, 0, sizeof(Spender));
	memset(&payer, 0, sizeof(Payer));
	if (scope_is_wildcard(path))
		return false;
	if (scope_depth(path) > 1 && strcmp(scope_kind(path), "user") == 0)
	{
		spender->user_id = scope_name(path);
		account = scope_parent(path);
	}
	state.user_id = spender->user_id ? spender->user_id : "";

	query_begin(&scope);
	find_by_scope(&scope, account, &found);
	if (found.count > 0)
		read_path(&scope, &found, &state);
	query_end(&scope);
	if (payer.spender.level_count == 0)
		return false;
	spender->root_id = found.root_id;
	spender->level_count = payer.spender.level_count;
	memcpy(spender->levels, payer.spender.levels, sizeof(spender->levels));
	spender->scope = payer.spender.scope;
	return true;
}
