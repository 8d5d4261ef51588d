/*
 * definition_triggers.c
 *		Notes what a transaction changes, whoever writes.
 *
 * Triggers on every table of definitions and on the ledger, in C and ENABLE ALWAYS, see
 * the functions of this extension, a COPY, a superuser's repair and a logical apply
 * worker alike. (The engine's own writes to the ledger go around triggers, see
 * ledger/ledger_write.c; the fold announces itself.) How a change bears on what is
 * counted is said for each column of each table here; what follows from it, in changes.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "directory/changes_internal.h"
#include "query.h"
#include "types/scope.h"

PG_FUNCTION_INFO_V1(quota_definition_changed);
PG_FUNCTION_INFO_V1(quota_ledger_changed);
PG_FUNCTION_INFO_V1(quota_event_refuses_change);

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
	bool found;
	uint32 root_hash;

	/* A restore writes millions of rows: once all stands still, do not ask whose they are. */
	if (!names && changes_note_of_all())
		return;
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
		instants_note();
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

	if (changes_is_own_write())
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
	if (!changes_is_own_write() && !IsLogicalWorker())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the ledger is append-only"),
						errhint("Correct what was used with quota.adjust().")));
	trigger = (TriggerData *) fcinfo->context;
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}
