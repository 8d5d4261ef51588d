/*
 * compat.h
 *		The differences between PostgreSQL 15 and 18, in one place.
 */
#ifndef XAVIER_QUOTA_COMPAT_H
#define XAVIER_QUOTA_COMPAT_H

#include "postgres.h"
#include "utils/guc.h"

/* The macros of variable-length values moved out of postgres.h in 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* The extra data of a GUC's check hook is freed by guc_free() since 16. */
#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, (size))
#else
#define compat_guc_malloc(size) malloc(size)
#endif

/* Columns that only one side has can be allowed since 16. */
#if PG_VERSION_NUM >= 160000
#define compat_build_attrmap(from, to) build_attrmap_by_name_if_req((from), (to), false)
#else
#define compat_build_attrmap(from, to) build_attrmap_by_name_if_req((from), (to))
#endif

/* make_range() takes a context for soft errors since 16. */
#if PG_VERSION_NUM >= 160000
#define compat_make_range(typcache, lower, upper, empty) \
	make_range((typcache), (lower), (upper), (empty), NULL)
#else
#define compat_make_range(typcache, lower, upper, empty) \
	make_range((typcache), (lower), (upper), (empty))
#endif

/* The length that pq_sendcountedtext() sends never includes itself since 17. */
#if PG_VERSION_NUM >= 170000
#define compat_sendcountedtext(message, text, length) \
	pq_sendcountedtext((message), (text), (length))
#else
#define compat_sendcountedtext(message, text, length) \
	pq_sendcountedtext((message), (text), (length), false)
#endif

/* Backends are numbered by proc since 17. */
#if PG_VERSION_NUM >= 170000
#define compat_vxid_proc(vxid) ProcNumberGetProc((vxid).procNumber)
#else
#define compat_vxid_proc(vxid) BackendIdGetProc((vxid).backendId)
#endif

/* Index scans can be instrumented since 18. */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#endif

/* ExecInsertIndexTuples() can be told to update summarizing indexes only since 16. */
#if PG_VERSION_NUM >= 160000
#define compat_insert_index_tuples(indexes, slot, estate) \
	((void) ExecInsertIndexTuples((indexes), (slot), (estate), false, false, NULL, NIL, false))
#else
#define compat_insert_index_tuples(indexes, slot, estate) \
	((void) ExecInsertIndexTuples((indexes), (slot), (estate), false, false, NULL, NIL))
#endif

/* What says that a function does not return stands in front of it since 18. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

#endif /* XAVIER_QUOTA_COMPAT_H */
