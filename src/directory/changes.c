/*
 * changes.c
 *		Makes the definitions stand still under an operation (invariant 6).
 *
 * Triggers note here what a transaction changes (definition_triggers.c). A note is of a
 * root, or global, and of one of two kinds:
 *
 *		seen		how much, or something that only adds: the generation is
 *					bumped at commit; no lock
 *		counted		what is counted: also, the exclusive lock is taken before the
 *					commit, so that no operation has chosen its counters by the
 *					old definitions and not finished, and the root's counters are
 *					forgotten at commit, since those that did not apply for a
 *					while were not kept up
 *
 * A transaction that changed what is counted and then operates takes the
 * exclusive lock at once, and works on private counters, whose key has a
 * number that is used once: nobody else can know them, and they are left
 * behind when the transaction ends or changes definitions again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/memutils.h"

#include "directory/changes_internal.h"
#include "directory/directory.h"
#include "escrow/escrow.h"
#include "escrow/locks.h"
#include "relations.h"

/* With more notes than this in one transaction, all roots stand still. */
#define NOTES_MAX 64

typedef struct ChangeNote
{
	uint32 root_hash;
	bool global; /* root_hash does not matter */
	bool counted;
	bool names;
	int nest_level;
} ChangeNote;

static ChangeNote *notes = NULL;
static int note_count = 0;
static int note_space = 0;
static int64 private_id = 0;
static uint64 local_epoch = 1;
static bool own_write = false;

/*
 * changes_local_epoch
 *		Returns a number that changes when definitions, as this backend sees them
 *		within its transaction, may have changed.
 */
uint64
changes_local_epoch(void)
{
	return local_epoch;
}

/*
 * changes_begin_own_write, changes_end_own_write
 *		Bracket writes to the ledger by a query of the engine's own.
 */
void
changes_begin_own_write(void)
{
	own_write = true;
}

void
changes_end_own_write(void)
{
	own_write = false;
}

/*
 * changes_is_own_write
 *		Says whether it is bracketed so.
 */
bool
changes_is_own_write(void)
{
	return own_write;
}

static void
changes_renew_private_id(void)
{
	bool counted = false;

	for (int i = 0; i < note_count; i++)
		counted |= notes[i].counted;
	private_id = counted && escrow_is_attached() ? escrow_next_private_id() : 0;
}

/* Finds the note of a level among the first ones, NULL if there is none. */
static ChangeNote *
changes_find_note(int count, int level, bool global, uint32 root_hash)
{
	for (int i = 0; i < count; i++)
	{
		if (notes[i].nest_level == level && notes[i].global == global &&
			(global || notes[i].root_hash == root_hash))
			return &notes[i];
	}
	return NULL;
}

/*
 * changes_note
 *		Notes a change by the current subtransaction.
 */
void
changes_note(bool global, uint32 root_hash, bool counted, bool names)
{
	int level = GetCurrentTransactionNestLevel();
	ChangeNote *note = changes_find_note(note_count, level, global, root_hash);

	if (note == NULL && note_count >= NOTES_MAX && !global)
	{
		global = true;
		counted = true;
		note = changes_find_note(note_count, level, true, 0);
	}
	if (note == NULL)
	{
		if (note_count == note_space)
		{
			int space = Max(NOTES_MAX, note_space * 2);

			notes = notes == NULL ? MemoryContextAlloc(TopMemoryContext, sizeof(ChangeNote) * space)
								  : repalloc(notes, sizeof(ChangeNote) * space);
			note_space = space;
		}
		note = &notes[note_count++];
		memset(note, 0, sizeof(ChangeNote));
		note->global = global;
		note->root_hash = root_hash;
		note->nest_level = level;
	}
	note->counted |= counted;
	note->names |= names;
	local_epoch++;
	if (counted)
		changes_renew_private_id();
}

/*
 * changes_note_of_all
 *		Notes a change of what is counted, if the current subtransaction has noted one of
 *		all roots before; else returns false.
 */
bool
changes_note_of_all(void)
{
	int level = GetCurrentTransactionNestLevel();
	const ChangeNote *all = changes_find_note(note_count, level, true, 0);

	if (all == NULL || !all->counted)
		return false;
	local_epoch++;
	changes_renew_private_id();
	return true;
}

static bool
changes_has_counted(bool global, uint32 root_hash)
{
	for (int i = 0; i < note_count; i++)
	{
		if (notes[i].counted && notes[i].global == global &&
			(global || notes[i].root_hash == root_hash))
			return true;
	}
	return false;
}

/*
 * changes_lock_global
 *		Takes the global lock as an operation needs it: shared, or exclusive if
 *		this transaction has changed what is counted.
 */
void
changes_lock_global(void)
{
	if (changes_has_counted(true, 0))
		lock_global_exclusive();
	else
		lock_global_shared();
}

static int
compare_roots(const void *a, const void *b)
{
	const ChangeNote *left = a;
	const ChangeNote *right = b;

	/* The global lock comes first, then the roots in ascending order. */
	if (left->global != right->global)
		return left->global ? -1 : 1;
	if (left->root_hash != right->root_hash)
		return left->root_hash < right->root_hash ? -1 : 1;
	return left->nest_level - right->nest_level;
}

/*
 * changes_lock_for_commit
 *		Takes the exclusive locks of all that is counted otherwise after the commit.
 */
void
changes_lock_for_commit(void)
{
	if (note_count == 0 || !escrow_is_attached() || RecoveryInProgress())
		return;

	/* Whoever has dropped the extension since has kept everybody out in doing so. */
	if (!quota_exists())
		return;
	qsort(notes, note_count, sizeof(ChangeNote), compare_roots);
	for (int i = 0; i < note_count; i++)
	{
		if (notes[i].counted)
			lock_exclusive_bounded(notes[i].global, notes[i].root_hash);
	}
}

/*
 * directory_enter
 *		Takes the lock of a root in the same way, under which its definitions stand
 *		still, and says which generation of them is in force. The global lock is
 *		held already.
 *
 * The order is: locks, generation, then (by whoever needs it) a latest snapshot.
 */
void
directory_enter(uint32 root_hash, Generation *generation)
{
	bool counted = changes_has_counted(false, root_hash);

	/* What it has changed applies to its own operations: from now on, then. */
	if (counted || changes_has_counted(true, 0))
		instants_set();
	if (counted)
		lock_root_exclusive(root_hash);
	else
		lock_root_shared(root_hash);
	*generation = escrow_generation(root_hash);
}

/*
 * changes_private_id
 *		Returns what the keys of a root's counters must carry now: 0, or this
 *		transaction's own number if it has changed what they count.
 */
int64
changes_private_id(uint32 root_hash)
{
	if (private_id == 0)
		return 0;
	return changes_has_counted(true, 0) || changes_has_counted(false, root_hash) ? private_id : 0;
}

/* After the commit, with its locks still held. Neither throws nor allocates. */
static void
changes_publish(void)
{
	if (!escrow_is_attached())
		return;
	for (int i = 0; i < note_count; i++)
	{
		const ChangeNote *note = &notes[i];

		if (note->counted && note->global)
			escrow_forget_all();
		else if (note->counted)
			escrow_forget_root(note->root_hash);
		if (note->global)
			escrow_bump_global_generation();
		else
			escrow_bump_generation(note->root_hash);
		if (note->names)
			escrow_bump_names();
	}
}

static void
changes_reset(void)
{
	if (note_count == 0)
		return;
	note_count = 0;
	private_id = 0;
	local_epoch++;
}

static void
changes_xact_callback(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			changes_lock_for_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (note_count > 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has changed quota definitions"),
						 errhint("Change definitions in a transaction that ends with COMMIT.")));
			break;
		case XACT_EVENT_COMMIT:
			changes_publish();
			changes_reset();
			instants_forget();
			own_write = false;
			break;
		case XACT_EVENT_PREPARE:
			instants_forget();
			break;
		case XACT_EVENT_ABORT:
			changes_reset();
			instants_forget();
			own_write = false;
			break;
		default:
			break;
	}
}

static void
changes_subxact_callback(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
						 SubTransactionId parent pg_attribute_unused(),
						 void *arg pg_attribute_unused())
{
	int level = GetCurrentTransactionNestLevel();
	bool dropped = false;
	int kept = 0;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		own_write = false;
		instants_rolled_back();
	}
	for (int i = 0; i < note_count; i++)
	{
		ChangeNote note = notes[i];
		ChangeNote *above = NULL;

		if (note.nest_level >= level && event == SUBXACT_EVENT_ABORT_SUB)
		{
			dropped = true;
			continue;
		}
		if (note.nest_level >= level)
		{
			/* Merged, so that a loop with a subtransaction per turn does not grow the list. */
			note.nest_level = level - 1;
			above = changes_find_note(kept, level - 1, note.global, note.root_hash);
		}
		if (above != NULL)
		{
			above->counted |= note.counted;
			above->names |= note.names;
		}
		else
			notes[kept++] = note;
	}
	note_count = kept;
	if (dropped)
	{
		local_epoch++;
		changes_renew_private_id();
	}
}

void
changes_init(void)
{
	RegisterXactCallback(changes_xact_callback, NULL);
	RegisterSubXactCallback(changes_subxact_callback, NULL);
}
