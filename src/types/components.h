/*
 * components.h
 *		Lists of (resource, millionths), sorted by resource: what quota.amount and each
 *		level of quota.quota are made of.
 */
#ifndef XAVIER_QUOTA_TYPES_COMPONENTS_H
#define XAVIER_QUOTA_TYPES_COMPONENTS_H

#include "xavier_quota.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "types/reader.h"

/* One component outside of a datum. */
typedef struct AmountEntry
{
	const char *resource; /* NUL-terminated */
	int64 micros;
} AmountEntry;

/* Of one amount, or of one level of a quota. */
#define AMOUNT_MAX_ENTRIES 64

/*
 * Functions in components.c. Lists have room for AMOUNT_MAX_ENTRIES unless only
 * read; a function that fills one returns its count. type_name goes into errors.
 */
extern void components_require_room(int count, const char *type_name);
extern void components_sort(AmountEntry *entries, int count);
extern int components_drop_zeros(AmountEntry *entries, int count);
extern int components_compare(const AmountEntry *a, int a_count, const AmountEntry *b, int b_count);
extern const AmountEntry *
components_find(const AmountEntry *entries, int count, const char *resource);

/* Packed form */
extern Size components_packed_size(const AmountEntry *entries, int count);
extern char *components_pack(const AmountEntry *entries, int count, char *packed);
extern const char *components_unpack(const char *packed, AmountEntry *entries, int *count);

/* Text, binary and jsonb forms */
extern int components_read(TextReader *reader, char terminator, AmountEntry *entries);
extern void components_write(const AmountEntry *entries, int count, StringInfo out);
extern int
components_receive(StringInfo message, const char *type_name, bool zeros, AmountEntry *entries);
extern void components_send(const AmountEntry *entries, int count, StringInfo message);
extern int
components_from_jsonb(JsonbContainer *object, const char *type_name, AmountEntry *entries);
extern JsonbValue *
components_to_jsonb(const AmountEntry *entries, int count, JsonbParseState **state);

#endif /* XAVIER_QUOTA_TYPES_COMPONENTS_H */
