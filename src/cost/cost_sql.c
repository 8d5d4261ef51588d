/*
 * cost_sql.c
 *		The SQL functions of the cost layer.
 */
#include "cost/cost.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "cost/cache.h"
#include "errors.h"
#include "query.h"
#include "types/scope.h"

PG_FUNCTION_INFO_V1(quota_estimate);
PG_FUNCTION_INFO_V1(quota_price);
PG_FUNCTION_INFO_V1(quota_check_rate_card);
PG_FUNCTION_INFO_V1(quota_rate_cards_compiled);

static void
collect_root_id(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	*(int64 *) arg = DatumGetInt64(values[0]);
}

/*
 * root_of_scope
 *		Returns the id of the root account of a scope, or raises XQ005. The scope goes
 *		into the query as text, so that the kept plan survives a new CREATE EXTENSION.
 */
static int64
root_of_scope(const Scope *scope)
{
	static PreparedQuery query = {
		.text = "SELECT root_id FROM quota.accounts"
				" WHERE scope OPERATOR(quota.=) $1::quota.scope",
		.argument_count = 1,
		.argument_types = {TEXTOID},
	};
	char *root = scope_to_cstring(scope_root(scope));
	Datum argument = CStringGetTextDatum(root);
	QueryScope queries;
	int64 root_id;

	query_begin(&queries);
	if (query_run(&queries, &query, &argument, NULL, collect_root_id, &root_id) == 0)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_ACCOUNT),
						errmsg("account \"%s\" does not exist", root),
						errhint("Create it with quota.put_account().")));
	query_end(&queries);
	return root_id;
}

/* The arguments that estimate() and price() share. */
typedef struct CostArguments
{
	char *model;
	Jsonb *document;
	int64 root_id;
	TimestampTz at;
} CostArguments;

/*
 * read_arguments
 *		Reads (model text, document jsonb, account quota.scope, at timestamptz).
 */
static CostArguments
read_arguments(FunctionCallInfo fcinfo, const char *document)
{
	CostArguments arguments;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", PG_ARGISNULL(0) ? "model" : document)));
	arguments.model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	arguments.document = PG_GETARG_JSONB_P(1);
	arguments.root_id = PG_ARGISNULL(2) ? 0 : root_of_scope(PG_GETARG_SCOPE_P(2));
	arguments.at = PG_ARGISNULL(3) ? clock_now() : PG_GETARG_TIMESTAMPTZ(3);
	return arguments;
}

/*
 * quota_estimate
 *		quota.estimate(model, request, account, at)
 */
Datum
quota_estimate(PG_FUNCTION_ARGS)
{
	CostArguments arguments = read_arguments(fcinfo, "request");
	CostQuote *quote =
		cost_estimate(arguments.model, arguments.document, arguments.root_id, arguments.at);

	PG_RETURN_JSONB_P(quote->document);
}

/*
 * quota_price
 *		quota.price(model, usage, account, at)
 */
Datum
quota_price(PG_FUNCTION_ARGS)
{
	CostArguments arguments = read_arguments(fcinfo, "usage");
	CostQuote *quote =
		cost_price(arguments.model, arguments.document, arguments.root_id, arguments.at);

	PG_RETURN_JSONB_P(quote->document);
}

/*
 * quota_check_rate_card
 *		quota._check_rate_card(model, card): raises XQ202 if the card is malformed.
 */
Datum
quota_check_rate_card(PG_FUNCTION_ARGS)
{
	card_compile(PG_GETARG_JSONB_P(1), 0, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/*
 * quota_rate_cards_compiled
 *		quota._rate_cards_compiled(): how many cards this session has compiled.
 */
Datum
quota_rate_cards_compiled(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_INT64(cache_compilations());
}
