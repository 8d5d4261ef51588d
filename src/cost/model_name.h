/*
 * model_name.h
 *		Under which other names a model may have its card.
 */
#ifndef XAVIER_QUOTA_COST_MODEL_NAME_H
#define XAVIER_QUOTA_COST_MODEL_NAME_H

#include "postgres.h"

/* A name under which a card is looked for. */
typedef struct ModelName
{
	char *name;
	const char *how;      /* it follows from the given name, static; NULL: it is the given one */
	const char *provider; /* the card must be of this provider; NULL: of any */
} ModelName;

#define MODEL_NAME_COUNT 4

/* Functions in model_name.c */
extern int model_name_derive(const char *given, ModelName *names);
extern bool model_name_is_of(const char *prefix, const char *provider);

#endif /* XAVIER_QUOTA_COST_MODEL_NAME_H */
