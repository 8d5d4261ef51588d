/*
 * charge.c
 *		Facts that nothing was held for: charge() and adjust().
 *
 * Both are recorded whatever the limits say, and flagged where they exceed one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

#include "api/closing.h"
#include "api/operation.h"
#include "api/resources.h"
#include "api/verdict.h"
#include "errors.h"
#include "ledger/hold_id.h"

PG_FUNCTION_INFO_V1(quota_charge);
PG_FUNCTION_INFO_V1(quota_adjust);

/*
 * fact_record
 *		Writes an event without a hold and counts it. Returns the receipt.
 */
static Jsonb *
fact_record(Event *event, uint32 root_hash, const char *key, int64 fingerprint, Jsonb *lines)
{
	const Amount *amounts[] = {event->charged};
	LevelSet levels;
	Receipt receipt;

	hold_id_generate(root_hash, event->held_at, &event->id);
	event->seq = 1;
	event->held = amount_make(NULL, 0);
	event->recorded_at = event->held_at;
	event->expected_micros = -1;
	event->input_bytes = -1;
	levels_collect(&levels, &event->spender, root_hash, event->held_at, event->held_at, amounts, 1);
	levels_pin(&levels);
	ledger_insert_event(event);
	if (key != NULL)
	{
		KeyRecord record = {fingerprint, event->id};

		ledger_insert_key(event->spender.root_id, key, &record, event->held_at);
	}
	levels_record(&levels, NULL, event->charged);

	memset(&receipt, 0, sizeof(Receipt));
	receipt.hold_id = &event->id;
	receipt.state = "settled";
	receipt.reason = event->reason;
	receipt.held = event->held;
	receipt.charged = event->charged;
	receipt.cost_usd = event->cost_usd;
	receipt.lines = lines;
	receipt.levels = &levels;
	return receipt_write(&receipt);
}

/* The first answer to a call that is repeated with its key; NULL if it is the first. */
static Jsonb *
fact_replay(const Spender *spender, const char *key, int64 fingerprint, TimestampTz now)
{
	KeyRecord record;
	ClosedHold closed;

	if (key == NULL || !closing_find_key(spender->root_id, key, fingerprint, &record))
		return NULL;
	if (!closing_find(&record.hold_id, &closed))
		ereport(ERROR, (errcode(ERRCODE_QUOTA_KEY_REUSED),
						errmsg("idempotency key \"%s\" was used with other arguments", key),
						errhint("Use a new key for a new request.")));
	return closing_receipt(&closed, now, true, false);
}

static uint64
hash_text(uint64 seed, const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, strlen(text), seed);
}

/*
 * quota_charge
 *		quota.charge(user_id, project_id, model, usage, idempotency_key): records
 *		use that was never held, at the prices of now. Access is not checked: it
 *		has happened. Errors: XQ001, XQ002, XQ003, XQ009, XQ103, XQ201.
 */
Datum
quota_charge(PG_FUNCTION_ARGS)
{
	char *user_id = operation_text(fcinfo, 0, "user_id");
	char *project_id = operation_text(fcinfo, 1, "project_id");
	char *model = operation_text(fcinfo, 2, "model");
	const char *key = operation_key(fcinfo, 4);
	uint64 fingerprint;
	const Payer *payer;
	Generation generation;
	CostQuote *quote;
	Jsonb *receipt;
	TimestampTz now;
	Event event;

	operation_begin("charge()", true);
	memset(&event, 0, sizeof(Event));
	operation_require(fcinfo, 3, "usage");
	event.usage = PG_GETARG_JSONB_P(3);
	payer = payer_enter(user_id, project_id, &generation);
	now = clock_now();
	fingerprint = hash_text(hash_text(hash_text(1, user_id), payer->scope), model);
	fingerprint = hash_bytes_extended((const unsigned char *) VARDATA(event.usage),
									  VARSIZE(event.usage) - VARHDRSZ, fingerprint);
	receipt = fact_replay(&payer->spender, key, (int64) fingerprint, now);
	if (receipt != NULL)
		PG_RETURN_JSONB_P(receipt);

	quote = cost_price(model, event.usage, payer->spender.root_id, now);
	event.kind = EVENT_CHARGE;
	event.spender = payer->spender;
	event.spender.model = quote->model;
	event.charged = quote->ceiling;
	event.cost_usd = quote->cost_usd;
	event.held_at = now;
	event.card_id = quote->card_id;
	PG_RETURN_JSONB_P(fact_record(&event, payer->root_hash, key, (int64) fingerprint,
								  document_lines(quote->document)));
}

/*
 * quota_adjust
 *		quota.adjust(account, amount, reason, idempotency_key): corrects what an
 *		account, or the share of a user in it, has used: up or down. Errors: XQ005
 *		unknown account, XQ006 unknown resource, XQ103, XQ201 a resource that is
 *		only ever held.
 */
Datum
quota_adjust(PG_FUNCTION_ARGS)
{
	const char *key = operation_key(fcinfo, 3);
	Generation generation;
	uint64 fingerprint;
	uint32 root_hash;
	Scope *account;
	Jsonb *receipt;
	TimestampTz now;
	Event event;

	operation_begin("adjust()", true);
	operation_require(fcinfo, 0, "account");
	operation_require(fcinfo, 1, "amount");
	memset(&event, 0, sizeof(Event));
	account = PG_GETARG_SCOPE_P(0);
	event.charged = PG_GETARG_AMOUNT_P(1);
	event.reason = operation_text(fcinfo, 2, "reason");
	resources_check_charge(event.charged, true);

	if (scope_is_wildcard(account))
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_ACCOUNT),
						errmsg("\"%s\" stands for many accounts", scope_to_cstring(account)),
						errhint("Name one account.")));
	root_hash = scope_root_hash(account);
	directory_enter(root_hash, &generation);
	now = clock_now();
	if (!payer_find_account(account, &event.spender))
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_ACCOUNT),
						errmsg("account \"%s\" does not exist", scope_to_cstring(account)),
						errhint("Create it with quota.put_account().")));
	fingerprint = hash_text(hash_text(2, scope_to_cstring(account)), event.reason);
	fingerprint = hash_bytes_extended((const unsigned char *) VARDATA_ANY(event.charged),
									  VARSIZE_ANY_EXHDR(event.charged), fingerprint);
	receipt = fact_replay(&event.spender, key, (int64) fingerprint, now);
	if (receipt != NULL)
		PG_RETURN_JSONB_P(receipt);

	event.kind = EVENT_ADJUSTMENT;
	event.held_at = now;
	PG_RETURN_JSONB_P(fact_record(&event, root_hash, key, (int64) fingerprint, NULL));
}
