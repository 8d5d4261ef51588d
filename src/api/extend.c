/*
 * extend.c
 *		extend(): more to hold, or more time, for a generation that still runs.
 *
 * A hold never shrinks: what is held is, by resource, the larger of what was held
 * and what the new request may cost. Access is not checked again. A hold that
 * has expired is held anew under its id, if it still fits, and counts in its own
 * period again.
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/closing.h"
#include "api/fits.h"
#include "api/operation.h"
#include "api/verdict.h"
#include "errors.h"
#include "ledger/hold_id.h"

PG_FUNCTION_INFO_V1(quota_extend);

#define DEFAULT_TTL_SECONDS (15 * SECS_PER_MINUTE)

typedef struct Extension
{
	TimestampTz now;
	Hold hold; /* as it was; of an expired one, as it will be */
	bool anew;
	Jsonb *request;       /* or NULL: as before */
	const Amount *amount; /* to be held from now on */
	TimestampTz expires_at;
	Jsonb *document;
	LevelSet levels;
} Extension;

/* By resource, the larger of two amounts. */
static Amount *
amount_larger(const Amount *a, const Amount *b)
{
	AmountEntry entries[2 * AMOUNT_MAX_ENTRIES];
	AmountEntry other[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(a, entries);
	int other_count = amount_entries(b, other);

	for (int i = 0; i < count; i++)
		entries[i].micros = Max(entries[i].micros, amount_get(b, entries[i].resource));
	for (int i = 0; i < other_count; i++)
	{
		if (amount_get(a, other[i].resource) == 0)
			entries[count++] = other[i];
	}
	return amount_make(entries, count);
}

static void
hold_of_event(const ClosedHold *closed, Hold *hold)
{
	const Event *event = &closed->last;

	memset(hold, 0, sizeof(Hold));
	hold->id = event->id;
	hold->spender = event->spender;
	hold->amount = event->held;
	hold->held_at = event->held_at;
	hold->card_id = event->card_id;
	hold->seq = event->seq + 1;
	hold->expected_micros = -1;
}

static void
extension_price(Extension *extension)
{
	Hold *hold = &extension->hold;
	CostQuote *quote;

	extension->amount = hold->amount;
	if (extension->request == NULL)
		return;
	if (hold->card_id == 0)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
						errmsg("the hold has no model whose rate card could price a request"),
						errhint("Reserve the additional amount with quota.reserve_amount().")));
	quote = cost_estimate_by_card(hold->card_id, extension->request, hold->spender.root_id,
								  hold->held_at);
	extension->amount = amount_larger(hold->amount, quote->ceiling);
	extension->document = quote->document;
	extension->request = quote->request;
	hold->expected_micros = quote->expected_micros;
}

/* Holds what is to be held in addition: all of it, if the hold is held anew. */
static bool
extension_claim(Extension *extension)
{
	const Hold *hold = &extension->hold;
	const Amount *amount = extension->anew
							   ? levels_count_hold(extension->amount, hold->spender.model)
							   : extension->amount;
	const Amount *more = extension->anew ? amount : amount_subtract(amount, hold->amount);
	uint32 root_hash = hold_id_root_hash(&hold->id);
	EscrowAnswer answer;

	do
	{
		Generation generation;

		CHECK_FOR_INTERRUPTS();
		directory_enter(root_hash, &generation);
		levels_collect(&extension->levels, &hold->spender, root_hash, hold->held_at, extension->now,
					   &amount, 1);
		levels_pin(&extension->levels);
		answer = levels_claim(&extension->levels, more, generation, true);
	} while (answer == ESCROW_STALE);
	return answer == ESCROW_GRANTED;
}

static void
extension_write(Extension *extension, Relation holds)
{
	Hold *hold = &extension->hold;

	hold->amount = extension->amount;
	hold->expires_at = extension->expires_at;
	if (extension->request != NULL)
		hold->request = extension->request;
	if (extension->anew)
		ledger_insert_hold(hold);
	else
		ledger_update_hold(holds, hold);
}

static Jsonb *
extension_verdict(const Extension *extension, bool allowed)
{
	const Hold *hold = &extension->hold;
	Verdict verdict = {
		.allowed = allowed,
		.state = allowed || !extension->anew ? "open" : "expired",
		.hold_id = &hold->id,
		.expires_at = allowed || !extension->anew ? hold->expires_at : DT_NOEND,
		.past_period = true,
		.user_id = hold->spender.user_id,
		.project_id = scope_to_cstring(hold->spender.scope),
		.model = hold->spender.model,
		.root = scope_to_cstring(scope_root(hold->spender.scope)),
		.estimate = extension->document,
		.amount = extension->amount,
		.levels = &extension->levels,
	};

	if (!allowed && extension->request != NULL)
	{
		RefusedRequest refused = {
			.card_id = hold->card_id,
			.parameters = extension->request,
			.root_id = hold->spender.root_id,
			.priced_at = hold->held_at,
			.levels = &extension->levels,
			.least = hold->amount,
			.held = extension->anew ? NULL : hold->amount,
		};

		verdict.fits = fits_find(&refused);
	}
	return verdict_write(&verdict);
}

static void
extension_find(Extension *extension, Relation holds, const pg_uuid_t *id)
{
	ClosedHold closed;

	if (closing_lock(id, holds, &extension->hold, &closed))
		return;
	if (closed.settled)
		closing_raise_settled(id);
	if (closed.last.kind == EVENT_RELEASED)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_HOLD_RELEASED),
						errmsg("hold \"%s\" was released",
							   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
						errhint("Reserve again.")));
	extension->anew = true;
	hold_of_event(&closed, &extension->hold);
}

/*
 * quota_extend
 *		quota.extend(hold_id, request, ttl): holds more, or longer. Errors: XQ004
 *		unknown hold, XQ101 settled, XQ102 released, XQ201 a request that cannot be
 *		priced, 22023 a ttl out of bounds.
 */
Datum
quota_extend(PG_FUNCTION_ARGS)
{
	Extension extension;
	Relation holds;
	pg_uuid_t id;
	bool allowed;

	memset(&extension, 0, sizeof(Extension));
	operation_require(fcinfo, 0, "hold_id");
	id = *PG_GETARG_UUID_P(0);
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("request and ttl must not both be null"),
						errhint("Give a request to hold more, a ttl to hold longer.")));
	extension.request = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);

	holds = closing_enter("extend()", &id, &extension.now);
	extension_find(&extension, holds, &id);
	if (!PG_ARGISNULL(2))
		extension.expires_at = operation_expiry(extension.now, PG_GETARG_INTERVAL_P(2));
	else if (extension.anew)
		extension.expires_at = extension.now + DEFAULT_TTL_SECONDS * USECS_PER_SEC;
	extension.expires_at = Max(extension.expires_at, extension.hold.expires_at);

	extension_price(&extension);
	allowed = extension_claim(&extension);
	levels_count_denials(&extension.levels, extension.now);
	if (allowed)
		extension_write(&extension, holds);
	table_close(holds, NoLock);
	PG_RETURN_JSONB_P(extension_verdict(&extension, allowed));
}
