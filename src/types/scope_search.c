/*
 * scope_search.c
 *		Planner support: searches of the tree of scopes by a btree index.
 *
 * By the order of scopes (see scope.c) a subtree is one range, and what lies above a
 * scope are a few known values. So each operator gives an exact index condition:
 *
 *		column <@ value, value @> column		column >= value AND column < end of value
 *		column @> value, value <@ column		column = ANY (ancestors of value)
 *
 * The value is any expression that is constant during one scan: a constant, a
 * parameter, a stable function, a column of another table. A constant gives
 * constants, which the planner can estimate; else the end and the ancestors are
 * computed by functions when the scan starts.
 *
 * Caveat: up to PostgreSQL 16 the planner looks only at the original clause when it
 * decides whether = ANY on a later column of an index spoils the order of a scan.
 * So the second form is offered for the first column only.
 */
#include "types/scope.h"

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(quota_scope_contains_support);
PG_FUNCTION_INFO_V1(quota_scope_contained_support);

/* What a support function is asked about: key OP value. */
typedef struct ScopeSearch
{
	Oid scope_type;
	Oid schema; /* of our functions */
	Oid opfamily;
	Node *key;   /* the indexed column or expression */
	Expr *value; /* what it is compared with, constant during a scan */
} ScopeSearch;

/* Fills search; false if the index or the other argument does not allow the search. */
static bool
scope_search_init(ScopeSearch *search, const SupportRequestIndexCondition *request)
{
	List *arguments = is_opclause(request->node)     ? ((OpExpr *) request->node)->args
					  : IsA(request->node, FuncExpr) ? ((FuncExpr *) request->node)->args
													 : NIL;
	Oid *argument_types;
	int argument_count;

	if (list_length(arguments) != 2)
		return false;
	search->key = list_nth(arguments, request->indexarg);
	search->value = list_nth(arguments, 1 - request->indexarg);
	if (!is_pseudo_constant_for_index(request->root, (Node *) search->value, request->index))
		return false;

	/* Only our own order has the properties that the conditions stand on. */
	get_func_signature(request->funcid, &argument_types, &argument_count);
	search->scope_type = argument_types[0];
	search->schema = get_func_namespace(request->funcid);
	search->opfamily = request->opfamily;
	return search->opfamily ==
		   get_opclass_family(GetDefaultOpClass(search->scope_type, BTREE_AM_OID));
}

static Oid
scope_search_operator(const ScopeSearch *search, StrategyNumber strategy)
{
	return get_opfamily_member(search->opfamily, search->scope_type, search->scope_type, strategy);
}

/*
 * A call with the value as the only argument of the function of that name beside the
 * operator's; NULL if there is none. Looks into the catalog directly: the user may
 * be allowed to call the functions without being allowed to search the schema.
 */
static Expr *
scope_search_call(const ScopeSearch *search, const char *function)
{
	oidvector *types = buildoidvector(&search->scope_type, 1);
	Oid function_oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(function),
									   PointerGetDatum(types), ObjectIdGetDatum(search->schema));

	if (!OidIsValid(function_oid))
		return NULL;
	return (Expr *) makeFuncExpr(function_oid, get_func_rettype(function_oid),
								 list_make1(copyObject(search->value)), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* key >= value AND key < end of value */
static List *
scope_search_below(const ScopeSearch *search)
{
	Expr *end;

	if (IsA(search->value, Const))
	{
		Const *value = (Const *) search->value;

		if (value->constisnull)
			return NIL;
		end =
			(Expr *) makeConst(search->scope_type, -1, InvalidOid, -1,
							   ScopePGetDatum(scope_subtree_end(DatumGetScopeP(value->constvalue))),
							   false, false);
	}
	else
		end = scope_search_call(search, "_scope_subtree_end");
	if (end == NULL)
		return NIL;

	return list_make2(make_opclause(scope_search_operator(search, BTGreaterEqualStrategyNumber),
									BOOLOID, false, (Expr *) search->key, search->value, InvalidOid,
									InvalidOid),
					  make_opclause(scope_search_operator(search, BTLessStrategyNumber), BOOLOID,
									false, (Expr *) search->key, end, InvalidOid, InvalidOid));
}

/* key = ANY (ancestors of value) */
static List *
scope_search_above(const SupportRequestIndexCondition *request, const ScopeSearch *search)
{
	if (request->indexcol != 0)
		return NIL;
	if (IsA(search->value, Const) && ((Const *) search->value)->constisnull)
		return NIL;

	Expr *ancestors = scope_search_call(search, "ancestors");
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	if (ancestors == NULL)
		return NIL;
	any->opno = scope_search_operator(search, BTEqualStrategyNumber);
	any->opfuncid = get_opcode(any->opno);
	any->useOr = true;
	any->inputcollid = InvalidOid;
	any->args = list_make2(search->key, eval_const_expressions(request->root, (Node *) ancestors));
	any->location = -1;
	return list_make1(any);
}

/* Answers a request about container @> contained, or <@ with the sides changed. */
static Datum
scope_search_support(Node *node, int contained_argument)
{
	SupportRequestIndexCondition *request = (SupportRequestIndexCondition *) node;
	ScopeSearch search;

	if (!IsA(node, SupportRequestIndexCondition) || !scope_search_init(&search, request))
		PG_RETURN_POINTER(NULL);

	List *conditions = request->indexarg == contained_argument
						   ? scope_search_below(&search)
						   : scope_search_above(request, &search);

	request->lossy = false;
	PG_RETURN_POINTER(conditions);
}

/* Supports quota._scope_contains(container, contained): @> */
Datum
quota_scope_contains_support(PG_FUNCTION_ARGS)
{
	return scope_search_support((Node *) PG_GETARG_POINTER(0), 1);
}

/* Supports quota._scope_contained(contained, container): <@ */
Datum
quota_scope_contained_support(PG_FUNCTION_ARGS)
{
	return scope_search_support((Node *) PG_GETARG_POINTER(0), 0);
}
