/*
 * operation.h
 *		What every call of the engine begins with, and its limits.
 */
#ifndef XAVIER_QUOTA_API_OPERATION_H
#define XAVIER_QUOTA_API_OPERATION_H

#include "xavier_quota.h"
#include "fmgr.h"
#include "utils/timestamp.h"

/* Functions in operation.c */
extern void operation_init(void);
extern void operation_begin(const char *name, bool writes);
extern bool operation_on_standby(void);
extern TimestampTz operation_expiry(TimestampTz now, const Interval *ttl);
extern void operation_require(FunctionCallInfo fcinfo, int argument, const char *name);
extern const char *operation_key(FunctionCallInfo fcinfo, int argument);
extern char *operation_text(FunctionCallInfo fcinfo, int argument, const char *name);

#endif /* XAVIER_QUOTA_API_OPERATION_H */
