/*
 * errors.h
 *		The SQLSTATEs of the extension, class XQ. docs/reference.md lists them for
 *		callers; a test raises each one. XQ007, XQ008, XQ010, XQ301 and XQ302 are
 *		raised by functions in SQL only, by their codes.
 *
 * Malformed values use PostgreSQL's own codes (22P02, 22003, 22023, ...).
 */
#ifndef XAVIER_QUOTA_ERRORS_H
#define XAVIER_QUOTA_ERRORS_H

#include "utils/elog.h"

/* XQ0: the call names something that does not exist */
#define ERRCODE_QUOTA_UNKNOWN_USER MAKE_SQLSTATE('X', 'Q', '0', '0', '1')
#define ERRCODE_QUOTA_UNKNOWN_PROJECT MAKE_SQLSTATE('X', 'Q', '0', '0', '2')
#define ERRCODE_QUOTA_UNKNOWN_MODEL MAKE_SQLSTATE('X', 'Q', '0', '0', '3')
#define ERRCODE_QUOTA_UNKNOWN_HOLD MAKE_SQLSTATE('X', 'Q', '0', '0', '4')
#define ERRCODE_QUOTA_UNKNOWN_ACCOUNT MAKE_SQLSTATE('X', 'Q', '0', '0', '5')
#define ERRCODE_QUOTA_UNKNOWN_RESOURCE MAKE_SQLSTATE('X', 'Q', '0', '0', '6')
#define ERRCODE_QUOTA_UNKNOWN_PLAN MAKE_SQLSTATE('X', 'Q', '0', '0', '7')
#define ERRCODE_QUOTA_UNKNOWN_LIMIT MAKE_SQLSTATE('X', 'Q', '0', '0', '8')
#define ERRCODE_QUOTA_AMBIGUOUS_PROJECT MAKE_SQLSTATE('X', 'Q', '0', '0', '9')
#define ERRCODE_QUOTA_UNKNOWN_GRANT MAKE_SQLSTATE('X', 'Q', '0', '1', '0')

/* XQ1: the state of a hold or a key does not allow the call */
#define ERRCODE_QUOTA_HOLD_SETTLED MAKE_SQLSTATE('X', 'Q', '1', '0', '1')
#define ERRCODE_QUOTA_HOLD_RELEASED MAKE_SQLSTATE('X', 'Q', '1', '0', '2')
#define ERRCODE_QUOTA_KEY_REUSED MAKE_SQLSTATE('X', 'Q', '1', '0', '3')

/* XQ2: the request, usage or rate card cannot be priced */
#define ERRCODE_QUOTA_INVALID_REQUEST MAKE_SQLSTATE('X', 'Q', '2', '0', '1')
#define ERRCODE_QUOTA_INVALID_RATE_CARD MAKE_SQLSTATE('X', 'Q', '2', '0', '2')

/* XQ3: a definition is refused */
#define ERRCODE_QUOTA_INVALID_DEFINITION MAKE_SQLSTATE('X', 'Q', '3', '0', '1')
#define ERRCODE_QUOTA_LIMIT_BELOW_USE MAKE_SQLSTATE('X', 'Q', '3', '0', '2')

#endif /* XAVIER_QUOTA_ERRORS_H */
