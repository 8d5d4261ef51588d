/*
 * relations.c
 *		Finds the extension and its relations by name, and remembers their OIDs.
 *
 * The cache is dropped when any of the relations is invalidated, so it survives
 * neither DROP EXTENSION nor a change of database objects that matters. First
 * use compares the version of the SQL objects with that of this library.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/sinval.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "relations.h"
#include "xavier_quota.h"

#define EXTENSION_NAME "xavier_quota"

static const char *const relation_names[REL_COUNT] = {
	[REL_GLOBAL_LOCK] = "global_lock", [REL_ACCOUNTS] = "accounts", [REL_HOLDS] = "holds",
	[REL_HOLDS_PKEY] = "holds_pkey",   [REL_EVENTS] = "events",     [REL_KEYS] = "keys",
	[REL_KEYS_PKEY] = "keys_pkey",
};

static bool cache_valid = false;
static Oid cache_extension;
static Oid cache_relations[REL_COUNT];

static void
relations_invalidate(Datum arg pg_attribute_unused(), Oid relid)
{
	if (!OidIsValid(relid))
		cache_valid = false;
	for (int i = 0; i < REL_COUNT && cache_valid; i++)
	{
		if (cache_relations[i] == relid)
			cache_valid = false;
	}
}

/*
 * relations_check_version
 *		Raises an error unless the SQL objects are those that this library is for.
 */
static void
relations_check_version(void)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	char *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum datum =
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		if (!isnull)
			version = TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (version == NULL || strcmp(version, XAVIER_QUOTA_VERSION) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension \"%s\" is version %s, its library is version %s",
							   EXTENSION_NAME, version ? version : "unknown", XAVIER_QUOTA_VERSION),
						errhint("Run ALTER EXTENSION %s UPDATE, or restart the server if the "
								"library was replaced.",
								EXTENSION_NAME)));
}

static void
relations_look_up(void)
{
	Oid namespace_oid = get_namespace_oid(QUOTA_SCHEMA, false);

	cache_extension = get_extension_oid(EXTENSION_NAME, false);
	relations_check_version();
	for (int i = 0; i < REL_COUNT; i++)
	{
		cache_relations[i] = get_relname_relid(relation_names[i], namespace_oid);
		if (!OidIsValid(cache_relations[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation \"%s.%s\" does not exist", QUOTA_SCHEMA, relation_names[i]),
					 errhint("Create the extension \"%s\" again.", EXTENSION_NAME)));
	}
}

/* What others change while it is being looked up, is looked up again. */
static void
relations_fill(void)
{
	uint64 before;

	do
	{
		before = SharedInvalidMessageCounter;
		relations_look_up();
	} while (before != SharedInvalidMessageCounter);
	cache_valid = true;
}

/*
 * quota_exists
 *		Says whether this database has the extension.
 */
bool
quota_exists(void)
{
	return cache_valid || OidIsValid(get_extension_oid(EXTENSION_NAME, true));
}

/*
 * quota_relation
 *		Returns the OID of one of the extension's relations.
 */
Oid
quota_relation(QuotaRelation relation)
{
	if (!cache_valid)
		relations_fill();
	return cache_relations[relation];
}

/*
 * quota_extension
 *		Returns the OID of this CREATE EXTENSION.
 */
Oid
quota_extension(void)
{
	if (!cache_valid)
		relations_fill();
	return cache_extension;
}

void
relations_init(void)
{
	CacheRegisterRelcacheCallback(relations_invalidate, (Datum) 0);
}
