/*
 * resources.c
 *		Checks amounts that callers give against the registry of resources.
 *
 * Amounts that are priced from a request need no check: the cost layer makes
 * them of registered resources. Those that callers give are rarer, so they are
 * looked up each time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "api/resources.h"
#include "errors.h"
#include "query.h"

static void
collect_kind(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	*(bool *) arg = strcmp(TextDatumGetCString(values[0]), "concurrency") == 0;
}

/* Says whether a resource is a concurrency. Errors: XQ006. */
static bool
resource_is_concurrency(QueryScope *scope, const char *resource)
{
	static PreparedQuery query = {
		.text = "SELECT kind FROM quota.resources WHERE resource = $1",
		.argument_count = 1,
		.argument_types = {TEXTOID},
	};
	Datum argument = CStringGetTextDatum(resource);
	bool concurrency = false;

	if (query_run(scope, &query, &argument, NULL, collect_kind, &concurrency) == 0)
		ereport(ERROR, (errcode(ERRCODE_QUOTA_UNKNOWN_RESOURCE),
						errmsg("resource \"%s\" does not exist", resource),
						errhint("Define it with quota.put_resource().")));
	return concurrency;
}

static void
resources_check(const Amount *amount, bool negative_allowed, bool concurrency_allowed)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(amount, entries);
	QueryScope scope;

	query_begin(&scope);
	for (int i = 0; i < count; i++)
	{
		if (resource_is_concurrency(&scope, entries[i].resource) && !concurrency_allowed)
			ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
							errmsg("resource \"%s\" cannot be charged", entries[i].resource),
							errdetail("It measures what runs now: it is held, and never used."),
							errhint("Leave it out; it is given back when the hold is closed.")));
		if (entries[i].micros < 0 && !negative_allowed)
			ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
							errmsg("amount of \"%s\" must not be negative", entries[i].resource),
							errhint("Use quota.adjust() to correct what was used.")));
	}
	query_end(&scope);
}

/*
 * resources_check_request
 *		Checks an amount that is to be held. Errors: XQ006 unknown resource, XQ201
 *		a negative one.
 */
void
resources_check_request(const Amount *amount)
{
	resources_check(amount, false, true);
}

/*
 * resources_check_charge
 *		Checks an amount that is to be charged. Errors as above, and XQ201 for one
 *		that is only ever held.
 */
void
resources_check_charge(const Amount *amount, bool negative_allowed)
{
	resources_check(amount, negative_allowed, false);
}
