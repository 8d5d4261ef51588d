/*
 * order.h
 *		The SQL functions of an order: six comparisons and the support functions of
 *		btree and hash, for quota.scope, quota.amount, quota.quota and quota.period.
 *
 * All are varlenas with one form for each value, so that the bytes can be hashed
 * and a btree may take equal bytes for equal values (btequalimage). The functions
 * cannot fail and tell nothing but their result: they are leakproof.
 */
#ifndef XAVIER_QUOTA_TYPES_ORDER_H
#define XAVIER_QUOTA_TYPES_ORDER_H

#include "common/hashfn.h"
#include "fmgr.h"

#define DEFINE_COMPARISON(symbol, return_macro, compare, relation)       \
	PG_FUNCTION_INFO_V1(symbol);                                         \
	Datum symbol(PG_FUNCTION_ARGS)                                       \
	{                                                                    \
		struct varlena *a = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0)); \
		struct varlena *b = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(1)); \
		int order = compare(a, b);                                       \
                                                                         \
		PG_FREE_IF_COPY(a, 0);                                           \
		PG_FREE_IF_COPY(b, 1);                                           \
		return_macro(order relation);                                    \
	}                                                                    \
	extern int no_such_variable

#define DEFINE_HASH(symbol, hash_bytes_of)                                       \
	PG_FUNCTION_INFO_V1(symbol);                                                 \
	Datum symbol(PG_FUNCTION_ARGS)                                               \
	{                                                                            \
		struct varlena *value = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));     \
		const unsigned char *bytes = (const unsigned char *) VARDATA_ANY(value); \
		Datum hash = hash_bytes_of;                                              \
                                                                                 \
		PG_FREE_IF_COPY(value, 0);                                               \
		return hash;                                                             \
	}                                                                            \
	extern int no_such_variable

/* Defines prefix_eq, _ne, _lt, _le, _gt, _ge, _cmp, _hash and _hash_extended. */
#define DEFINE_ORDER(prefix, compare)                                            \
	DEFINE_COMPARISON(prefix##_eq, PG_RETURN_BOOL, compare, == 0);               \
	DEFINE_COMPARISON(prefix##_ne, PG_RETURN_BOOL, compare, != 0);               \
	DEFINE_COMPARISON(prefix##_lt, PG_RETURN_BOOL, compare, < 0);                \
	DEFINE_COMPARISON(prefix##_le, PG_RETURN_BOOL, compare, <= 0);               \
	DEFINE_COMPARISON(prefix##_gt, PG_RETURN_BOOL, compare, > 0);                \
	DEFINE_COMPARISON(prefix##_ge, PG_RETURN_BOOL, compare, >= 0);               \
	DEFINE_COMPARISON(prefix##_cmp, PG_RETURN_INT32, compare, +0);               \
	DEFINE_HASH(prefix##_hash, hash_any(bytes, (int) VARSIZE_ANY_EXHDR(value))); \
	DEFINE_HASH(prefix##_hash_extended,                                          \
				hash_any_extended(bytes, (int) VARSIZE_ANY_EXHDR(value), PG_GETARG_INT64(1)))

#endif /* XAVIER_QUOTA_TYPES_ORDER_H */
