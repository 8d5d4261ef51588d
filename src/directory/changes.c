/*
 * changes.c
 *		Makes the definitions stand still under an operation (invariant 6).
 *
 * Triggers on every table of definitions and on the ledger, in C and ENABLE
 * ALWAYS, note what a transaction changes, whoever writes: the functions of this
 * extension, a COPY, a superuser's repair, a logical apply worker. (The engine's
 * own writes to the ledger go around triggers, see ledger/ledger_write.c; the
 * fold announces itself.) A note is of a root, or global, and of one of two
 * kinds:
 *
 *		seen		how much, or something that only adds: the generation is
 *					bumped at commit; no lock
 *		counted		what is counted: also, the exclusive lock is taken before the
 *					commit, so that no operation has chosen its counters by the
 *					old definitions and not finished, and the root's counters are
 *					forgotten at commit, since those that did not apply for a
 *					while were not kept up
 *
 * When a limit ceases to apply, or applies again, matters to what it carries. The instant is
 * that at which nobody uses it any more: it is set under these locks (quota._set_instants()).
 *
 * A transaction that changed what is counted and then operates takes the
 * exclusive lock at once, and works on private counters, whose key has a
 * number that is used once: nobody else can know them, and they are left
 * behind when the transaction ends or changes definitions again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "directory/changes.h"
#include "directory/directory.h"
#include "escrow/escrow.h"
#include "escrow/locks.h"
#include "query.h"
#include "relations.h"
#include "types/scope.h"
#include "xavier_quota.h"

PG_FUNCTION_INFO_V1(quota_definition_changed);
PG_FUNCTION_INFO_V1(quota_ledger_changed);
PG_FUNCTION_INFO_V1(quota_event_refuses_change);
PG_FUNCTION_INFO_V1(quota_instant_of_commit);

/* With more notes than this in one transaction, all roots stand still. */
#define NOTES_MAX 64

typedef struct ChangeNote
{
	uint32 root_hash;
	bool global; /* root_hash does not matter */
	bool counted;
	bool names;
	int nest_level;
} ChangeNote;

static ChangeNote *notes = NULL;
static int note_count = 0;
static int note_space = 0;
static int64 private_id = 0;
static uint64 local_epoch = 1;
static bool own_write = false;

/* Rows of this transaction have waited for their instant; and perhaps do so now. */
static bool instants_noted = false;
static bool instants_pending = false;
static TimestampTz instant_noted_at = 0; /* what it takes for that instant itself */

/*
 * changes_local_epoch
 *		Returns a number that changes when definitions, as this backend sees them
 *		within its transaction, may have changed.
 */
uint64
changes_local_epoch(void)
{
	return local_epoch;
}

/*
 * changes_begin_own_write, changes_end_own_write
 *		Bracket writes to the ledger by a query of the engine's own.
 */
void
changes_begin_own_write(void)
{
	own_write = true;
}

void
changes_end_own_write(void)
{
	own_write = false;
}

static void
changes_renew_private_id(void)
{
	bool counted = false;

	for (int i = 0; i < note_count; i++)
		counted |= notes[i].counted;
	private_id = counted && escrow_is_attached() ? escrow_next_private_id() : 0;
}

/* Finds the note of a level among the first ones, NULL if there is none. */
static ChangeNote *
changes_find_note(int count, int level, bool global, uint32 root_hash)
{
	for (int i = 0; i < count; i++)
	{
		if (notes[i].nest_level == level && notes[i].global == global &&
			(global || notes[i].root_hash == root_hash))
			return &notes[i];
	}
	return NULL;
}

/*
 * changes_note
 *		Notes a change by the current subtransaction.
 */
static void
changes_note(bool global, uint32 root_hash, bool counted, bool names)
{
	int level = GetCurrentTransactionNestLevel();
	ChangeNote *note = changes_find_note(note_count, level, global, root_hash);

	if (note == NULL && note_count >= NOTES_MAX && !global)
	{
		global = true;
		counted = true;
		note = changes_find_note(note_count, level, true, 0);
	}
	if (note == NULL)
	{
		if (note_count == note_space)
		{
			int space = Max(NOTES_MAX, note_space * 2);

			notes = notes == NULL ? MemoryContextAlloc(TopMemoryContext, sizeof(ChangeNote) * space)
								  : repalloc(notes, sizeof(ChangeNote) * space);
			note_space = space;
		}
		note = &notes[note_count++];
		memset(note, 0, sizeof(ChangeNote));
		note->global = global;
		note->root_hash = root_hash;
		note->nest_level = level;
	}
	note->counted |= counted;
	note->names |= names;
	local_epoch++;
	if (counted)
		changes_renew_private_id();
}

static bool
changes_has_counted(bool global, uint32 root_hash)
{
	for (int i = 0; i < note_count; i++)
	{
		if (notes[i].counted && notes[i].global == global &&
			(global || notes[i].root_hash == root_hash))
			return true;
	}
	return false;
}

/*
 * changes_lock_global
 *		Takes the global lock as an operation needs it: shared, or exclusive if
 *		this transaction has changed what is counted.
 */
void
changes_lock_global(void)
{
	if (changes_has_counted(true, 0))
		lock_global_exclusive();
	else
		lock_global_shared();
}

static int
compare_roots(const void *a, const void *b)
{
	const ChangeNote *left = a;
	const ChangeNote *right = b;

	/* The global lock comes first, then the roots in ascending order. */
	if (left->global != right->global)
		return left->global ? -1 : 1;
	if (left->root_hash != right->root_hash)
		return left->root_hash < right->root_hash ? -1 : 1;
	return left->nest_level - right->nest_level;
}

/* Takes the exclusive locks of all that is counted otherwise after the commit. */
static void
changes_lock_for_commit(void)
{
	if (note_count == 0 || !escrow_is_attached() || RecoveryInProgress())
		return;

	/* Whoever has dropped the extension since has kept everybody out in doing so. */
	if (!quota_exists())
		return;
	qsort(notes, note_count, sizeof(ChangeNote), compare_roots);
	for (int i = 0; i < note_count; i++)
	{
		if (notes[i].counted)
			lock_exclusive_bounded(notes[i].global, notes[i].root_hash);
	}
}

/* Gives what this transaction has changed, and locked, the instant of now. */
static void
changes_set_instants(void)
{
	Oid argument_type = TIMESTAMPTZOID;
	Datum now;

	changes_lock_for_commit();
	now = TimestampTzGetDatum(clock_now());
	instants_pending = false;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (SPI_execute_with_args("SELECT quota._set_instants($1)", 1, &argument_type, &now, NULL,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not set the instant of a change");
	SPI_finish();
}

/*
 * directory_enter
 *		Takes the lock of a root in the same way, under which its definitions stand
 *		still, and says which generation of them is in force. The global lock is
 *		held already.
 *
 * The order is: locks, generation, then (by whoever needs it) a latest snapshot.
 */
void
directory_enter(uint32 root_hash, Generation *generation)
{
	bool counted = changes_has_counted(false, root_hash);

	/* What it has changed applies to its own operations: from now on, then. */
	if (instants_pending && (counted || changes_has_counted(true, 0)))
		changes_set_instants();
	if (counted)
		lock_root_exclusive(root_hash);
	else
		lock_root_shared(root_hash);
	*generation = escrow_generation(root_hash);
}

/*
 * changes_private_id
 *		Returns what the keys of a root's counters must carry now: 0, or this
 *		transaction's own number if it has changed what they count.
 */
int64
changes_private_id(uint32 root_hash)
{
	if (private_id == 0)
		return 0;
	return changes_has_counted(true, 0) || changes_has_counted(false, root_hash) ? private_id : 0;
}

/* After the commit, with its locks still held. Neither throws nor allocates. */
static void
changes_publish(void)
{
	if (!escrow_is_attached())
		return;
	for (int i = 0; i < note_count; i++)
	{
		const ChangeNote *note = &notes[i];

		if (note->counted && note->global)
			escrow_forget_all();
		else if (note->counted)
			escrow_forget_root(note->root_hash);
		if (note->global)
			escrow_bump_global_generation();
		else
			escrow_bump_generation(note->root_hash);
		if (note->names)
			escrow_bump_names();
	}
}

static void
changes_reset(void)
{
	if (note_count == 0)
		return;
	note_count = 0;
	private_id = 0;
	local_epoch++;
}

static void
changes_xact_callback(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			changes_lock_for_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (note_count > 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has changed quota definitions"),
						 errhint("Change definitions in a transaction that ends with COMMIT.")));
			break;
		case XACT_EVENT_COMMIT:
			changes_publish();
			changes_reset();
			own_write = instants_noted = instants_pending = false;
			break;
		case XACT_EVENT_PREPARE:
			instants_noted = instants_pending = false;
			break;
		case XACT_EVENT_ABORT:
			changes_reset();
			own_write = instants_noted = instants_pending = false;
			break;
		default:
			break;
	}
}

static void
changes_subxact_callback(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
						 SubTransactionId parent pg_attribute_unused(),
						 void *arg pg_attribute_unused())
{
	int level = GetCurrentTransactionNestLevel();
	bool dropped = false;
	int kept = 0;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		own_write = false;
		/* What it has given their instants waits again. */
		instants_pending = instants_noted;
	}
	for (int i = 0; i < note_count; i++)
	{
		ChangeNote note = notes[i];
		ChangeNote *above = NULL;

		if (note.nest_level >= level && event == SUBXACT_EVENT_ABORT_SUB)
		{
			dropped = true;
			continue;
		}
		if (note.nest_level >= level)
		{
			/* Merged, so that a loop with a subtransaction per turn does not grow the list. */
			note.nest_level = level - 1;
			above = changes_find_note(kept, level - 1, note.global, note.root_hash);
		}
		if (above != NULL)
		{
			above->counted |= note.counted;
			above->names |= note.names;
		}
		else
			notes[kept++] = note;
	}
	note_count = kept;
	if (dropped)
	{
		local_epoch++;
		changes_renew_private_id();
	}
}

/* How the columns of a definition bear on what is counted. */
typedef struct DefinitionClass
{
	const char *table;
	bool global;             /* belongs to no root */
	bool counted_rows;       /* a row that comes or goes changes what is counted */
	bool names;              /* a row that comes adds a name */
	bool terms;              /* see terms_are_counted() */
	const char *instant;     /* the column that is infinity until the commit */
	const char *counted[12]; /* columns whose change does too */
} DefinitionClass;

static const DefinitionClass definition_classes[] = {
	{.table = "accounts",
	 .names = true,
	 .instant = "plan_since",
	 .counted = {"root_id", "account_id", "parent_id", "scope", "plan", "plan_since"}},
	{.table = "members"},
	{.table = "model_rules"},
	{.table = "limits",
	 .counted_rows = true,
	 .counted = {"root_id", "limit_id", "version", "account_id", "user_id", "child_kind",
				 "resource", "model", "period", "rollover", "carry_overage"}},
	{.table = "limit_terms", .terms = true, .instant = "set_at"},
	{.table = "past_limits",
	 .counted_rows = true,
	 .instant = "dropped_at",
	 .counted = {"root_id", "limit_id", "account_id", "user_id", "child_kind", "resource", "model",
				 "period", "set_at", "dropped_at"}},
	{.table = "past_plans",
	 .counted_rows = true,
	 .instant = "until",
	 .counted = {"root_id", "account_id", "plan", "since", "until"}},
	{.table = "grants",
	 .counted_rows = true,
	 .counted = {"root_id", "grant_id", "account_id", "user_id", "limit_id", "amount", "priority",
				 "effective_at", "expires_at", "voided_at", "rollover"}},
	{.table = "plans", .global = true, .counted_rows = true, .counted = {"plan"}},
	{.table = "plan_limits",
	 .global = true,
	 .counted_rows = true,
	 .counted = {"limit_id", "version", "plan", "resource", "model", "period", "rollover",
				 "carry_overage"}},
	{.table = "resources", .global = true, .counted_rows = true, .counted = {"resource", "kind"}},
	{.table = "credit_rates",
	 .global = true,
	 .counted_rows = true,
	 .counted = {"valid_from", "credits_per_usd"}},
};

static const DefinitionClass *
definition_class(const char *table)
{
	for (int i = 0; i < (int) lengthof(definition_classes); i++)
	{
		if (strcmp(definition_classes[i].table, table) == 0)
			return &definition_classes[i];
	}
	elog(ERROR, "table \"%s\" holds no definitions", table);
	return NULL;
}

static bool
column_differs(TriggerData *trigger, const char *column)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	int number = SPI_fnumber(desc, column);
	Form_pg_attribute attribute = TupleDescAttr(desc, number - 1);
	bool old_null;
	bool new_null;
	Datum old_value = heap_getattr(trigger->tg_trigtuple, number, desc, &old_null);
	Datum new_value = heap_getattr(trigger->tg_newtuple, number, desc, &new_null);

	if (old_null || new_null)
		return old_null != new_null;
	return !datum_image_eq(old_value, new_value, attribute->attbyval, attribute->attlen);
}

static void
collect_root_hash(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	*(uint32 *) arg = scope_root_hash(DatumGetScopeP(values[0]));
}

/* The hash of the root of a row, found by its root_id if it has no scope. */
static uint32
row_root_hash(TriggerData *trigger, HeapTuple tuple, bool *found)
{
	static PreparedQuery query = {
		.text = "SELECT scope FROM quota.accounts WHERE root_id = $1 AND account_id = $1",
		.argument_count = 1,
		.argument_types = {INT8OID},
	};
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	int scope_number = SPI_fnumber(desc, "scope");
	uint32 hash = 0;
	bool isnull;
	Datum value;
	QueryScope scope;

	*found = true;
	if (scope_number > 0)
	{
		value = heap_getattr(tuple, scope_number, desc, &isnull);
		if (!isnull)
			return scope_root_hash(DatumGetScopeP(value));
	}
	value = heap_getattr(tuple, SPI_fnumber(desc, "root_id"), desc, &isnull);
	query_begin(&scope);
	*found = query_run(&scope, &query, &value, NULL, collect_root_hash, &hash) > 0;
	query_end(&scope);
	return hash;
}

static void
note_row(TriggerData *trigger, HeapTuple tuple, bool counted, bool names)
{
	int level = GetCurrentTransactionNestLevel();
	const ChangeNote *all = changes_find_note(note_count, level, true, 0);
	bool found;
	uint32 root_hash;

	/* A restore writes millions of rows: once all stands still, do not ask whose they are. */
	if (all != NULL && all->counted && !names)
	{
		local_epoch++;
		changes_renew_private_id();
		return;
	}
	root_hash = row_root_hash(trigger, tuple, &found);

	/* A row of a root that there is not: nothing can have counted it. */
	if (found)
		changes_note(false, root_hash, counted, names);
	else
		changes_note(true, 0, counted, names);
}

/* A share that has an account of its own, and by it a plan, may have been counted before. */
static bool
is_share_with_plan(TriggerData *trigger, HeapTuple tuple)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool no_parent;
	bool no_plan;

	(void) heap_getattr(tuple, SPI_fnumber(desc, "parent_id"), desc, &no_parent);
	(void) heap_getattr(tuple, SPI_fnumber(desc, "plan"), desc, &no_plan);
	return !no_parent && !no_plan;
}

static void
collect_found(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	*(bool *) arg = DatumGetBool(values[0]);
}

/*
 * Terms of a limit that is fed by grants, or terms that shall not have been: what was taken
 * into the opening of a series (balance/carry.c) followed from them. Without grants that is
 * never something of the running period.
 */
static bool
terms_are_counted(TriggerData *trigger)
{
	static PreparedQuery query = {
		.text = "SELECT EXISTS (SELECT FROM quota.grants"
				" WHERE root_id = $1 OR $1 = 0 AND limit_id = $2)",
		.argument_count = 2,
		.argument_types = {INT8OID, INT8OID},
	};
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool counted = true;
	bool isnull;
	Datum arguments[2];
	QueryScope scope;

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return true;
	arguments[0] = heap_getattr(trigger->tg_trigtuple, SPI_fnumber(desc, "root_id"), desc, &isnull);
	arguments[1] =
		heap_getattr(trigger->tg_trigtuple, SPI_fnumber(desc, "limit_id"), desc, &isnull);
	query_begin(&scope);
	(void) query_run(&scope, &query, arguments, NULL, collect_found, &counted);
	query_end(&scope);
	return counted;
}

/* Says whether a row waits for its instant. */
static bool
instant_is_pending(TriggerData *trigger, const DefinitionClass *class)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple tuple =
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	bool isnull;
	Datum value;

	if (class->instant == NULL || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return false;
	value = heap_getattr(tuple, SPI_fnumber(desc, class->instant), desc, &isnull);
	return !isnull && TIMESTAMP_IS_NOEND(DatumGetTimestampTz(value));
}

static void
note_definition(TriggerData *trigger, const DefinitionClass *class)
{
	TriggerEvent event = trigger->tg_event;
	bool counted = class->counted_rows;

	if (instant_is_pending(trigger, class))
	{
		if (!instants_pending)
			instant_noted_at = clock_now();
		instants_noted = instants_pending = true;
	}
	if (class->terms)
		counted = terms_are_counted(trigger);
	else if (TRIGGER_FIRED_BY_UPDATE(event))
	{
		counted = false;
		for (int i = 0; i < (int) lengthof(class->counted) && class->counted[i] != NULL; i++)
			counted |= column_differs(trigger, class->counted[i]);
	}
	else if (class->names && TRIGGER_FIRED_BY_DELETE(event))
		counted = true;
	else if (class->names)
		counted = is_share_with_plan(trigger, trigger->tg_trigtuple);

	if (class->global)
		changes_note(true, 0, counted, false);
	else
	{
		note_row(trigger, trigger->tg_trigtuple, counted, class->names);
		if (TRIGGER_FIRED_BY_UPDATE(event) && counted)
			note_row(trigger, trigger->tg_newtuple, counted, class->names);
	}
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function must be called as an AFTER trigger")));
	return (TriggerData *) fcinfo->context;
}

/*
 * quota_definition_changed
 *		quota._definition_changed(): AFTER trigger, by row and on TRUNCATE, of the
 *		tables of definitions.
 */
Datum
quota_definition_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		changes_note(true, 0, true, true);
	else
		note_definition(trigger, definition_class(RelationGetRelationName(trigger->tg_relation)));
	return PointerGetDatum(NULL);
}

/*
 * quota_ledger_changed
 *		quota._ledger_changed(): AFTER trigger, by row and on TRUNCATE, of the
 *		tables that counters are computed from. Whoever writes them by a query
 *		changes what memory cannot know: the counters are forgotten.
 */
Datum
quota_ledger_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);

	if (own_write)
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		changes_note(true, 0, true, false);
	else
	{
		note_row(trigger, trigger->tg_trigtuple, true, false);
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			note_row(trigger, trigger->tg_newtuple, true, false);
	}
	return PointerGetDatum(NULL);
}

/*
 * quota_event_refuses_change
 *		quota._event_refuses_change(): BEFORE trigger of quota.events. Errors:
 *		55006 unless upkeep moves the row to another partition, here or at the
 *		publisher whose changes are applied here.
 */
Datum
quota_event_refuses_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function must be called as a trigger")));
	if (!own_write && !IsLogicalWorker())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the ledger is append-only"),
						errhint("Correct what was used with quota.adjust().")));
	trigger = (TriggerData *) fcinfo->context;
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}

/*
 * changes_instant
 *		Returns when a limit ceased to apply, or applied again: an instant of this
 *		transaction that is not set yet is that of its first change.
 */
TimestampTz
changes_instant(TimestampTz at)
{
	if (!TIMESTAMP_IS_NOEND(at))
		return at;
	return instants_pending ? instant_noted_at : clock_now();
}

/*
 * quota_instant_of_commit
 *		quota._instant_of_commit(): deferred AFTER trigger of rows that wait for their
 *		instant; the first one sets that of all. Errors: 55P03.
 */
Datum
quota_instant_of_commit(PG_FUNCTION_ARGS)
{
	(void) trigger_data(fcinfo);
	if (instants_pending)
		changes_set_instants();
	return PointerGetDatum(NULL);
}

void
changes_init(void)
{
	RegisterXactCallback(changes_xact_callback, NULL);
	RegisterSubXactCallback(changes_subxact_callback, NULL);
}
