/*
 * request.c
 *		Before a generation: check() looks, reserve() holds.
 *
 * The way of a reserve: locks (global, root), who pays, what it costs, the key,
 * access, the counters pinned, the claim on all of them in one step, then the
 * rows. Every exit by an error leaves it to the transaction's abort to undo what
 * was claimed (escrow/escrow_transaction.c).
 *
 * Holds past their time give way: where a reserve would be refused for a limit,
 * it first closes those of its root. What it so gives back it may use itself.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/closing.h"
#include "api/fits.h"
#include "api/operation.h"
#include "api/resources.h"
#include "api/verdict.h"
#include "ledger/hold_id.h"
#include "types/amount.h"

PG_FUNCTION_INFO_V1(quota_check);
PG_FUNCTION_INFO_V1(quota_check_amount);
PG_FUNCTION_INFO_V1(quota_reserve);
PG_FUNCTION_INFO_V1(quota_reserve_amount);

/* At most so many expired holds give way to one reserve. */
#define EXPIRE_MAX 1000

/* One request: what it asks for, and what became of it. */
typedef struct Request
{
	const char *user_id;
	const char *project_id;
	const char *model;     /* as the caller names it; NULL: an amount */
	Jsonb *parameters;     /* of the model */
	const Amount *amount;  /* what it takes, given or estimated */
	const Amount *counted; /* the same and the hold itself */
	CostQuote *quote;      /* NULL without a model */
	const char *key;
	const Interval *ttl;

	TimestampTz now;
	TimestampTz held_at; /* now, unless the call is repeated */
	const Payer *payer;
	Spender spender;
	Generation generation;
	int access_count;
	AccessCheck *access;
	LevelSet levels;
} Request;

static void
request_find_payer(Request *request)
{
	if (operation_on_standby())
		request->payer = payer_look(request->user_id, request->project_id);
	else
		request->payer = payer_enter(request->user_id, request->project_id, &request->generation);
	request->spender = request->payer->spender;
	if (request->quote != NULL)
		request->spender.model = request->quote->model;
}

/* What the request takes, and the model that it counts for. */
static void
request_price(Request *request)
{
	if (request->model == NULL)
		resources_check_request(request->amount);
	else
	{
		request->quote = cost_estimate(request->model, request->parameters,
									   request->spender.root_id, request->now);
		request->amount = request->quote->ceiling;
		request->spender.model = request->quote->model;
	}
	request->counted = levels_count_hold(request->amount, request->spender.model);
}

/* Collects the levels of the request and makes their numbers available. */
static void
request_levels(Request *request)
{
	levels_collect(&request->levels, &request->spender, request->payer->root_hash, request->held_at,
				   request->now, &request->counted, 1);
	levels_pin_or_compute(&request->levels);
}

/*
 * request_claim
 *		Looks at the request at all levels, and holds it if hold is true and it is
 *		allowed. Returns whether it is.
 */
static bool
request_claim(Request *request, bool hold)
{
	for (;;)
	{
		bool access;
		EscrowAnswer answer;

		request->access_count = payer_check_access(request->payer, request->spender.model,
												   request->model, &request->access);
		access = access_first_failure(request->access, request->access_count) == NULL;
		request_levels(request);
		answer =
			levels_claim(&request->levels, request->counted, request->generation, hold && access);
		if (answer != ESCROW_STALE)
			return access && answer == ESCROW_GRANTED;

		/* Definitions have changed in between: decide by the new ones. */
		CHECK_FOR_INTERRUPTS();
		request_find_payer(request);
	}
}

/*
 * request_discount_expired
 *		For a look: takes holds that are past their time off the numbers of the
 *		levels, as a reserve would close them. Returns whether there are any.
 */
static bool
request_discount_expired(Request *request)
{
	Hold *holds;
	int count = ledger_find_expired(request->payer->root_hash, request->spender.root_id,
									request->now, EXPIRE_MAX, &holds);

	if (count > 0)
		levels_take_from_memory(&request->levels);
	for (int i = 0; i < count; i++)
	{
		const Amount *counted = levels_count_hold(holds[i].amount, holds[i].spender.model);
		LevelSet expired;

		levels_collect(&expired, &holds[i].spender, request->payer->root_hash, holds[i].held_at,
					   request->now, &counted, 1);
		for (int j = 0; j < expired.count; j++)
		{
			const LevelLimit *limit = &expired.levels[j].limit;

			for (int k = 0; k < request->levels.count; k++)
				level_discount(&request->levels.levels[k], &limit->counter,
							   amount_get(counted, limit->resource));
		}
	}
	return count > 0;
}

static Jsonb *
request_verdict(const Request *request, bool allowed, const Hold *hold, const char *state)
{
	Verdict verdict = {
		.allowed = allowed,
		.state = state,
		.expires_at = DT_NOEND,
		.user_id = request->user_id,
		.project_id = request->project_id,
		.model = request->model,
		.root = request->payer->root,
		.estimate = request->quote == NULL ? NULL : request->quote->document,
		.amount = request->amount,
		.access_count = request->access_count,
		.access = request->access,
		.levels = &request->levels,
	};

	if (!allowed && request->quote != NULL &&
		access_first_failure(request->access, request->access_count) == NULL)
	{
		RefusedRequest refused = {
			.card_id = request->quote->card_id,
			.parameters = request->parameters,
			.root_id = request->spender.root_id,
			.priced_at = request->now,
			.levels = &request->levels,
		};

		verdict.fits = fits_find(&refused);
	}
	if (hold != NULL)
	{
		verdict.hold_id = &hold->id;
		verdict.expires_at = hold->expires_at;
	}
	return verdict_write(&verdict);
}

/*
 * request_look
 *		Answers a check: what would a reserve say now? Changes nothing.
 */
static Jsonb *
request_look(Request *request)
{
	bool allowed;

	operation_begin("check()", false);
	request_find_payer(request);
	request->now = request->held_at = clock_now();
	request_price(request);
	allowed = request_claim(request, false);
	if (!allowed && access_first_failure(request->access, request->access_count) == NULL &&
		request_discount_expired(request))
		allowed = levels_claim(&request->levels, request->counted, request->generation, false) ==
				  ESCROW_GRANTED;
	return request_verdict(request, allowed, NULL, "checked");
}

/* What tells one call from another under the same key. */
static int64
request_fingerprint(const Request *request)
{
	uint64 hash =
		hash_bytes_extended((const unsigned char *) request->user_id, strlen(request->user_id), 0);

	hash = hash_bytes_extended((const unsigned char *) request->payer->scope,
							   strlen(request->payer->scope), hash);
	if (request->model == NULL)
		return (int64) hash_bytes_extended((const unsigned char *) VARDATA_ANY(request->amount),
										   VARSIZE_ANY_EXHDR(request->amount), hash);
	hash = hash_bytes_extended((const unsigned char *) request->model, strlen(request->model) + 1,
							   hash);
	return (int64) hash_bytes_extended((const unsigned char *) VARDATA(request->parameters),
									   VARSIZE(request->parameters) - VARHDRSZ, hash);
}

/*
 * request_replay
 *		Answers a reserve whose key has been used for the same call before: as then,
 *		with the state of the hold and the numbers of the levels as they are now.
 */
static Jsonb *
request_replay(Request *request, const KeyRecord *record)
{
	Verdict verdict = {0};
	ClosedHold closed;
	int64 card_id;
	Hold hold;

	verdict.allowed = true;
	verdict.replayed = true;
	verdict.hold_id = &record->hold_id;
	verdict.expires_at = DT_NOEND;
	verdict.user_id = request->user_id;
	verdict.project_id = request->project_id;
	verdict.model = request->model;
	verdict.root = request->payer->root;
	if (ledger_find_hold(&record->hold_id, &hold))
	{
		verdict.state = "open";
		verdict.expires_at = hold.expires_at;
		verdict.amount = hold.amount;
		request->held_at = hold.held_at;
		request->spender.model = hold.spender.model;
		card_id = hold.card_id;
	}
	else if (closing_find(&record->hold_id, &closed))
	{
		verdict.state = closed.state;
		verdict.amount = closed.first.held;
		request->held_at = closed.first.held_at;
		request->spender.model = closed.first.spender.model;
		card_id = closed.first.card_id;
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("idempotency key \"%s\" names a hold that does not exist", request->key)));
	if (request->model != NULL)
		verdict.estimate = cost_estimate_by_card(card_id, request->parameters,
												 request->spender.root_id, request->held_at)
							   ->document;
	verdict.access_count = payer_check_access(request->payer, request->spender.model,
											  request->model, &request->access);
	verdict.access = request->access;
	request->counted = levels_count_hold(verdict.amount, request->spender.model);
	request_levels(request);
	levels_show_granted(&request->levels, request->counted);
	verdict.levels = &request->levels;
	return verdict_write(&verdict);
}

static void
request_write_hold(Request *request, Hold *hold)
{
	memset(hold, 0, sizeof(Hold));
	hold_id_generate(request->payer->root_hash, request->now, &hold->id);
	hold->spender = request->spender;
	hold->amount = request->amount;
	hold->held_at = request->now;
	hold->expires_at = operation_expiry(request->now, request->ttl);
	hold->card_id = request->quote == NULL ? 0 : request->quote->card_id;
	hold->request = request->quote == NULL ? NULL : request->quote->request;
	hold->seq = 1;
	hold->expected_micros = request->quote == NULL ? -1 : request->quote->expected_micros;
	ledger_insert_hold(hold);
}

/*
 * request_hold
 *		Answers a reserve.
 */
static Jsonb *
request_hold(Request *request)
{
	KeyRecord record;
	Hold hold;
	bool allowed;

	operation_begin("reserve()", true);
	request_find_payer(request);
	request->now = request->held_at = clock_now();
	(void) operation_expiry(request->now, request->ttl);
	if (request->key != NULL)
	{
		KeyRecord found;

		record.fingerprint = request_fingerprint(request);
		if (closing_find_key(request->spender.root_id, request->key, record.fingerprint, &found))
			return request_replay(request, &found);
	}
	request_price(request);

	do
	{
		allowed = request_claim(request, true);
		if (access_first_failure(request->access, request->access_count) != NULL)
			return request_verdict(request, false, NULL, "refused");
	} while (!allowed && closing_expire_root(request->payer->root_hash, request->spender.root_id,
											 request->now, EXPIRE_MAX) > 0);
	levels_count_denials(&request->levels, request->now);
	if (!allowed)
		return request_verdict(request, false, NULL, "refused");

	request_write_hold(request, &hold);
	if (request->key != NULL)
	{
		record.hold_id = hold.id;
		ledger_insert_key(request->spender.root_id, request->key, &record, request->now);
	}
	return request_verdict(request, true, &hold, "open");
}

static void
request_get_model(FunctionCallInfo fcinfo, Request *request)
{
	memset(request, 0, sizeof(Request));
	request->user_id = operation_text(fcinfo, 0, "user_id");
	request->project_id = operation_text(fcinfo, 1, "project_id");
	request->model = operation_text(fcinfo, 2, "model");
	operation_require(fcinfo, 3, "request");
	request->parameters = PG_GETARG_JSONB_P(3);
}

static void
request_get_amount(FunctionCallInfo fcinfo, Request *request)
{
	memset(request, 0, sizeof(Request));
	request->user_id = operation_text(fcinfo, 0, "user_id");
	request->project_id = operation_text(fcinfo, 1, "project_id");
	operation_require(fcinfo, 2, "amount");
	request->amount = PG_GETARG_AMOUNT_P(2);
}

static void
request_get_terms(FunctionCallInfo fcinfo, int argument, Request *request)
{
	request->key = operation_key(fcinfo, argument);
	operation_require(fcinfo, argument + 1, "ttl");
	request->ttl = PG_GETARG_INTERVAL_P(argument + 1);
}

/*
 * quota_check
 *		quota.check(user_id, project_id, model, request): the verdict that a
 *		reserve would give now. Holds nothing. Errors: XQ001, XQ002, XQ003, XQ009
 *		for what does not exist, XQ201 for a request that cannot be priced.
 */
Datum
quota_check(PG_FUNCTION_ARGS)
{
	Request request;

	request_get_model(fcinfo, &request);
	PG_RETURN_JSONB_P(request_look(&request));
}

/*
 * quota_check_amount
 *		quota.check_amount(user_id, project_id, amount): the same without a model.
 */
Datum
quota_check_amount(PG_FUNCTION_ARGS)
{
	Request request;

	request_get_amount(fcinfo, &request);
	PG_RETURN_JSONB_P(request_look(&request));
}

/*
 * quota_reserve
 *		quota.reserve(user_id, project_id, model, request, idempotency_key, ttl):
 *		holds the ceiling of what the request may cost at every level, or says why
 *		not. Errors as for check, XQ103 for a key used with other arguments, 22023
 *		for a ttl out of bounds.
 */
Datum
quota_reserve(PG_FUNCTION_ARGS)
{
	Request request;

	request_get_model(fcinfo, &request);
	request_get_terms(fcinfo, 4, &request);
	PG_RETURN_JSONB_P(request_hold(&request));
}

/*
 * quota_reserve_amount
 *		quota.reserve_amount(user_id, project_id, amount, idempotency_key, ttl):
 *		the same without a model.
 */
Datum
quota_reserve_amount(PG_FUNCTION_ARGS)
{
	Request request;

	request_get_amount(fcinfo, &request);
	request_get_terms(fcinfo, 3, &request);
	PG_RETURN_JSONB_P(request_hold(&request));
}
