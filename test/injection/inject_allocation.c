/*
 * inject_allocation.c
 *		Makes allocations of this backend fail, at a chosen one. For tests.
 *
 * Of two kinds: 'palloc' are requests to PostgreSQL's memory contexts, of which
 * few reach the C library; 'malloc' are those that do, where the server runs
 * with inject_malloc.so in LD_PRELOAD.
 *
 * The functions of allocation sets stand in a constant table of the server's
 * program, which is write-protected. The page it is on is made writable, in this
 * process alone, and two of them are replaced.
 *
 * Caveats: a failure is an ERROR even for callers who had asked for a null. What
 * is allocated to report an error never fails, as it would not: PostgreSQL keeps
 * a reserve for it.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/memnodes.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(inject_allocation_arm);
PG_FUNCTION_INFO_V1(inject_allocation_disarm);

static MemoryContextMethods original;
static int64 armed_countdown = 0; /* the allocation that fails first; 0: not armed */
static int64 armed_failures = 0;
static int64 failed = 0;
static int armed_level = 0;
static SubTransactionId committing = InvalidSubTransactionId; /* the latest to do so */

static void (*malloc_arm)(long countdown, long failures) = NULL;
static long (*malloc_failed)(void) = NULL;
static int no_malloc = 0;
static int *malloc_spared = &no_malloc;

/*
 * is_spared
 *		Says whether an allocation is one of those after whose failure PostgreSQL
 *		itself cannot go on: LockAcquire() keeps the entry of a lock without a list of
 *		its owners, and reads that when the transaction, after a rollback to a
 *		savepoint, takes the lock again; the statistics keep an entry without a
 *		reference, and read that when the backend exits; a subtransaction that fails to
 *		start within a block of PL/pgSQL ends the session.
 */
static bool
is_spared(MemoryContext context, Size size)
{
	bool in_transition = !IsTransactionState() && GetCurrentTransactionNestLevel() > 1;

	return (context == TopMemoryContext && size == 8 * sizeof(LOCALLOCKOWNER)) ||
		   strncmp(context->name, "PgStat Shared Ref", strlen("PgStat Shared Ref")) == 0 ||
		   (in_transition && GetCurrentSubTransactionId() != committing);
}

/* Comes before each allocation, which may then ask the C library for memory. */
static void
fail_if_due(MemoryContext context, Size size)
{
	*malloc_spared = is_spared(context, size);
	if (armed_countdown == 0 || context == ErrorContext || *malloc_spared)
		return;
	if (armed_countdown > 1)
	{
		armed_countdown--;
		return;
	}
	if (failed == armed_failures)
		return;
	failed++;
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					errdetail("Injected in memory context \"%s\".", context->name)));
}

/* What the functions of a memory context take differs between versions. */
#if PG_VERSION_NUM >= 170000
static void *
failing_alloc(MemoryContext context, Size size, int flags)
{
	void *result;

	fail_if_due(context, size);
	result = original.alloc(context, size, flags);
	*malloc_spared = 0;
	return result;
}

static void *
failing_realloc(void *pointer, Size size, int flags)
{
	void *result;

	fail_if_due(GetMemoryChunkContext(pointer), size);
	result = original.realloc(pointer, size, flags);
	*malloc_spared = 0;
	return result;
}
#else
static void *
failing_alloc(MemoryContext context, Size size)
{
	void *result;

	fail_if_due(context, size);
	result = original.alloc(context, size);
	*malloc_spared = 0;
	return result;
}

#if PG_VERSION_NUM >= 160000
static void *
failing_realloc(void *pointer, Size size)
{
	void *result;

	fail_if_due(GetMemoryChunkContext(pointer), size);
	result = original.realloc(pointer, size);
	*malloc_spared = 0;
	return result;
}
#else
static void *
failing_realloc(MemoryContext context, void *pointer, Size size)
{
	void *result;

	fail_if_due(context, size);
	result = original.realloc(context, pointer, size);
	*malloc_spared = 0;
	return result;
}
#endif
#endif

static void
replace_functions(void)
{
	MemoryContextMethods *methods = (MemoryContextMethods *) TopMemoryContext->methods;
	uintptr_t page_size = (uintptr_t) sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t) methods & ~(page_size - 1);
	uintptr_t end = (uintptr_t) (methods + 1);

	if (methods->alloc == failing_alloc)
		return;
	if (mprotect((void *) first, end - first, PROT_READ | PROT_WRITE) != 0)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not make the functions of memory contexts writable: %m")));
	original = *methods;
	methods->alloc = failing_alloc;
	methods->realloc = failing_realloc;
}

static void
stop_failing(void)
{
	armed_countdown = 0;
	if (malloc_arm != NULL)
		malloc_arm(0, 0);
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine,
				 SubTransactionId parent pg_attribute_unused(), void *arg pg_attribute_unused())
{
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		committing = mine;
	if (event == SUBXACT_EVENT_ABORT_SUB && GetCurrentTransactionNestLevel() <= armed_level)
		stop_failing();
}

static void
find_malloc(void)
{
	int *spared = dlsym(RTLD_DEFAULT, "inject_malloc_spared");

	if (spared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("\"inject_malloc\" is not loaded"),
						errhint("Start the server with LD_PRELOAD set to inject_malloc.so.")));
	malloc_spared = spared;
	*(void **) &malloc_arm = dlsym(RTLD_DEFAULT, "inject_malloc_arm");
	*(void **) &malloc_failed = dlsym(RTLD_DEFAULT, "inject_malloc_failed");
}

/*
 * inject_allocation_arm
 *		inject_allocation_arm(kind text, countdown bigint, failures bigint): lets the
 *		countdown-th allocation of a kind from now on fail, and those that follow it,
 *		as many as failures says. A subtransaction that it was called in disarms as it
 *		aborts, so that the handler of an exception has memory.
 */
Datum
inject_allocation_arm(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	const char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!registered)
		RegisterSubXactCallback(subxact_callback, NULL);
	registered = true;
	armed_level = GetCurrentTransactionNestLevel();
	/* PostgreSQL 18 takes its cache of types for whole once it has begun to make it. */
	(void) lookup_type_cache(INT4OID, 0);
	replace_functions();
	if (strcmp(kind, "malloc") == 0)
	{
		find_malloc();
		malloc_arm((long) PG_GETARG_INT64(1), (long) PG_GETARG_INT64(2));
	}
	else
	{
		armed_countdown = PG_GETARG_INT64(1);
		armed_failures = PG_GETARG_INT64(2);
		failed = 0;
	}
	PG_RETURN_VOID();
}

/*
 * inject_allocation_disarm
 *		inject_allocation_disarm(): lets no allocation fail any more; returns how many
 *		have failed since inject_allocation_arm().
 */
Datum
inject_allocation_disarm(PG_FUNCTION_ARGS)
{
	int64 result = failed;

	(void) fcinfo;
	if (malloc_failed != NULL)
		result += malloc_failed();
	failed = 0;
	stop_failing();
	PG_RETURN_INT64(result);
}
