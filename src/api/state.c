/*
 * state.c
 *		What is known now: hold(), remaining().
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/closing.h"
#include "api/operation.h"
#include "api/levels.h"
#include "ledger/hold_id.h"
#include "types/quota.h"

PG_FUNCTION_INFO_V1(quota_hold);
PG_FUNCTION_INFO_V1(quota_remaining);

static void
write_spender(JsonWriter *writer, const Spender *spender)
{
	json_text(writer, "user_id", spender->user_id);
	json_text(writer, "project_id", scope_to_cstring(spender->scope));
	json_text(writer, "model", spender->model);
	json_text(writer, "root", scope_to_cstring(scope_root(spender->scope)));
}

static Jsonb *
describe_open(const Hold *hold)
{
	JsonWriter writer = {NULL, NULL};

	json_begin_object(&writer, NULL);
	json_uuid(&writer, "hold_id", &hold->id);
	json_text(&writer, "state", "open");
	write_spender(&writer, &hold->spender);
	json_amount(&writer, "held", hold->amount);
	json_time(&writer, "held_at", hold->held_at);
	json_time(&writer, "expires_at", hold->expires_at);
	json_document(&writer, "request", hold->request);
	json_null(&writer, "receipt");
	json_end_object(&writer);
	return json_finish(&writer);
}

static Jsonb *
describe_closed(const ClosedHold *closed, TimestampTz now)
{
	JsonWriter writer = {NULL, NULL};

	json_begin_object(&writer, NULL);
	json_uuid(&writer, "hold_id", &closed->last.id);
	json_text(&writer, "state", closed->state);
	write_spender(&writer, &closed->last.spender);
	json_amount(&writer, "held", closed->first.held);
	json_time(&writer, "held_at", closed->first.held_at);
	json_null(&writer, "expires_at");
	json_null(&writer, "request");
	json_document(&writer, "receipt", closing_receipt(closed, now, true, false));
	json_end_object(&writer);
	return json_finish(&writer);
}

/*
 * quota_hold
 *		quota.hold(hold_id): the state of a hold, what it holds, and its receipt if
 *		it is closed. For a worker that lost an answer. Errors: XQ004.
 */
Datum
quota_hold(PG_FUNCTION_ARGS)
{
	pg_uuid_t id;
	TimestampTz now;
	Generation generation;
	Hold hold;
	ClosedHold closed;

	operation_require(fcinfo, 0, "hold_id");
	id = *PG_GETARG_UUID_P(0);
	operation_begin("hold()", false);
	if (!hold_id_is_ours(&id))
		closing_raise_unknown(&id);
	if (!operation_on_standby())
		directory_enter(hold_id_root_hash(&id), &generation);
	now = clock_now();
	if (ledger_find_hold(&id, &hold))
		PG_RETURN_JSONB_P(describe_open(&hold));
	if (!closing_find(&id, &closed))
		closing_raise_unknown(&id);
	PG_RETURN_JSONB_P(describe_closed(&closed, now));
}

/*
 * quota_remaining
 *		quota.remaining(user_id, project_id): what is left now at every level that
 *		has a limit for all models. What has been exceeded is below zero; limits
 *		that only count are left out. Errors: XQ001, XQ002, XQ009.
 */
Datum
quota_remaining(PG_FUNCTION_ARGS)
{
	char *user_id = operation_text(fcinfo, 0, "user_id");
	char *project_id = operation_text(fcinfo, 1, "project_id");
	Generation generation;
	const Payer *payer;
	QuotaEntry *entries;
	TimestampTz now;
	LevelSet levels;
	int count = 0;

	operation_begin("remaining()", false);
	payer = operation_on_standby() ? payer_look(user_id, project_id)
								   : payer_enter(user_id, project_id, &generation);
	now = clock_now();
	levels_collect(&levels, &payer->spender, payer->root_hash, now, now, NULL, 0);
	levels_pin_or_compute(&levels);
	levels_look(&levels);

	entries = palloc(sizeof(QuotaEntry) * Max(levels.count, 1));
	for (int i = 0; i < levels.count; i++)
	{
		const Level *level = &levels.levels[i];
		int128 remaining =
			level->limit.amount - level->claim.totals.used - level->claim.totals.held;

		if (level->limit.policy == POLICY_SHADOW)
			continue;
		remaining = Min(Max(remaining, -(int128) MICROS_MAX), (int128) MICROS_MAX);
		entries[count].scope = level->limit.scope_key;
		entries[count].resource = level->limit.resource;
		entries[count++].micros = (int64) remaining;
	}
	PG_RETURN_POINTER(quota_make(entries, count));
}
