/*
 * closing.c
 *		After a generation: settle, release, expire. A hold is closed once.
 *
 *		called \ state | open     | settled             | released    | expired
 *		settle         | settles  | replays the receipt | late charge, once
 *		release        | releases | error XQ101         | replays     | replays
 *		extend         | extends  | error XQ101         | error XQ102 | held anew
 *
 * Invariant (3), exactly once: whoever closes a hold locks its row first; of
 * several, one finds it and the others find the events. What follows a closing
 * (a late charge, a hold held anew) is ordered by the lock of the hold's id.
 *
 * Invariant (5): the counters that the locked row counts in are pinned before
 * anything is written. Memory changes last: what fails before leaves no effect.
 */
#include "postgres.h"

#include <limits.h>

#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "api/closing.h"
#include "api/operation.h"
#include "api/resources.h"
#include "api/verdict.h"
#include "cost/usage.h"
#include "errors.h"
#include "escrow/locks.h"
#include "ledger/hold_id.h"
#include "relations.h"

PG_FUNCTION_INFO_V1(quota_settle);
PG_FUNCTION_INFO_V1(quota_settle_amount);
PG_FUNCTION_INFO_V1(quota_release);
PG_FUNCTION_INFO_V1(quota_expire_holds);

/* One call that closes a hold: what was used, and how it ended. */
typedef struct Closing
{
	pg_uuid_t hold_id;
	EventKind kind;
	Jsonb *usage;         /* to be priced, or NULL */
	const Amount *amount; /* given, or priced */
	const char *outcome;
	const char *reason;
	const char *cost_usd;
	Jsonb *lines;
	TimestampTz now;
} Closing;

static int unknown_grace_seconds = SECS_PER_HOUR;

void
closing_raise_unknown(const pg_uuid_t *id)
{
	ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_HOLD),
					errmsg("hold \"%s\" does not exist",
						   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
					errhint("Record use that was never held with quota.charge().")));
}

void
closing_raise_settled(const pg_uuid_t *id)
{
	ereport(ERROR, (errcode(ERRCODE_QUOTA_HOLD_SETTLED),
					errmsg("hold \"%s\" is settled already",
						   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
					errhint("See quota.hold() for its receipt; correct what was used with "
							"quota.adjust().")));
}

/*
 * closing_find
 *		Finds the events of a hold that is not open. Returns false if there are
 *		none.
 */
bool
closing_find(const pg_uuid_t *id, ClosedHold *closed)
{
	Event *events;

	memset(closed, 0, sizeof(ClosedHold));
	closed->count = ledger_find_events(id, &events);
	if (closed->count == 0)
		return false;
	closed->first = events[0];
	closed->last = events[closed->count - 1];
	for (int i = 0; i < closed->count; i++)
		closed->settled |= events[i].kind != EVENT_RELEASED && events[i].kind != EVENT_EXPIRED;
	closed->state = closed->settled ? "settled" : event_kind_name(closed->last.kind);
	return true;
}

/*
 * closing_find_key
 *		Takes the lock of an idempotency key and looks for it. Errors: XQ103 if it
 *		was used with other arguments.
 */
bool
closing_find_key(int64 root_id, const char *key, int64 fingerprint, KeyRecord *record)
{
	lock_key(root_id, key);
	if (!ledger_find_key(root_id, key, record))
		return false;
	if (record->fingerprint != fingerprint)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_KEY_REUSED),
						errmsg("idempotency key \"%s\" was used with other arguments", key),
						errhint("Use a new key for a new request; repeat a request with the same "
								"arguments.")));
	return true;
}

/*
 * closing_receipt
 *		Writes the receipt of a closed hold from its events: the first answer, with
 *		the levels as they are now.
 */
Jsonb *
closing_receipt(const ClosedHold *closed, TimestampTz now, bool replayed, bool ignored)
{
	const Event *event = &closed->last;
	const Amount *amounts[] = {event->held, event->charged};
	bool closes_hold = event->kind == EVENT_SETTLED || event->kind == EVENT_RELEASED ||
					   event->kind == EVENT_EXPIRED;
	uint32 root_hash = hold_id_root_hash(&event->id);
	LevelSet levels;
	Receipt receipt = {
		.hold_id = &event->id,
		.state = closed->state,
		.outcome = event->outcome,
		.reason = event->reason,
		.replayed = replayed,
		.ignored = ignored,
		.late = event->kind == EVENT_LATE,
		.held = event->held,
		.charged = event->charged,
		.cost_usd = event->cost_usd,
		.levels = &levels,
	};

	if (event->usage != NULL && event->card_id != 0)
		receipt.lines = document_lines(
			cost_price_by_card(event->card_id, event->usage, event->spender.root_id, event->held_at)
				->document);
	if (closes_hold)
		amounts[0] = levels_count_hold(event->held, event->spender.model);
	levels_collect(&levels, &event->spender, root_hash, event->held_at, now, amounts, 2);
	levels_pin_or_compute(&levels);
	levels_look(&levels);
	for (int i = 0; i < levels.count; i++)
		levels.levels[i].requested = amount_get(event->charged, levels.levels[i].limit.resource);
	return receipt_write(&receipt);
}

/* Prices a closing's usage by the card of the hold. */
static void
closing_price(Closing *closing, const Spender *spender, int64 card_id, TimestampTz held_at)
{
	CostQuote *quote;

	if (closing->usage == NULL)
		return;
	if (card_id == 0)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
						errmsg("the hold has no model whose rate card could price usage"),
						errhint("Settle it with quota.settle_amount().")));
	quote = cost_price_by_card(card_id, closing->usage, spender->root_id, held_at);
	closing->amount = quote->ceiling;
	closing->cost_usd = quote->cost_usd;
	closing->lines = document_lines(quote->document);
}

static void
event_of_closing(const Closing *closing, const Spender *spender, Event *event)
{
	memset(event, 0, sizeof(Event));
	event->id = closing->hold_id;
	event->seq = 1;
	event->kind = closing->kind;
	event->spender = *spender;
	event->held = amount_make(NULL, 0);
	event->charged = closing->amount == NULL ? amount_make(NULL, 0) : closing->amount;
	event->cost_usd = closing->cost_usd;
	event->outcome = closing->outcome;
	event->recorded_at = closing->now;
	event->usage = closing->usage;
	event->reason = closing->reason;
	event->expected_micros = -1;
	event->input_bytes = -1;
}

static Jsonb *
receipt_of_event(const Closing *closing, const Event *event, const LevelSet *levels,
				 const char *state)
{
	Receipt receipt = {
		.hold_id = &event->id,
		.state = state,
		.outcome = event->outcome,
		.reason = event->reason,
		.late = event->kind == EVENT_LATE,
		.held = event->held,
		.charged = event->charged,
		.cost_usd = event->cost_usd,
		.lines = closing->lines,
		.levels = levels,
	};

	return receipt_write(&receipt);
}

/*
 * closing_close
 *		Closes a locked open hold. Returns the receipt.
 */
static Jsonb *
closing_close(Closing *closing, Relation holds, const Hold *hold, bool want_receipt)
{
	uint32 root_hash = hold_id_root_hash(&hold->id);
	const Amount *counted = levels_count_hold(hold->amount, hold->spender.model);
	const Amount *amounts[2];
	LevelSet levels;
	Event event;

	closing_price(closing, &hold->spender, hold->card_id, hold->held_at);
	amounts[0] = counted;
	amounts[1] = closing->amount;
	levels_collect(&levels, &hold->spender, root_hash, hold->held_at, closing->now, amounts, 2);
	levels_pin(&levels);

	event_of_closing(closing, &hold->spender, &event);
	event.seq = hold->seq;
	event.held = hold->amount;
	event.held_at = hold->held_at;
	event.card_id = hold->card_id;
	event.expected_micros = hold->expected_micros;
	if (hold->request != NULL)
		event.input_bytes = usage_input_bytes(hold->request);
	ledger_delete_hold(holds, hold);
	ledger_insert_event(&event);
	levels_record(&levels, counted, closing->amount);
	if (!want_receipt)
		return NULL;
	return receipt_of_event(closing, &event, &levels, event_kind_name(closing->kind));
}

/*
 * closing_charge_late
 *		Records the usage of a hold that was released or expired, once.
 */
static Jsonb *
closing_charge_late(Closing *closing, const ClosedHold *closed)
{
	const Spender *spender = &closed->last.spender;
	const Amount *amounts[1];
	LevelSet levels;
	Event event;

	closing_price(closing, spender, closed->last.card_id, closed->last.held_at);
	closing->kind = EVENT_LATE;
	amounts[0] = closing->amount;
	levels_collect(&levels, spender, hold_id_root_hash(&closing->hold_id), closed->last.held_at,
				   closing->now, amounts, 1);
	levels_pin(&levels);

	event_of_closing(closing, spender, &event);
	event.seq = closed->last.seq + 1;
	event.held_at = closed->last.held_at;
	event.card_id = closed->last.card_id;
	ledger_insert_event(&event);
	levels_record(&levels, NULL, closing->amount);
	return receipt_of_event(closing, &event, &levels, "settled");
}

/*
 * closing_lock
 *		Locks the hold if it is open, and returns true; else fills closed.
 *
 * What has no open hold may be held anew or charged late by somebody else at this
 * moment: the lock of the id orders these, so look again under it. Errors: XQ004.
 */
bool
closing_lock(const pg_uuid_t *id, Relation holds, Hold *hold, ClosedHold *closed)
{
	if (ledger_lock_hold(holds, id, true, hold))
		return true;
	lock_hold_id(id);
	if (ledger_lock_hold(holds, id, true, hold))
		return true;
	if (!closing_find(id, closed))
		closing_raise_unknown(id);
	return false;
}

/*
 * closing_enter
 *		Begins a call that names a hold: checks the id, enters its root, reads the clock
 *		and opens quota.holds.
 */
Relation
closing_enter(const char *name, const pg_uuid_t *id, TimestampTz *now)
{
	Generation generation;

	operation_begin(name, true);
	if (!hold_id_is_ours(id))
		closing_raise_unknown(id);
	directory_enter(hold_id_root_hash(id), &generation);
	*now = clock_now();
	return table_open(quota_relation(REL_HOLDS), RowExclusiveLock);
}

/* What is not known yet keeps its hold, and gives it some more time. */
static Jsonb *
closing_keep(const Closing *closing, Relation holds, Hold *hold)
{
	const Amount *amounts[] = {levels_count_hold(hold->amount, hold->spender.model)};
	TimestampTz expires_at = closing->now + (int64) unknown_grace_seconds * USECS_PER_SEC;
	LevelSet levels;
	Event event;

	if (hold->expires_at < expires_at)
	{
		hold->expires_at = expires_at;
		ledger_update_hold(holds, hold);
	}
	event_of_closing(closing, &hold->spender, &event);
	event.held = hold->amount;
	event.charged = amount_make(NULL, 0);
	levels_collect(&levels, &hold->spender, hold_id_root_hash(&hold->id), hold->held_at,
				   closing->now, amounts, 1);
	levels_pin(&levels);
	levels_look(&levels);
	return receipt_of_event(closing, &event, &levels, "open");
}

/* Says whether a settle says the same as what has been recorded. */
static bool
closing_repeats(const Closing *closing, const ClosedHold *closed)
{
	const Event *event = &closed->last;

	if (closing->usage != NULL && event->usage != NULL)
		return VARSIZE(closing->usage) == VARSIZE(event->usage) &&
			   memcmp(closing->usage, event->usage, VARSIZE(event->usage)) == 0;
	return closing->usage == NULL && event->usage == NULL &&
		   amount_is_zero(amount_subtract(closing->amount, event->charged));
}

/* What was used is not known yet: no usage has to be given, and none is read. */
static bool
outcome_is_unknown(const char *outcome)
{
	return strcmp(outcome, "unknown") == 0;
}

/*
 * closing_settle
 *		Answers a settle, whatever the state of the hold.
 */
static Jsonb *
closing_settle(Closing *closing, const char *name)
{
	bool unknown = outcome_is_unknown(closing->outcome);
	Relation holds = closing_enter(name, &closing->hold_id, &closing->now);
	Jsonb *receipt;
	Hold hold;
	ClosedHold closed;

	closing->kind = EVENT_SETTLED;
	if (closing_lock(&closing->hold_id, holds, &hold, &closed))
		receipt = unknown ? closing_keep(closing, holds, &hold)
						  : closing_close(closing, holds, &hold, true);
	else if (closed.settled || unknown)
		receipt = closing_receipt(&closed, closing->now, true,
								  !unknown && !closing_repeats(closing, &closed));
	else
		receipt = closing_charge_late(closing, &closed);
	table_close(holds, NoLock);
	return receipt;
}

static const char *
outcome_argument(FunctionCallInfo fcinfo, int argument)
{
	static const char *const outcomes[] = {"succeeded", "failed", "cancelled", "unknown"};
	char *outcome = operation_text(fcinfo, argument, "outcome");

	for (int i = 0; i < (int) lengthof(outcomes); i++)
	{
		if (strcmp(outcome, outcomes[i]) == 0)
			return outcomes[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown outcome \"%s\"", outcome),
			 errhint("An outcome is succeeded, failed, cancelled or unknown.")));
}

static void
closing_get_id(FunctionCallInfo fcinfo, Closing *closing)
{
	memset(closing, 0, sizeof(Closing));
	operation_require(fcinfo, 0, "hold_id");
	closing->hold_id = *PG_GETARG_UUID_P(0);
}

/*
 * quota_settle
 *		quota.settle(hold_id, usage, outcome): replaces a hold by what was really
 *		used, priced by the card of the hold. Outcome unknown keeps the hold.
 *		Errors: XQ004 unknown hold, XQ201 usage that cannot be priced.
 */
Datum
quota_settle(PG_FUNCTION_ARGS)
{
	Closing closing;

	closing_get_id(fcinfo, &closing);
	closing.outcome = outcome_argument(fcinfo, 2);
	if (!outcome_is_unknown(closing.outcome))
		operation_require(fcinfo, 1, "usage");
	closing.usage = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	PG_RETURN_JSONB_P(closing_settle(&closing, "settle()"));
}

/*
 * quota_settle_amount
 *		quota.settle_amount(hold_id, amount, outcome): the same with an amount in
 *		place of usage.
 */
Datum
quota_settle_amount(PG_FUNCTION_ARGS)
{
	Closing closing;

	closing_get_id(fcinfo, &closing);
	closing.outcome = outcome_argument(fcinfo, 2);
	if (!outcome_is_unknown(closing.outcome))
		operation_require(fcinfo, 1, "amount");
	if (!PG_ARGISNULL(1))
	{
		closing.amount = PG_GETARG_AMOUNT_P(1);
		resources_check_charge(closing.amount, false);
	}
	PG_RETURN_JSONB_P(closing_settle(&closing, "settle_amount()"));
}

/*
 * quota_release
 *		quota.release(hold_id, reason): gives a hold back, nothing was used.
 *		Errors: XQ004 unknown hold, XQ101 if it was settled.
 */
Datum
quota_release(PG_FUNCTION_ARGS)
{
	Closing closing;
	Relation holds;
	Jsonb *receipt;
	Hold hold;
	ClosedHold closed;

	closing_get_id(fcinfo, &closing);
	closing.kind = EVENT_RELEASED;
	closing.reason = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	holds = closing_enter("release()", &closing.hold_id, &closing.now);
	if (closing_lock(&closing.hold_id, holds, &hold, &closed))
		receipt = closing_close(&closing, holds, &hold, true);
	else if (!closed.settled)
		receipt = closing_receipt(&closed, closing.now, true, false);
	else
		closing_raise_settled(&closing.hold_id);
	table_close(holds, NoLock);
	PG_RETURN_JSONB_P(receipt);
}

/*
 * closing_expire_root
 *		Closes open holds of a root that are past their time, at most limit,
 *		passing over those that somebody is closing or prolonging right now, and no
 *		more than there is room for the counters of. The root has been entered. Returns how
 *		many it closed.
 */
int
closing_expire_root(uint32 root_hash, int64 root_id, TimestampTz now, int limit)
{
	Relation holds = table_open(quota_relation(REL_HOLDS), RowExclusiveLock);
	Hold *found;
	int count = ledger_find_expired(root_hash, root_id, now, limit, &found);
	int expired = 0;

	for (int i = 0; i < count && !escrow_has_many_pins(); i++)
	{
		Closing closing = {.hold_id = found[i].id, .kind = EVENT_EXPIRED, .now = now};
		Hold hold;

		CHECK_FOR_INTERRUPTS();
		if (!ledger_lock_hold(holds, &found[i].id, false, &hold) || hold.expires_at > now)
			continue;
		(void) closing_close(&closing, holds, &hold, false);
		expired++;
	}
	table_close(holds, NoLock);
	return expired;
}

/*
 * quota_expire_holds
 *		quota._expire_holds(root_id, root_scope, max): closes holds past their time
 *		under one root; returns how many. For the job, which commits in between.
 */
Datum
quota_expire_holds(PG_FUNCTION_ARGS)
{
	int64 root_id = PG_GETARG_INT64(0);
	uint32 root_hash = scope_root_hash(PG_GETARG_SCOPE_P(1));
	int32 limit = PG_GETARG_INT32(2);
	Generation generation;

	operation_begin("run_maintenance()", true);
	directory_enter(root_hash, &generation);
	ledger_forget_quiet(root_hash);
	PG_RETURN_INT32(closing_expire_root(root_hash, root_id, clock_now(), Max(limit, 0)));
}

void
closing_init(void)
{
	DefineCustomIntVariable("xavier_quota.unknown_grace",
							"Sets how long a hold lives on after a settle with outcome unknown.",
							NULL, &unknown_grace_seconds, SECS_PER_HOUR, 1, INT_MAX, PGC_SUSET,
							GUC_UNIT_S, NULL, NULL, NULL);
}
