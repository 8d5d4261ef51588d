/*
 * card_internal.h
 *		What the files that read a rate card share.
 */
#ifndef XAVIER_QUOTA_COST_CARD_INTERNAL_H
#define XAVIER_QUOTA_COST_CARD_INTERNAL_H

#include "compat.h"
#include "cost/plan.h"

/* Where in the card something is, for errors. */
typedef struct CardPlace
{
	const char *list; /* "line", "multiplier", or NULL for the card itself */
	int number;
} CardPlace;

static inline bool
card_key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		   memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/* The object that a value is; NULL if it is of another type. */
static inline JsonbContainer *
card_value_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data)
			   ? value->val.binary.data
			   : NULL;
}

/* The array that a value is; NULL if it is of another type. */
static inline JsonbContainer *
card_value_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data)
			   ? value->val.binary.data
			   : NULL;
}

/* Functions in card_value.c; all of them raise XQ202, naming the place and the key. */
pg_noreturn extern void card_fail(const CardPlace *place, const char *key, const char *detail);
extern char *card_key_name(const JsonbValue *key);
extern int128
card_read_decimal(const CardPlace *place, const char *key, const JsonbValue *value, int scale);
extern int128 card_read_price(const CardPlace *place, const char *key, const JsonbValue *value);
extern int64 card_read_quantity(const CardPlace *place, const char *key, const JsonbValue *value);
extern Measure card_read_meter(const CardPlace *place, const char *key, const JsonbValue *value);

/* Functions in card_condition.c */
extern void card_read_conditions(const CardPlace *place, const JsonbValue *value, bool above,
								 PlanConditions *conditions);

/* Functions in card_line.c */
extern void
card_read_line(const CardPlace *place, JsonbContainer *object, PlanLine *line, int *required);

#endif /* XAVIER_QUOTA_COST_CARD_INTERNAL_H */
