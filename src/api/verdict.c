/*
 * verdict.c
 *		Writes verdicts and receipts.
 *
 * A verdict is the same document for check, reserve and extend, allowed or not:
 * everything that was looked at, with its numbers. Reasons are stable codes, in
 * this order of precedence: account_inactive, not_a_member, model_denied,
 * limit_exceeded.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "api/verdict.h"

/*
 * access_first_failure
 *		Returns the first check that was not passed, NULL if all were.
 */
const AccessCheck *
access_first_failure(const AccessCheck *checks, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (!checks[i].passed)
			return &checks[i];
	}
	return NULL;
}

static char *
access_message(const Verdict *verdict, const AccessCheck *failure)
{
	if (strcmp(failure->check, "account_active") == 0)
		return psprintf("account %s is not active", failure->scope);
	if (strcmp(failure->check, "member") == 0)
		return psprintf("user %s is not an active member of %s", verdict->user_id, failure->scope);
	return psprintf("%s does not let model %s be used", failure->scope, verdict->model);
}

/* What waiting for a limit helps: its period starts afresh, or enough is free again. */
static char *
limit_message(const Level *level, TimestampTz retry_at)
{
	const LevelLimit *limit = &level->limit;
	char requested[MICROS_TEXT_SIZE];
	char capacity[MICROS_TEXT_SIZE];
	char left[MICROS_TEXT_SIZE];
	int128 room = level->claim.capacity - level->claim.totals.used - level->claim.totals.held;
	StringInfoData text;

	(void) micros_to_cstring(level->requested, requested);
	(void) micros_to_cstring(limit->amount, capacity);
	(void) micros_to_cstring((int64) Max(room, 0), left);
	initStringInfo(&text);
	appendStringInfo(&text, "%s has %s %s left of %s, the request needs %s", limit->scope, left,
					 limit->resource, capacity, requested);
	if (level_never_fits(level))
		appendStringInfoString(&text, ", more than the limit lets through at any time");
	else if (!TIMESTAMP_NOT_FINITE(retry_at))
	{
		char buffer[MAXDATELEN + 1];
		int utc = 0;

		JsonEncodeDateTime(buffer, TimestampTzGetDatum(retry_at), TIMESTAMPTZOID, &utc);
		appendStringInfo(&text, limit->rule == NULL ? "; it resets at %s" : "; it fits at %s",
						 buffer);
	}
	return text.data;
}

static void
verdict_write_reason(const Verdict *verdict, JsonWriter *writer)
{
	const AccessCheck *failure = access_first_failure(verdict->access, verdict->access_count);
	const Level *level = verdict->levels ? levels_first_failure(verdict->levels) : NULL;
	TimestampTz retry_at = DT_NOEND;

	if (verdict->allowed)
	{
		json_null(writer, "reason");
		json_text(writer, "message", "allowed");
	}
	else if (failure != NULL)
	{
		json_text(writer, "reason", failure->reason);
		json_text(writer, "message", access_message(verdict, failure));
	}
	else
	{
		Assert(level != NULL);
		if (!verdict->past_period)
			retry_at = levels_retry_at(verdict->levels);
		json_text(writer, "reason", "limit_exceeded");
		json_text(writer, "message",
				  limit_message(level, verdict->past_period
										   ? DT_NOEND
										   : level_retry_at(level, verdict->levels->now)));
	}
	json_time(writer, "retry_at", retry_at);
}

static void
verdict_write_access(const Verdict *verdict, JsonWriter *writer)
{
	json_begin_array(writer, "access");
	for (int i = 0; i < verdict->access_count; i++)
	{
		const AccessCheck *check = &verdict->access[i];

		json_begin_object(writer, NULL);
		json_text(writer, "check", check->check);
		json_text(writer, "scope", check->scope);
		json_bool(writer, "passed", check->passed);
		json_text(writer, "reason", check->reason);
		json_end_object(writer);
	}
	json_end_array(writer);
}

/* What would fit, as a request takes it: a request || fits is one that fits. */
static void
verdict_write_fits(const CostFits *fits, JsonWriter *writer)
{
	json_begin_object(writer, "fits");
	for (int i = 0; i < fits->count; i++)
	{
		const CostFit *fit = &fits->items[i];

		if (fit->is_whole)
			json_int(writer, fit->key, fit->micros / MICROS_PER_UNIT);
		else
			json_micros(writer, fit->key, fit->micros);
	}
	json_end_object(writer);
}

/*
 * verdict_write
 *		Returns a verdict as jsonb.
 */
Jsonb *
verdict_write(const Verdict *verdict)
{
	JsonWriter writer = {NULL, NULL};

	json_begin_object(&writer, NULL);
	json_bool(&writer, "allowed", verdict->allowed);
	json_text(&writer, "state", verdict->state);
	json_bool(&writer, "replayed", verdict->replayed);
	verdict_write_reason(verdict, &writer);
	if (verdict->hold_id != NULL)
		json_uuid(&writer, "hold_id", verdict->hold_id);
	else
		json_null(&writer, "hold_id");
	json_time(&writer, "expires_at", verdict->expires_at);
	json_text(&writer, "user_id", verdict->user_id);
	json_text(&writer, "project_id", verdict->project_id);
	json_text(&writer, "model", verdict->model);
	json_text(&writer, "root", verdict->root);
	if (verdict->estimate != NULL)
		json_document(&writer, "estimate", verdict->estimate);
	else
	{
		json_begin_object(&writer, "estimate");
		json_amount(&writer, "amount", verdict->amount);
		json_end_object(&writer);
	}
	if (verdict->fits != NULL)
		verdict_write_fits(verdict->fits, &writer);
	verdict_write_access(verdict, &writer);
	if (verdict->levels != NULL)
		levels_write_claims(verdict->levels, &writer, verdict->allowed && !verdict->replayed);
	json_end_object(&writer);
	return json_finish(&writer);
}

/* What was charged above what was held, by resource. */
static Amount *
receipt_overage(const Receipt *receipt)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(receipt->charged, entries);
	int above = 0;

	for (int i = 0; i < count; i++)
	{
		int64 held = amount_get(receipt->held, entries[i].resource);

		if (entries[i].micros <= held)
			continue;
		entries[above].resource = entries[i].resource;
		entries[above++].micros = entries[i].micros - held;
	}
	return amount_make(entries, above);
}

/*
 * receipt_write
 *		Returns a receipt as jsonb. Overage is use above what was held; a charge
 *		that nothing was held for has none.
 */
Jsonb *
receipt_write(const Receipt *receipt)
{
	JsonWriter writer = {NULL, NULL};

	json_begin_object(&writer, NULL);
	json_uuid(&writer, "hold_id", receipt->hold_id);
	json_text(&writer, "state", receipt->state);
	json_text(&writer, "outcome", receipt->outcome);
	if (receipt->reason != NULL)
		json_text(&writer, "reason", receipt->reason);
	json_bool(&writer, "replayed", receipt->replayed);
	if (receipt->ignored)
		json_bool(&writer, "ignored", true);
	json_bool(&writer, "late", receipt->late);
	json_amount(&writer, "held", receipt->held);
	json_amount(&writer, "charged", receipt->charged);
	json_amount(&writer, "overage",
				amount_is_zero(receipt->held) ? NULL : receipt_overage(receipt));
	json_text(&writer, "cost_usd", receipt->cost_usd);
	if (receipt->lines != NULL)
		json_document(&writer, "lines", receipt->lines);
	else
	{
		json_begin_array(&writer, "lines");
		json_end_array(&writer);
	}
	if (receipt->levels != NULL)
		levels_write_totals(receipt->levels, &writer);
	json_end_object(&writer);
	return json_finish(&writer);
}

/*
 * document_lines
 *		Returns the "lines" of a priced document, NULL if it has none.
 */
Jsonb *
document_lines(const Jsonb *document)
{
	JsonbValue key;
	JsonbValue *lines;

	if (document == NULL)
		return NULL;
	key.type = jbvString;
	key.val.string.val = "lines";
	key.val.string.len = 5;
	lines = findJsonbValueFromContainer(unconstify(JsonbContainer *, &document->root), JB_FOBJECT,
										&key);
	return lines == NULL ? NULL : JsonbValueToJsonb(lines);
}
