/*
 * query.h
 *		Queries from C: planned once per backend, on a latest snapshot, always
 *		through the indexes.
 */
#ifndef XAVIER_QUOTA_QUERY_H
#define XAVIER_QUOTA_QUERY_H

#include "postgres.h"
#include "executor/spi.h"
#include "utils/snapshot.h"

#define QUERY_MAX_ARGUMENTS 8

/* A query, declared static: its plan is kept. Every name in text is qualified. */
typedef struct PreparedQuery
{
	const char *text;
	int argument_count;
	Oid argument_types[QUERY_MAX_ARGUMENTS];
	SPIPlanPtr plan;
} PreparedQuery;

/* Queries that share one snapshot. */
typedef struct QueryScope
{
	Snapshot snapshot;
	int guc_level;
} QueryScope;

/* Takes one row, whose values are there for the call only; runs in SPI's memory context. */
typedef void (*QueryRow)(Datum *values, bool *nulls, void *arg);

/* Functions in query.c */
extern void query_begin(QueryScope *scope);
extern int64 query_run(QueryScope *scope, PreparedQuery *query, Datum *arguments, const char *nulls,
					   QueryRow row, void *arg);
extern void query_end(QueryScope *scope);

#endif /* XAVIER_QUOTA_QUERY_H */
