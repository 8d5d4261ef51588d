/*
 * resources.h
 *		Which resources amounts may be made of.
 */
#ifndef XAVIER_QUOTA_API_RESOURCES_H
#define XAVIER_QUOTA_API_RESOURCES_H

#include "types/amount.h"

/* Functions in resources.c */
extern void resources_check_request(const Amount *amount);
extern void resources_check_charge(const Amount *amount, bool negative_allowed);

#endif /* XAVIER_QUOTA_API_RESOURCES_H */
