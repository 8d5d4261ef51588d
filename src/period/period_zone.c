/*
 * period_zone.c
 *		Time zones by name.
 *
 * A period stores the name of its zone as the time zone database spells it. The
 * rules come from the server's database at each use; an update of that database
 * moves future boundaries, as it should.
 *
 * Only zones of the database are accepted. PostgreSQL also takes POSIX rules such
 * as 'FOO5' for a zone, so that a misspelt name with a digit in it would be
 * accepted silently and shift every boundary. Such a rule needs a digit, so only
 * names with one are looked up in the database's list. Abbreviations are no zones
 * either: 'EET' is the zone of that name, with its summer time, where AT TIME ZONE
 * would take it for two hours east of Greenwich.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"

#include "period/period_internal.h"

/* Zones that this backend has used, by name. PostgreSQL never frees a pg_tz. */
#define ZONE_CACHE_SIZE 32

typedef struct ZoneCacheEntry
{
	pg_tz *zone; /* NULL if the entry is free */
	int length;
	char name[TZ_STRLEN_MAX]; /* as it was asked for */
} ZoneCacheEntry;

static ZoneCacheEntry zone_cache[ZONE_CACHE_SIZE];

/*
 * Tells whether the time zone database has a zone of this name, in any case.
 */
static bool
zone_is_listed(const char *name)
{
	pg_tzenum *list = pg_tzenumerate_start();
	pg_tz *zone;
	bool found = false;

	while (!found && (zone = pg_tzenumerate_next(list)) != NULL)
		found = pg_strcasecmp(pg_get_timezone_name(zone), name) == 0;
	pg_tzenumerate_end(list);
	return found;
}

/*
 * Looks a zone up in the time zone database, in any case. Returns NULL if the
 * server does not know it or cannot use it (leap seconds).
 */
static pg_tz *
zone_load(const char *name)
{
	pg_tz *zone;

	if (strpbrk(name, "0123456789") != NULL && !zone_is_listed(name))
		return NULL;
	zone = pg_tzset(name);
	return (zone != NULL && pg_tz_acceptable(zone)) ? zone : NULL;
}

/*
 * Returns the zone of a name that is not NUL-terminated, in any case; NULL if the
 * server does not know it.
 */
static pg_tz *
zone_find(const char *name, int length)
{
	ZoneCacheEntry *entry;
	char copy[TZ_STRLEN_MAX + 1];
	pg_tz *zone;

	if (length > TZ_STRLEN_MAX || memchr(name, '\0', length) != NULL)
		return NULL;
	entry = &zone_cache[hash_bytes((const unsigned char *) name, length) % ZONE_CACHE_SIZE];
	if (entry->zone != NULL && entry->length == length && memcmp(entry->name, name, length) == 0)
		return entry->zone;

	memcpy(copy, name, length);
	copy[length] = '\0';
	zone = zone_load(copy);
	if (zone != NULL)
	{
		memcpy(entry->name, name, length);
		entry->length = length;
		entry->zone = zone;
	}
	return zone;
}

/*
 * period_set_zone
 *		Gives a calendar period its zone, in any case; no name means UTC. The name
 *		that parts keep is in static storage. Raises 22023 if the server does not
 *		know the zone.
 */
void
period_set_zone(PeriodParts *parts, const char *name, int length)
{
	pg_tz *zone;

	parts->zone = NULL;
	parts->zone_length = 0;
	if (length == 0)
		return;
	zone = zone_find(name, length);
	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%.*s\" not recognized",
						pg_mbcliplen(name, length, TZ_STRLEN_MAX), name),
				 errhint("The view pg_timezone_names lists the zones that this server knows.")));
	if (strcmp(pg_get_timezone_name(zone), "UTC") == 0)
		return;
	parts->zone = pg_get_timezone_name(zone);
	parts->zone_length = strlen(parts->zone);
}

/*
 * period_zone
 *		Returns the zone of a period, NULL for UTC. Raises 22023 if the server no
 *		longer knows it.
 */
pg_tz *
period_zone(const PeriodParts *parts)
{
	pg_tz *zone;

	if (parts->zone_length == 0)
		return NULL;
	zone = zone_find(parts->zone, parts->zone_length);
	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%.*s\" not recognized", parts->zone_length, parts->zone),
				 errdetail("A stored period names a zone that this server does not know."),
				 errhint("Update the time zone database of the server.")));
	return zone;
}
