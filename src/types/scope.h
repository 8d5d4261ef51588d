/*
 * scope.h
 *		quota.scope: the path of an account, 'company:acme/project:apollo'.
 */
#ifndef XAVIER_QUOTA_TYPES_SCOPE_H
#define XAVIER_QUOTA_TYPES_SCOPE_H

#include "postgres.h"
#include "fmgr.h"

/* A varlena whose bytes compare with memcmp in the type's order; see scope.c. */
typedef struct varlena Scope;

#define DatumGetScopeP(datum) ((Scope *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_SCOPE_P(n) DatumGetScopeP(PG_GETARG_DATUM(n))
#define ScopePGetDatum(scope) PointerGetDatum(scope)

/* Functions in scope.c; results are palloc'd. */
extern Scope *scope_parse(const char *text);
extern char *scope_to_cstring(const Scope *scope);
extern int scope_depth(const Scope *scope);
extern int scope_compare(const Scope *a, const Scope *b);
extern bool scope_contains(const Scope *ancestor, const Scope *descendant);
extern Scope *scope_root(const Scope *scope);
extern Scope *scope_parent(const Scope *scope); /* NULL for a root */
extern char *scope_kind(const Scope *scope);	/* of the last component */
extern char *scope_name(const Scope *scope);	/* of the last component; "*" if a wildcard */
extern bool scope_is_wildcard(const Scope *scope); /* last component is kind:* */
extern Scope *scope_append(const Scope *parent, const char *kind, const char *name);

/* 32 bits of the root component, the same on every server; leads every hold id. */
extern uint32 scope_root_hash(const Scope *scope);

#endif /* XAVIER_QUOTA_TYPES_SCOPE_H */
