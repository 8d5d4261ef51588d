/*
 * model_pattern.h
 *		Patterns of model names, in limits and in model rules.
 */
#ifndef XAVIER_QUOTA_MODEL_PATTERN_H
#define XAVIER_QUOTA_MODEL_PATTERN_H

#include "postgres.h"

/* Functions in model_pattern.c */
extern bool model_matches(const char *pattern, const char *model);

#endif /* XAVIER_QUOTA_MODEL_PATTERN_H */
