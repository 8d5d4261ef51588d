/*
 * inject_commit.c
 *		Kills the backend, lets it fail or pause, at a chosen point of the end of
 *		its transaction. For tests.
 *
 * Transaction callbacks are called in the reverse of the order in which they
 * were registered. This library registers its own twice: in _PG_init(), and
 * when shared memory is made, which is after every preloaded library's
 * _PG_init(). Preloaded before the engine, it so runs on both sides of the
 * engine's callback. A point is one event and one side.
 *
 * XACT_EVENT_COMMIT comes after RecordTransactionCommit() and
 * ProcArrayEndTransaction(): there the transaction is durable and visible, and
 * nobody has been told.
 *
 * Caveat: a transaction without an id has nothing to lose, and passes no point.
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void _PG_init(void);

typedef enum Point
{
	POINT_NONE,
	POINT_PRE_COMMIT,
	POINT_PRE_COMMIT_END,
	POINT_COMMIT,
	POINT_COMMIT_END,
	POINT_ABORT,
	POINT_ABORT_END,
	POINT_SUBABORT,
	POINT_SUBABORT_END
} Point;

static const struct config_enum_entry points[] = {
	{"none", POINT_NONE, false},
	{"pre_commit", POINT_PRE_COMMIT, false},
	{"pre_commit_end", POINT_PRE_COMMIT_END, false},
	{"commit", POINT_COMMIT, false},
	{"commit_end", POINT_COMMIT_END, false},
	{"abort", POINT_ABORT, false},
	{"abort_end", POINT_ABORT_END, false},
	{"subabort", POINT_SUBABORT, false},
	{"subabort_end", POINT_SUBABORT_END, false},
	{NULL, 0, false},
};

static int crash_at = POINT_NONE;
static int fail_at = POINT_NONE;
static int pause_at = POINT_NONE;
static int pause_us = 1000;

static shmem_startup_hook_type previous_shmem_startup = NULL;

/* Which side of the engine's callback is called: the argument of ours. */
static bool before_engine = false;
static bool after_engine = true;

static void
pass(Point point)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (pause_at == (int) point)
		pg_usleep(pause_us);
	if (crash_at == (int) point)
		kill(getpid(), SIGKILL);
	if (fail_at == (int) point)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("injected failure")));
}

static void
inject_xact_callback(XactEvent event, void *arg)
{
	bool end = *(bool *) arg;

	if (event == XACT_EVENT_PRE_COMMIT)
		pass(end ? POINT_PRE_COMMIT_END : POINT_PRE_COMMIT);
	else if (event == XACT_EVENT_COMMIT)
		pass(end ? POINT_COMMIT_END : POINT_COMMIT);
	else if (event == XACT_EVENT_ABORT)
		pass(end ? POINT_ABORT_END : POINT_ABORT);
}

static void
inject_subxact_callback(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
						SubTransactionId parent pg_attribute_unused(), void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pass(*(bool *) arg ? POINT_SUBABORT_END : POINT_SUBABORT);
}

static void
register_callbacks(bool *end)
{
	RegisterXactCallback(inject_xact_callback, end);
	RegisterSubXactCallback(inject_subxact_callback, end);
}

/* Comes again whenever the server starts afresh after a crash. */
static void
inject_shmem_startup(void)
{
	static bool registered = false;

	if (previous_shmem_startup)
		previous_shmem_startup();
	if (!registered)
		register_callbacks(&before_engine);
	registered = true;
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"inject_commit\" is not preloaded"),
				 errhint("Put it before \"xavier_quota\" in \"shared_preload_libraries\".")));
	DefineCustomEnumVariable("inject_commit.crash_at", "Kills the backend at this point.", NULL,
							 &crash_at, POINT_NONE, points, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("inject_commit.fail_at", "Raises an error at this point.",
							 "After the transaction has committed that is the end of the server.",
							 &fail_at, POINT_NONE, points, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("inject_commit.pause_at", "Lets the backend wait at this point.", NULL,
							 &pause_at, POINT_NONE, points, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("inject_commit.pause_us", "Sets how long it waits, in microseconds.",
							NULL, &pause_us, 1000, 0, 1000000, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("inject_commit");
	register_callbacks(&after_engine);
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = inject_shmem_startup;
}
