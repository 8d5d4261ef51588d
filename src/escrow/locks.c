/*
 * locks.c
 *		The heavyweight locks of the engine.
 *
 * In this order: global, roots in ascending order of hash, key or hold, load. All
 * but the load lock stay until the (sub)transaction ends.
 *
 *	global	our empty relation: row exclusive by every operation (PostgreSQL's
 *			fast path), share row exclusive by a change of definitions that
 *			belong to no root.
 *	root	an object lock by hash of the root: row exclusive by every operation,
 *			at every call, since a lock first taken in a subtransaction goes with
 *			it; access exclusive by a change of what is counted.
 *	key		an object lock by hash of root and idempotency key: exclusive.
 *	hold	an object lock by hash of a hold's id: exclusive, by what follows the
 *			closing of a hold. (An open hold is locked by its row.)
 *	load	an object lock by hash of the root: exclusive, for the load alone.
 *
 * Object locks are those of our own tables' OIDs, so no other extension's can
 * be in their way; two roots with one hash only wait for each other.
 */
#include "postgres.h"

#include <limits.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "escrow/locks.h"
#include "relations.h"

/* The last field of an object's tag tells our kinds of locks apart. */
#define LOCK_KIND_ROOT 1
#define LOCK_KIND_KEY 2
#define LOCK_KIND_LOAD 3
#define LOCK_KIND_HOLD 4

static int definition_lock_timeout_ms = 2000;

/*
 * acquire_lock, release_lock, lock_relation
 *		Take and give back a lock as the (sub)transaction's own.
 *
 * In a cursor, locks would be the cursor's: when it fails they go, though the
 * transaction may go on, with what earlier fetches have held.
 */
static LockAcquireResult
acquire_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	ResourceOwner owner = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, mode, false, !wait);
	CurrentResourceOwner = owner;
	return result;
}

static void
release_lock(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	(void) LockRelease(tag, mode, false);
	CurrentResourceOwner = owner;
}

static void
lock_relation(Oid relation, LOCKMODE mode)
{
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelationOid(relation, mode);
	CurrentResourceOwner = owner;
}

/*
 * lock_table_shared
 *		Takes the lock that writing a table needs.
 */
void
lock_table_shared(Oid relation)
{
	lock_relation(relation, RowExclusiveLock);
}

static void
set_root_tag(LOCKTAG *tag, uint32 root_hash, uint16 kind)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, quota_relation(REL_ACCOUNTS), root_hash, kind);
}

/* Locks the relation of that name, not one that was dropped while we waited for it. */
static void
lock_global(LOCKMODE mode)
{
	Oid relation;

	do
	{
		relation = quota_relation(REL_GLOBAL_LOCK);
		lock_relation(relation, mode);
	} while (relation != quota_relation(REL_GLOBAL_LOCK));
}

void
lock_global_shared(void)
{
	lock_global(RowExclusiveLock);
}

void
lock_global_exclusive(void)
{
	lock_global(ShareRowExclusiveLock);
}

void
lock_root_shared(uint32 root_hash)
{
	LOCKTAG tag;

	set_root_tag(&tag, root_hash, LOCK_KIND_ROOT);
	(void) acquire_lock(&tag, RowExclusiveLock, true);
}

void
lock_root_exclusive(uint32 root_hash)
{
	LOCKTAG tag;

	set_root_tag(&tag, root_hash, LOCK_KIND_ROOT);
	(void) acquire_lock(&tag, AccessExclusiveLock, true);
}

/*
 * unlock_root_exclusive
 *		Gives the exclusive lock of a root back before the transaction ends: for
 *		one that has looked only.
 */
void
unlock_root_exclusive(uint32 root_hash)
{
	LOCKTAG tag;

	set_root_tag(&tag, root_hash, LOCK_KIND_ROOT);
	release_lock(&tag, AccessExclusiveLock);
}

/*
 * lock_key
 *		Takes the lock of an idempotency key, so that of two calls with one key
 *		the second sees what the first has recorded.
 */
void
lock_key(int64 root_id, const char *key)
{
	LOCKTAG tag;
	uint64 hash = hash_bytes_extended((const unsigned char *) key, strlen(key), (uint64) root_id);

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, quota_relation(REL_KEYS), (uint32) hash, LOCK_KIND_KEY);
	(void) acquire_lock(&tag, ExclusiveLock, true);
}

/*
 * lock_hold_id
 *		Takes the lock of a hold that is not open, so that what follows its closing
 *		happens once.
 */
void
lock_hold_id(const pg_uuid_t *id)
{
	LOCKTAG tag;
	uint32 hash = hash_bytes(id->data, UUID_LEN);

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, quota_relation(REL_HOLDS), hash, LOCK_KIND_HOLD);
	(void) acquire_lock(&tag, ExclusiveLock, true);
}

/*
 * lock_load
 *		Takes the load lock of a root. Returns false if it had to wait for it.
 */
bool
lock_load(uint32 root_hash)
{
	LOCKTAG tag;

	set_root_tag(&tag, root_hash, LOCK_KIND_LOAD);
	if (acquire_lock(&tag, ExclusiveLock, false) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) acquire_lock(&tag, ExclusiveLock, true);
	return false;
}

void
unlock_load(uint32 root_hash)
{
	LOCKTAG tag;

	set_root_tag(&tag, root_hash, LOCK_KIND_LOAD);
	release_lock(&tag, ExclusiveLock);
}

/* '17, 23': the processes that stand in the way of a lock. */
static char *
describe_blockers(const LOCKTAG *tag, LOCKMODE mode)
{
	int count;
	VirtualTransactionId *blockers = GetLockConflicts(tag, mode, &count);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < count; i++)
	{
		PGPROC *proc = compat_vxid_proc(blockers[i]);

		appendStringInfo(&text, "%s%d", i == 0 ? "" : ", ", proc == NULL ? 0 : proc->pid);
	}
	return text.data;
}

/*
 * lock_exclusive_bounded
 *		Takes the exclusive lock of a root, or the global one if global is true,
 *		waiting no longer than xavier_quota.definition_lock_timeout.
 *
 * For the end of a transaction, where statement_timeout does not act, and for
 * upkeep. Errors: 55P03, naming the processes in the way.
 */
void
lock_exclusive_bounded(bool global, uint32 root_hash)
{
	MemoryContext context = CurrentMemoryContext;
	LOCKTAG tag;
	volatile int saved_timeout = LockTimeout;

	if (global)
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, quota_relation(REL_GLOBAL_LOCK));
	else
		set_root_tag(&tag, root_hash, LOCK_KIND_ROOT);

	PG_TRY();
	{
		LockTimeout = definition_lock_timeout_ms;
		if (global)
			lock_global_exclusive();
		else
			lock_root_exclusive(root_hash);
		LockTimeout = saved_timeout;
	}
	PG_CATCH();
	{
		ErrorData *error;

		LockTimeout = saved_timeout;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not change what is counted while operations are in progress"),
				 errdetail("Waited %d ms for the transactions of these processes to end: %s.",
						   definition_lock_timeout_ms,
						   describe_blockers(&tag,
											 global ? ShareRowExclusiveLock : AccessExclusiveLock)),
				 errhint("Try again, end those transactions, or increase "
						 "\"xavier_quota.definition_lock_timeout\".")));
	}
	PG_END_TRY();
}

void
locks_init(void)
{
	DefineCustomIntVariable("xavier_quota.definition_lock_timeout",
							"Sets how long a change of what is counted waits for operations in "
							"progress.",
							NULL, &definition_lock_timeout_ms, 2000, 1, INT_MAX, PGC_USERSET,
							GUC_UNIT_MS, NULL, NULL, NULL);
}
