/*
 * changes_internal.h
 *		What the triggers note, and what becomes of it.
 */
#ifndef XAVIER_QUOTA_DIRECTORY_CHANGES_INTERNAL_H
#define XAVIER_QUOTA_DIRECTORY_CHANGES_INTERNAL_H

#include "directory/changes.h"

/* Functions in changes.c */
extern void changes_note(bool global, uint32 root_hash, bool counted, bool names);
extern bool changes_note_of_all(void);
extern void changes_lock_for_commit(void);
extern bool changes_is_own_write(void);

/* Functions in instants.c */
extern void instants_note(void);
extern void instants_set(void);
extern void instants_rolled_back(void);
extern void instants_forget(void);

#endif /* XAVIER_QUOTA_DIRECTORY_CHANGES_INTERNAL_H */
