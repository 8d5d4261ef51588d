/*
 * scope.h
 *		quota.scope: the path of an account, 'company:acme/project:apollo'.
 */
#ifndef XAVIER_QUOTA_TYPES_SCOPE_H
#define XAVIER_QUOTA_TYPES_SCOPE_H

#include "postgres.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

#include "types/reader.h"

/* A varlena whose bytes compare with memcmp in the type's order; see scope.c. */
typedef struct varlena Scope;

#define SCOPE_NAME_MAX 127 /* bytes */
#define SCOPE_MAX_DEPTH 32

#define DatumGetScopeP(datum) ((Scope *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_SCOPE_P(n) DatumGetScopeP(PG_GETARG_DATUM(n))
#define ScopePGetDatum(scope) PointerGetDatum(scope)

/* Functions in scope.c; results are palloc'd. */
extern Scope *scope_parse(const char *text);
extern Scope *scope_read(TextReader *reader); /* one scope within a longer text */
extern char *scope_to_cstring(const Scope *scope);
extern void scope_write(const Scope *scope, StringInfo out);
extern int scope_depth(const Scope *scope);
extern int scope_compare(const Scope *a, const Scope *b);
extern bool scope_contains(const Scope *ancestor, const Scope *descendant);
extern Scope *scope_prefix(const Scope *scope, int depth); /* its ancestor of that depth */
extern Scope *scope_root(const Scope *scope);
extern Scope *scope_parent(const Scope *scope);    /* NULL for a root */
extern char *scope_kind(const Scope *scope);       /* of the last component */
extern char *scope_name(const Scope *scope);       /* of the last component; "*" if a wildcard */
extern bool scope_is_wildcard(const Scope *scope); /* last component is kind:* */
extern Scope *scope_concat(const Scope *a, const Scope *b);

/* parent may be NULL; name is taken literally, NULL is the wildcard. */
extern Scope *scope_append(const Scope *parent, const char *kind, const char *name);
extern Scope *scope_subtree_end(const Scope *scope);

/* 32 bits of the root component, the same on every server; leads every hold id. */
extern uint32 scope_root_hash(const Scope *scope);

#endif /* XAVIER_QUOTA_TYPES_SCOPE_H */
