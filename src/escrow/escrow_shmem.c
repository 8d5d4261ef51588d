/*
 * escrow_shmem.c
 *		The shared memory of the escrow engine: its size, its start, its
 *		generations and epochs.
 *
 * The memory is fixed at server start: a table of counters (dynahash,
 * partitioned, with room for xavier_quota.max_counters), another of series
 * (xavier_quota.max_series), which take twenty times as much each, an array of
 * partitions with a lightweight lock each, and an array of generations and
 * epochs by hash of the root.
 *
 * A generation says which definitions are in force; backends compare it to
 * know whether what they have read is still true. An epoch says which counters
 * can be trusted: one that was loaded under an older epoch, and that nobody
 * has pinned, is loaded afresh at its next use. Both only grow, and both are
 * bumped in commit callbacks, while the locks of the change are still held.
 *
 * Nothing here outlives the server: after a restart every counter is computed
 * from the tables again.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "escrow/escrow_internal.h"

#define TRANCHE_NAME "xavier_quota"

SharedEscrow *EscrowState = NULL;
HTAB *EscrowCounters = NULL;
HTAB *EscrowSeries = NULL;
int escrow_counters_max = 32768;
int escrow_series_max = 2048;

static int escrow_tranche_id = 0;
static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

StaticAssertDecl((ESCROW_PARTITIONS & (ESCROW_PARTITIONS - 1)) == 0,
				 "partitions are chosen by the low bits of the hash");
StaticAssertDecl(sizeof(CounterKey) == offsetof(CounterKey, user_id) + USER_ID_SIZE,
				 "a counter's key has no padding, it is compared as bytes");

/*
 * counter_hash
 *		Returns the hash of a key: its low bits choose the partition, by the root
 *		alone.
 */
uint32
counter_hash(const CounterKey *key, uint32 root_hash)
{
	uint32 rest = hash_bytes((const unsigned char *) key, sizeof(CounterKey));

	return rest * ESCROW_PARTITIONS + root_hash % ESCROW_PARTITIONS;
}

/*
 * escrow_is_attached
 *		Says whether this server has the engine's shared memory, that is whether
 *		the library was preloaded.
 */
bool
escrow_is_attached(void)
{
	return EscrowState != NULL;
}

static SharedRoot *
shared_root(uint32 root_hash)
{
	/* Not the bits that choose the partition. */
	return &EscrowState->roots[(root_hash / ESCROW_PARTITIONS ^ MyDatabaseId) % ESCROW_GENERATIONS];
}

/*
 * escrow_generation
 *		Returns which definitions are in force under a root.
 */
Generation
escrow_generation(uint32 root_hash)
{
	Generation generation;

	generation.root = pg_atomic_read_u64(&shared_root(root_hash)->generation);
	generation.global = pg_atomic_read_u64(&EscrowState->generation);
	generation.names = pg_atomic_read_u64(&EscrowState->names);
	return generation;
}

void
escrow_bump_generation(uint32 root_hash)
{
	pg_atomic_fetch_add_u64(&shared_root(root_hash)->generation, 1);
}

void
escrow_bump_global_generation(void)
{
	pg_atomic_fetch_add_u64(&EscrowState->generation, 1);
}

/*
 * escrow_bump_names
 *		Says that there are accounts which there were not: the bare name of a
 *		project may mean another one, or more than one.
 */
void
escrow_bump_names(void)
{
	pg_atomic_fetch_add_u64(&EscrowState->names, 1);
}

/*
 * escrow_forget_root
 *		Makes every counter of a root load afresh at its next use. The caller
 *		holds the root's lock exclusively: nobody has its counters pinned.
 */
void
escrow_forget_root(uint32 root_hash)
{
	pg_atomic_fetch_add_u64(&shared_root(root_hash)->epoch, 1);
}

/*
 * escrow_forget_all
 *		Does the same for every root. The caller holds the global lock.
 */
void
escrow_forget_all(void)
{
	pg_atomic_fetch_add_u64(&EscrowState->epoch, 1);
}

/* The epoch that a counter of the root must have to be trusted; both parts only grow. */
uint64
escrow_root_epoch(uint32 root_hash)
{
	return pg_atomic_read_u64(&shared_root(root_hash)->epoch) +
		   pg_atomic_read_u64(&EscrowState->epoch);
}

/*
 * escrow_next_private_id
 *		Returns a number for the counters of definitions that are not committed;
 *		never 0, never returned twice.
 */
int64
escrow_next_private_id(void)
{
	return (int64) pg_atomic_add_fetch_u64(&EscrowState->private_id, 1);
}

static uint32
hash_counter_key(const void *key, Size size)
{
	/* Every caller passes the hash; see counter_hash(). */
	elog(ERROR, "counter of %zu bytes at %p looked up without its hash", size, key);
	return 0;
}

static Size
escrow_memory_size(void)
{
	return add_size(MAXALIGN(sizeof(SharedEscrow)),
					add_size(hash_estimate_size(escrow_counters_max, sizeof(SharedCounter)),
							 hash_estimate_size(escrow_series_max, sizeof(SharedSeries))));
}

static void
escrow_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(escrow_memory_size());
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
escrow_shmem_startup(void)
{
	HASHCTL info = {0};
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	EscrowState = ShmemInitStruct("xavier_quota", sizeof(SharedEscrow), &found);
	if (!found)
	{
		memset(EscrowState, 0, sizeof(SharedEscrow));
		escrow_tranche_id = GetNamedLWLockTranche(TRANCHE_NAME)->lock.tranche;
		pg_atomic_init_u64(&EscrowState->generation, 1);
		pg_atomic_init_u64(&EscrowState->names, 1);
		pg_atomic_init_u64(&EscrowState->epoch, 0);
		pg_atomic_init_u64(&EscrowState->private_id, 0);
		pg_atomic_init_u64(&EscrowState->loads, 0);
		pg_atomic_init_u64(&EscrowState->counters_loaded, 0);
		pg_atomic_init_u64(&EscrowState->evictions, 0);
		pg_atomic_init_u64(&EscrowState->load_waits, 0);
		pg_atomic_init_u64(&EscrowState->claims, 0);
		pg_atomic_init_u64(&EscrowState->refusals, 0);
		for (int i = 0; i < ESCROW_GENERATIONS; i++)
		{
			pg_atomic_init_u64(&EscrowState->roots[i].generation, 1);
			pg_atomic_init_u64(&EscrowState->roots[i].epoch, 0);
		}
		for (int i = 0; i < ESCROW_PARTITIONS; i++)
		{
			LWLockInitialize(&EscrowState->partitions[i].lock.lock, escrow_tranche_id);
			dlist_init(&EscrowState->partitions[i].members);
			dlist_init(&EscrowState->partitions[i].idle[false]);
			dlist_init(&EscrowState->partitions[i].idle[true]);
		}
	}

	info.keysize = sizeof(CounterKey);
	info.entrysize = sizeof(SharedCounter);
	info.num_partitions = ESCROW_PARTITIONS;
	info.hash = hash_counter_key;
	EscrowCounters =
		ShmemInitHash("xavier_quota counters", escrow_counters_max, escrow_counters_max, &info,
					  HASH_ELEM | HASH_FUNCTION | HASH_PARTITION | HASH_FIXED_SIZE);
	info.entrysize = sizeof(SharedSeries);
	EscrowSeries = ShmemInitHash("xavier_quota series", escrow_series_max, escrow_series_max, &info,
								 HASH_ELEM | HASH_FUNCTION | HASH_PARTITION | HASH_FIXED_SIZE);
	LWLockRelease(AddinShmemInitLock);
}

/*
 * escrow_init
 *		Defines the settings and asks for the shared memory, while the server
 *		preloads libraries. Later it only leaves the engine unattached.
 */
void
escrow_init(void)
{
	escrow_transaction_init();
	if (!process_shared_preload_libraries_in_progress)
		return;

	DefineCustomIntVariable("xavier_quota.max_counters",
							"Sets how many counters fit in shared memory.",
							"A counter is one limit at one level in one period; those that nobody "
							"uses make room for others.",
							&escrow_counters_max, 32768, 256, 16 * 1024 * 1024, PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("xavier_quota.max_series",
							"Sets how many counters that look back fit in shared memory.",
							"One is a limit with a rolling or replenishing period, or one that "
							"carries something over, at one level; about 9 kB.",
							&escrow_series_max, 2048, 256, 1024 * 1024, PGC_POSTMASTER, 0, NULL,
							NULL, NULL);

	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = escrow_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = escrow_shmem_startup;
}

/*
 * escrow_get_stats
 *		Fills stats; the numbers are read one after the other, not at one instant.
 */
void
escrow_get_stats(EscrowStats *stats)
{
	memset(stats, 0, sizeof(EscrowStats));
	stats->counters = hash_get_num_entries(EscrowCounters);
	stats->counters_max = escrow_counters_max;
	stats->series = hash_get_num_entries(EscrowSeries);
	stats->series_max = escrow_series_max;
	stats->loads = (int64) pg_atomic_read_u64(&EscrowState->loads);
	stats->counters_loaded = (int64) pg_atomic_read_u64(&EscrowState->counters_loaded);
	stats->evictions = (int64) pg_atomic_read_u64(&EscrowState->evictions);
	stats->load_waits = (int64) pg_atomic_read_u64(&EscrowState->load_waits);
	stats->claims = (int64) pg_atomic_read_u64(&EscrowState->claims);
	stats->refusals = (int64) pg_atomic_read_u64(&EscrowState->refusals);
	stats->memory_bytes = (int64) escrow_memory_size();

	stats->pinned = stats->counters + stats->series;
	for (int i = 0; i < ESCROW_PARTITIONS; i++)
	{
		SharedPartition *partition = &EscrowState->partitions[i];
		dlist_iter iter;

		LWLockAcquire(&partition->lock.lock, LW_SHARED);
		for (int series = 0; series <= 1; series++)
		{
			dlist_foreach(iter, &partition->idle[series])
			{
				stats->pinned--;
			}
		}
		LWLockRelease(&partition->lock.lock);
	}
	stats->pinned = Max(stats->pinned, 0);
}
