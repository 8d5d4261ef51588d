/*
 * scope_sql.c
 *		quota.scope in SQL: input and output, operators, index support, functions.
 *
 * The binary form is a version byte and the text form, so that the client's
 * encoding is converted and the same reader validates both.
 */
#include "types/scope.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "types/order.h"

#define SCOPE_BINARY_VERSION 1

PG_FUNCTION_INFO_V1(quota_scope_in);
PG_FUNCTION_INFO_V1(quota_scope_out);
PG_FUNCTION_INFO_V1(quota_scope_recv);
PG_FUNCTION_INFO_V1(quota_scope_send);
PG_FUNCTION_INFO_V1(quota_scope_from_jsonb);
PG_FUNCTION_INFO_V1(quota_scope_to_jsonb);

PG_FUNCTION_INFO_V1(quota_scope_contains);
PG_FUNCTION_INFO_V1(quota_scope_contained);

PG_FUNCTION_INFO_V1(quota_scope_make);
PG_FUNCTION_INFO_V1(quota_scope_concat);
PG_FUNCTION_INFO_V1(quota_scope_parent);
PG_FUNCTION_INFO_V1(quota_scope_root);
PG_FUNCTION_INFO_V1(quota_scope_ancestors);
PG_FUNCTION_INFO_V1(quota_scope_kind);
PG_FUNCTION_INFO_V1(quota_scope_name);
PG_FUNCTION_INFO_V1(quota_scope_is_wildcard);
PG_FUNCTION_INFO_V1(quota_scope_depth);
PG_FUNCTION_INFO_V1(quota_scope_root_hash);
PG_FUNCTION_INFO_V1(quota_scope_subtree_end);

/* Input and output */

Datum
quota_scope_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(scope_parse(PG_GETARG_CSTRING(0)));
}

Datum
quota_scope_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(scope_to_cstring(PG_GETARG_SCOPE_P(0)));
}

Datum
quota_scope_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int version = pq_getmsgbyte(message);
	int length;

	if (version != SCOPE_BINARY_VERSION)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("unsupported binary version %d of type quota.scope", version),
						errdetail("This server knows version %d.", SCOPE_BINARY_VERSION)));
	PG_RETURN_POINTER(scope_parse(pq_getmsgtext(message, message->len - message->cursor, &length)));
}

Datum
quota_scope_send(PG_FUNCTION_ARGS)
{
	char *text = scope_to_cstring(PG_GETARG_SCOPE_P(0));
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendbyte(&message, SCOPE_BINARY_VERSION);
	pq_sendtext(&message, text, strlen(text));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
quota_scope_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	JsonbValue value;

	if (!JB_ROOT_IS_SCALAR(document) || !JsonbExtractScalar(&document->root, &value) ||
		value.type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot cast jsonb to type quota.scope"),
						errdetail("A scope is a string in jsonb.")));
	PG_RETURN_POINTER(scope_parse(pnstrdup(value.val.string.val, value.val.string.len)));
}

Datum
quota_scope_to_jsonb(PG_FUNCTION_ARGS)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = scope_to_cstring(PG_GETARG_SCOPE_P(0));
	value.val.string.len = strlen(value.val.string.val);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&value));
}

/* Order and containment */

DEFINE_ORDER(quota_scope, scope_compare);

/* ancestor @> descendant */
Datum
quota_scope_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(scope_contains(PG_GETARG_SCOPE_P(0), PG_GETARG_SCOPE_P(1)));
}

/* descendant <@ ancestor */
Datum
quota_scope_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(scope_contains(PG_GETARG_SCOPE_P(1), PG_GETARG_SCOPE_P(0)));
}

/* Functions */

/* quota.scope(kind, name): a root; the name is taken literally */
Datum
quota_scope_make(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(scope_append(NULL, text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

Datum
quota_scope_concat(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(scope_concat(PG_GETARG_SCOPE_P(0), PG_GETARG_SCOPE_P(1)));
}

Datum
quota_scope_parent(PG_FUNCTION_ARGS)
{
	Scope *parent = scope_parent(PG_GETARG_SCOPE_P(0));

	if (parent == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(parent);
}

Datum
quota_scope_root(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(scope_root(PG_GETARG_SCOPE_P(0)));
}

/* quota.ancestors(scope): root first, the scope itself last */
Datum
quota_scope_ancestors(PG_FUNCTION_ARGS)
{
	Scope *scope = PG_GETARG_SCOPE_P(0);
	int depth = scope_depth(scope);
	Oid element_type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	Datum ancestors[SCOPE_MAX_DEPTH];

	for (int i = 0; i < depth; i++)
		ancestors[i] = ScopePGetDatum(scope_prefix(scope, i + 1));
	PG_RETURN_ARRAYTYPE_P(construct_array(ancestors, depth, element_type, -1, false, TYPALIGN_INT));
}

Datum
quota_scope_kind(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(scope_kind(PG_GETARG_SCOPE_P(0))));
}

Datum
quota_scope_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(scope_name(PG_GETARG_SCOPE_P(0))));
}

Datum
quota_scope_is_wildcard(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(scope_is_wildcard(PG_GETARG_SCOPE_P(0)));
}

Datum
quota_scope_depth(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(scope_depth(PG_GETARG_SCOPE_P(0)));
}

Datum
quota_scope_root_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(scope_root_hash(PG_GETARG_SCOPE_P(0)));
}

Datum
quota_scope_subtree_end(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(scope_subtree_end(PG_GETARG_SCOPE_P(0)));
}
