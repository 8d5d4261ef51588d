/*
 * period.c
 *		quota.period as a value: storage, rules, order.
 *
 * The bytes of a period, numbers big-endian so that memcmp() is its order:
 *
 *		calendar	kind 1, unit 1, length 8, anchor 8 (sign bit flipped), zone name
 *		rolling		kind 1, unit 1, length 8
 *		replenish	kind 1, unit 1, length 8, rate 8, burst 8
 *		lifetime	kind 1
 *
 * There is one representation for each value: lengths are kept in seconds, days
 * or months whatever unit they were written in ('12 months' is 'year', '60
 * minutes' is 'hour'), names of zones as the database spells them, UTC as the
 * empty name. So equality and hash are bytewise. Two periods that are written
 * with different anchors are different, even where their boundaries coincide.
 *
 * The order is: calendar before rolling before replenish before lifetime; then
 * elapsed time before days before months; then by length, anchor, zone. Shorter
 * comes first, roughly, which is how one reads a list of limits.
 *
 * The wire format of binary send and receive is these bytes.
 */
#include "xavier_quota.h"

#include "libpq/pqformat.h"
#include "port/pg_bswap.h"

#include "civil.h"
#include "compat.h"
#include "period/period_internal.h"
#include "types/micros.h"
#include "types/order.h"

#define LIFETIME_SIZE 1
#define ROLLING_SIZE 10
#define REPLENISH_SIZE 26
#define CALENDAR_SIZE 18 /* and the zone name */

#define SIGN_BIT (UINT64CONST(1) << 63)

PG_FUNCTION_INFO_V1(quota_period_recv);
PG_FUNCTION_INFO_V1(quota_period_send);

static char *
bytes_put_uint64(char *bytes, uint64 value)
{
	value = pg_hton64(value);
	memcpy(bytes, &value, sizeof(value));
	return bytes + sizeof(value);
}

static const char *
bytes_get_uint64(const char *bytes, uint64 *value)
{
	memcpy(value, bytes, sizeof(*value));
	*value = pg_ntoh64(*value);
	return bytes + sizeof(*value);
}

/*
 * How long it takes to refill an empty bucket, rounded up to a microsecond.
 */
static int128
refill_duration_us(const PeriodParts *parts)
{
	int128 product = (int128) parts->burst_micros * (parts->length * USECS_PER_SEC);

	return (product + parts->rate_micros - 1) / parts->rate_micros;
}

/*
 * period_check
 *		Returns NULL if the parts make a period, or else a sentence that says why
 *		not. The caller has looked up the zone.
 */
const char *
period_check(const PeriodParts *parts)
{
	static const int64 length_max[] = {PERIOD_SECONDS_MAX, PERIOD_DAYS_MAX, PERIOD_MONTHS_MAX};

	if (parts->kind == PERIOD_LIFETIME)
		return NULL;
	if (parts->length < 1 || parts->length > length_max[parts->unit])
		return "The length of a period must lie between 1 second and 1000 years.";
	if (parts->kind == PERIOD_CALENDAR &&
		(parts->anchor < civil_from_date(1, 1, 1) || parts->anchor >= civil_from_date(10000, 1, 1)))
		return "The anchor of a period must lie between the years 1 and 9999.";
	if (parts->kind == PERIOD_REPLENISH)
	{
		if (parts->rate_micros < 1 || parts->rate_micros > MICROS_MAX || parts->burst_micros < 1 ||
			parts->burst_micros > MICROS_MAX)
			return "The rate and the burst must be greater than 0 and at most " MICROS_MAX_TEXT ".";
		if (refill_duration_us(parts) > PERIOD_SECONDS_MAX * USECS_PER_SEC)
			return "It must not take more than 1000 years to refill the burst.";
	}
	return NULL;
}

/*
 * period_make
 *		Builds a period from parts that period_check() has passed. The result is
 *		palloc'd.
 */
Period *
period_make(const PeriodParts *parts)
{
	char bytes[CALENDAR_SIZE + TZ_STRLEN_MAX];
	char *end = bytes;
	Period *period;

	StaticAssertStmt(REPLENISH_SIZE <= sizeof(bytes), "a period must fit its buffer");
	Assert(period_check(parts) == NULL);
	*end++ = (char) parts->kind;
	if (parts->kind != PERIOD_LIFETIME)
	{
		*end++ = (char) parts->unit;
		end = bytes_put_uint64(end, (uint64) parts->length);
	}
	if (parts->kind == PERIOD_CALENDAR)
	{
		end = bytes_put_uint64(end, (uint64) parts->anchor ^ SIGN_BIT);
		Assert(parts->zone_length <= TZ_STRLEN_MAX);
		if (parts->zone_length > 0)
			memcpy(end, parts->zone, parts->zone_length);
		end += parts->zone_length;
	}
	else if (parts->kind == PERIOD_REPLENISH)
	{
		end = bytes_put_uint64(end, (uint64) parts->rate_micros);
		end = bytes_put_uint64(end, (uint64) parts->burst_micros);
	}

	period = (Period *) palloc(VARHDRSZ + (end - bytes));
	SET_VARSIZE(period, VARHDRSZ + (end - bytes));
	memcpy(VARDATA(period), bytes, end - bytes);
	return period;
}

/*
 * Reads bytes of whatever origin. Returns false if their number or the codes of
 * kind and unit are not those of a period; the values are not checked.
 */
static bool
bytes_take_apart(const char *bytes, int size, PeriodParts *parts)
{
	static const int sizes[] = {CALENDAR_SIZE, ROLLING_SIZE, REPLENISH_SIZE, LIFETIME_SIZE};
	const char *next = bytes;
	uint64 value;
	uint8 kind;

	memset(parts, 0, sizeof(*parts));
	if (size < LIFETIME_SIZE)
		return false;
	kind = (uint8) *next++;
	if (kind > PERIOD_LIFETIME || size < sizes[kind] ||
		(size > sizes[kind] && kind != PERIOD_CALENDAR))
		return false;
	parts->kind = (PeriodKind) kind;
	if (kind == PERIOD_LIFETIME)
		return true;

	if ((uint8) *next > (kind == PERIOD_CALENDAR ? PERIOD_MONTHS : PERIOD_SECONDS))
		return false;
	parts->unit = (PeriodUnit) *next++;
	next = bytes_get_uint64(next, &value);
	parts->length = (int64) value;
	if (kind == PERIOD_CALENDAR)
	{
		next = bytes_get_uint64(next, &value);
		parts->anchor = (int64) (value ^ SIGN_BIT);
		parts->zone = next;
		parts->zone_length = size - CALENDAR_SIZE;
	}
	else if (kind == PERIOD_REPLENISH)
	{
		next = bytes_get_uint64(next, &value);
		parts->rate_micros = (int64) value;
		bytes_get_uint64(next, &value);
		parts->burst_micros = (int64) value;
	}
	return true;
}

/*
 * period_take_apart
 *		Fills parts; the zone name points into the period.
 */
void
period_take_apart(const Period *period, PeriodParts *parts)
{
	if (!bytes_take_apart(VARDATA_ANY(period), VARSIZE_ANY_EXHDR(period), parts))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("stored period is corrupted")));
}

PeriodKind
period_kind(const Period *period)
{
	Assert(VARSIZE_ANY_EXHDR(period) >= LIFETIME_SIZE);
	return (PeriodKind) *VARDATA_ANY(period);
}

/*
 * period_window_us
 *		Returns how long an amount counts: the window of a rolling period; of a
 *		replenishing one the time in which its whole burst flows back, rounded up.
 */
int64
period_window_us(const Period *period)
{
	PeriodParts parts;

	period_take_apart(period, &parts);
	if (parts.kind == PERIOD_ROLLING)
		return parts.length * USECS_PER_SEC;
	if (parts.kind != PERIOD_REPLENISH)
		elog(ERROR, "period of kind %d has no window", (int) parts.kind);
	return (int64) refill_duration_us(&parts);
}

/*
 * period_refill
 *		Returns the rate of a replenishing period: what flows back in how long.
 */
void
period_refill(const Period *period, int64 *rate_micros, int64 *length_us)
{
	PeriodParts parts;

	period_take_apart(period, &parts);
	if (parts.kind != PERIOD_REPLENISH)
		elog(ERROR, "period of kind %d has no rate", (int) parts.kind);
	*rate_micros = parts.rate_micros;
	*length_us = parts.length * USECS_PER_SEC;
}

/*
 * quota_period_recv
 *		Binary input. Nothing in the message is trusted: raises 22P03, or 22023 if
 *		the server does not know the zone.
 */
Datum
quota_period_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int size = message->len - message->cursor;
	const char *bytes = pq_getmsgbytes(message, size);
	PeriodParts parts;
	const char *fault;

	if (!bytes_take_apart(bytes, size, &parts))
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of type %s", "quota.period"),
						errdetail("%d bytes are not a period.", size)));
	fault = period_check(&parts);
	for (int i = 0; i < parts.zone_length; i++)
	{
		if (parts.zone[i] <= ' ' || parts.zone[i] > '~')
			fault = "The name of the time zone contains a character that is not printable ASCII.";
	}
	if (fault != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of type %s", "quota.period"),
						errdetail_internal("%s", fault)));
	period_set_zone(&parts, parts.zone, parts.zone_length);
	PG_RETURN_POINTER(period_make(&parts));
}

/*
 * quota_period_send
 *		Binary output: the bytes of the period.
 */
Datum
quota_period_send(PG_FUNCTION_ARGS)
{
	Period *period = PG_GETARG_PERIOD_P(0);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendbytes(&message, VARDATA_ANY(period), VARSIZE_ANY_EXHDR(period));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* The type's order: -1, 0 or 1. */
static int
period_compare(const Period *a, const Period *b)
{
	int a_size = VARSIZE_ANY_EXHDR(a);
	int b_size = VARSIZE_ANY_EXHDR(b);
	int result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_size, b_size));

	if (result == 0)
		result = a_size - b_size;
	return (result > 0) - (result < 0);
}

DEFINE_ORDER(quota_period, period_compare);
