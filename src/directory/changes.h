/*
 * changes.h
 *		Definitions that this transaction has changed and not committed, and the
 *		locks under which definitions stand still.
 */
#ifndef XAVIER_QUOTA_DIRECTORY_CHANGES_H
#define XAVIER_QUOTA_DIRECTORY_CHANGES_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* Functions in changes.c */
extern void changes_init(void);
extern void changes_lock_global(void);
extern int64 changes_private_id(uint32 root_hash);
extern uint64 changes_local_epoch(void);
extern void changes_begin_own_write(void);
extern void changes_end_own_write(void);

/* Functions in instants.c */
extern TimestampTz changes_instant(TimestampTz at);

#endif /* XAVIER_QUOTA_DIRECTORY_CHANGES_H */
