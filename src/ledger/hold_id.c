/*
 * hold_id.c
 *		Makes and reads hold ids.
 *
 * A hold id is a uuid of version 8 (RFC 9562, section 5.8):
 *
 *		bytes	 0..3	hash of the root
 *		bits	32..47	unix milliseconds of the hold, highest 16 of 48 bits
 *				48..51	version, 1000
 *				52..63	milliseconds, next 12
 *				64..65	variant, 10
 *				66..85	milliseconds, last 20
 *				86..127	random
 *
 * So ids of one root lie together in order of time: a router finds the server
 * of a hold, and the engine its root's lock and its partition, from the id.
 */
#include "postgres.h"

#include "civil.h"
#include "ledger/hold_id.h"

#define UNIX_EPOCH_USECS ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)
#define MILLISECONDS_MAX ((INT64CONST(1) << 48) - 1)
#define RANDOM_BITS 42
#define RANDOM_MASK ((UINT64CONST(1) << RANDOM_BITS) - 1)

/* Milliseconds since 1970, clamped to what an id can hold. */
static uint64
unix_milliseconds(TimestampTz instant)
{
	int64 milliseconds;

	if (TIMESTAMP_IS_NOBEGIN(instant))
		return 0;
	if (TIMESTAMP_IS_NOEND(instant))
		return MILLISECONDS_MAX;
	if (instant < -UNIX_EPOCH_USECS)
		return 0;
	milliseconds = floor_divide(instant, 1000) + UNIX_EPOCH_USECS / 1000;
	return Min(Max(milliseconds, 0), MILLISECONDS_MAX);
}

static void
hold_id_compose(uint32 root_hash, uint64 milliseconds, uint64 random, pg_uuid_t *id)
{
	uint64 high = (uint64) root_hash << 32 | (milliseconds >> 32) << 16 | UINT64CONST(0x8000) |
				  ((milliseconds >> 20) & 0xFFF);
	uint64 low =
		UINT64CONST(2) << 62 | (milliseconds & 0xFFFFF) << RANDOM_BITS | (random & RANDOM_MASK);

	for (int i = 0; i < 8; i++)
	{
		id->data[i] = (unsigned char) (high >> (56 - 8 * i));
		id->data[8 + i] = (unsigned char) (low >> (56 - 8 * i));
	}
}

/*
 * hold_id_generate
 *		Makes a new id.
 */
void
hold_id_generate(uint32 root_hash, TimestampTz held_at, pg_uuid_t *id)
{
	uint64 random;

	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate random values for a hold id")));
	hold_id_compose(root_hash, unix_milliseconds(held_at), random, id);
}

/*
 * hold_id_is_ours
 *		Says whether a uuid can be a hold id at all.
 */
bool
hold_id_is_ours(const pg_uuid_t *id)
{
	return (id->data[6] & 0xF0) == 0x80 && (id->data[8] & 0xC0) == 0x80;
}

uint32
hold_id_root_hash(const pg_uuid_t *id)
{
	return (uint32) id->data[0] << 24 | (uint32) id->data[1] << 16 | (uint32) id->data[2] << 8 |
		   id->data[3];
}

/*
 * hold_id_time
 *		Returns the time of the hold, rounded down to a millisecond.
 */
TimestampTz
hold_id_time(const pg_uuid_t *id)
{
	uint64 milliseconds = (uint64) id->data[4] << 40 | (uint64) id->data[5] << 32 |
						  (uint64) (id->data[6] & 0x0F) << 28 | (uint64) id->data[7] << 20 |
						  (uint64) (id->data[8] & 0x3F) << 14 | (uint64) id->data[9] << 6 |
						  (uint64) id->data[10] >> 2;

	return (TimestampTz) milliseconds * 1000 - UNIX_EPOCH_USECS;
}

/*
 * hold_id_least, hold_id_greatest
 *		The bounds of the ids of a root's holds from one instant to another.
 */
void
hold_id_least(uint32 root_hash, TimestampTz from, pg_uuid_t *id)
{
	hold_id_compose(root_hash, unix_milliseconds(from), 0, id);
}

void
hold_id_greatest(uint32 root_hash, TimestampTz until, pg_uuid_t *id)
{
	hold_id_compose(root_hash, unix_milliseconds(until), RANDOM_MASK, id);
}
