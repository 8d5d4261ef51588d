/*
 * period_text.c
 *		quota.period as text and jsonb.
 *
 *		period	= 'lifetime'
 *				| 'rolling' length
 *				| 'refill' amount 'per' length 'up to' amount
 *				| length ['from' date [time]] ['in' zone]
 *		length	= [count] unit
 *		unit	= second, minute, hour, day, week, month, quarter or year, or its plural
 *
 * Words may be in any case, with any blanks between them. The count is 1 unless
 * given. The date is an ISO date, the time 'HH:MM[:SS[.ffffff]]', both local to the
 * zone; the zone is a name of the time zone database, UTC unless given. Without an
 * anchor weeks begin on Monday and everything else as if anchored at 1970-01-01:
 * a month on the first, a day at midnight.
 *
 * Rolling and refill measure elapsed time: there a day is 24 hours, a week 168, and
 * months and years have no length.
 *
 * Output is canonical. Defaults are left out, and a count of 1 where the unit
 * stands alone ('month', but '1 month from 2026-01-31'). A length is written in the
 * largest unit that gives a whole count, except that a day of elapsed time stays
 * '24 hours', and that hours do not become days of the calendar nor months
 * quarters.
 */
#include "xavier_quota.h"

#include "utils/jsonb.h"

#include "civil.h"
#include "period/period_internal.h"
#include "types/micros.h"
#include "types/reader.h"

#define PERIOD_TYPE_NAME "quota.period"

/* Longest word of the language, and its NUL. */
#define WORD_SIZE 16

PG_FUNCTION_INFO_V1(quota_period_in);
PG_FUNCTION_INFO_V1(quota_period_out);
PG_FUNCTION_INFO_V1(quota_period_to_jsonb);
PG_FUNCTION_INFO_V1(quota_period_from_jsonb);

typedef struct UnitName
{
	const char *name; /* the singular; an s makes the plural */
	PeriodUnit unit;
	int64 factor; /* how many of unit it is */
} UnitName;

static const UnitName unit_names[] = {
	{"second", PERIOD_SECONDS, 1},
	{"minute", PERIOD_SECONDS, SECS_PER_MINUTE},
	{"hour", PERIOD_SECONDS, SECS_PER_HOUR},
	{"day", PERIOD_DAYS, 1},
	{"week", PERIOD_DAYS, 7},
	{"month", PERIOD_MONTHS, 1},
	{"quarter", PERIOD_MONTHS, 3},
	{"year", PERIOD_MONTHS, MONTHS_PER_YEAR},
};

/*
 * Raises the error for text that cannot be read: what was expected, and where.
 */
static void
period_fail(const TextReader *reader, int sqlstate, const char *expected)
{
	ereport(ERROR,
			(errcode(sqlstate), reader_errmsg(reader), reader_errexpected(reader, expected),
			 errhint("Periods are written like month, 1 month from 2026-01-31 in Europe/Berlin, 6 "
					 "hours, rolling 24 hours, refill 100 per 1 minute up to 500 or lifetime.")));
}

/*
 * Copies the next word, in lower case, without moving past it. The copy is empty
 * if no letter comes next, and cut off if the word is too long to be one of ours.
 * Returns the length of the whole word.
 */
static int
word_peek(TextReader *reader, char *word)
{
	int length = 0;

	reader_skip_space(reader);
	for (;; length++)
	{
		char letter = reader->at[length];

		if (letter >= 'A' && letter <= 'Z')
			letter += 'a' - 'A';
		if (letter < 'a' || letter > 'z')
			break;
		if (length < WORD_SIZE - 1)
			word[length] = letter;
	}
	word[Min(length, WORD_SIZE - 1)] = '\0';
	return length;
}

/*
 * Moves past the next word if it is the given one.
 */
static bool
word_accept(TextReader *reader, const char *expected)
{
	char word[WORD_SIZE];
	int length = word_peek(reader, word);

	if (strcmp(word, expected) != 0)
		return false;
	reader->at += length;
	return true;
}

static void
word_expect(TextReader *reader, const char *expected)
{
	if (!word_accept(reader, expected))
		period_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, psprintf("\"%s\"", expected));
}

/*
 * Reads a count, or takes 1 if there is none. No count beyond the largest number
 * of seconds is in range whatever its unit, so further digits are only skipped.
 */
static int64
period_read_count(TextReader *reader)
{
	int64 count = 0;

	reader_skip_space(reader);
	if (*reader->at < '0' || *reader->at > '9')
		return 1;
	for (; *reader->at >= '0' && *reader->at <= '9'; reader->at++)
	{
		if (count <= PERIOD_SECONDS_MAX)
			count = count * 10 + (*reader->at - '0');
	}
	return count;
}

/*
 * Reads '[count] unit' into unit and length, whose range period_check() looks at.
 * Returns the unit as it was named.
 */
static const UnitName *
period_read_length(TextReader *reader, PeriodParts *parts)
{
	int64 count = period_read_count(reader);
	char word[WORD_SIZE];
	int length = word_peek(reader, word);
	const UnitName *unit = NULL;

	if (length > 1 && length < WORD_SIZE && word[length - 1] == 's')
		word[length - 1] = '\0';
	for (size_t i = 0; i < lengthof(unit_names) && unit == NULL; i++)
	{
		if (strcmp(word, unit_names[i].name) == 0)
			unit = &unit_names[i];
	}
	if (unit == NULL || (parts->kind != PERIOD_CALENDAR && unit->unit == PERIOD_MONTHS))
		period_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
					parts->kind == PERIOD_CALENDAR
						? "a unit (second, minute, hour, day, week, month, quarter or year)"
						: "a unit of fixed length (second, minute, hour, day or week)");

	parts->unit = unit->unit;
	parts->length = count * unit->factor;
	if (parts->kind != PERIOD_CALENDAR && unit->unit == PERIOD_DAYS)
	{
		parts->unit = PERIOD_SECONDS;
		parts->length *= SECS_PER_DAY;
	}
	reader->at += length;
	return unit;
}

/*
 * Reads the date, and perhaps the time, after 'from'.
 */
static void
period_read_anchor(TextReader *reader, PeriodParts *parts)
{
	reader_skip_space(reader);
	switch (civil_parse(&reader->at, &parts->anchor))
	{
		case CIVIL_MALFORMED:
			period_fail(reader, ERRCODE_INVALID_DATETIME_FORMAT,
						"a date YYYY-MM-DD, or a date and a time HH:MM[:SS] without offset,");
			break;
		case CIVIL_OUT_OF_RANGE:
			ereport(ERROR, (errcode(ERRCODE_DATETIME_FIELD_OVERFLOW), reader_errmsg(reader),
							errdetail("The date or time at character %d does not exist.",
									  reader_position(reader, reader->at)),
							errhint("Dates lie between 0001-01-01 and 9999-12-31, times between "
									"00:00 and 23:59:59.999999.")));
			break;
		case CIVIL_OK:
			break;
	}
}

/*
 * Reads the name of a zone after 'in': up to the next blank.
 */
static void
period_read_zone(TextReader *reader, PeriodParts *parts)
{
	int length;

	reader_skip_space(reader);
	length = strcspn(reader->at, CIVIL_BLANKS);
	if (length == 0)
		period_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, "the name of a time zone");
	period_set_zone(parts, reader->at, length);
	reader->at += length;
}

static int64
period_read_amount(TextReader *reader)
{
	reader_skip_space(reader);
	return reader_micros(reader);
}

/*
 * Reads a calendar period. Returns what else might have followed, for the message.
 */
static const char *
period_read_calendar(TextReader *reader, PeriodParts *parts)
{
	bool week = strcmp(period_read_length(reader, parts)->name, "week") == 0;
	bool anchored = word_accept(reader, "from");

	parts->anchor = week ? PERIOD_WEEK_ANCHOR : PERIOD_ANCHOR;
	if (anchored)
		period_read_anchor(reader, parts);
	if (word_accept(reader, "in"))
	{
		period_read_zone(reader, parts);
		return "the end";
	}
	return anchored ? "\"in\" or the end" : "\"from\", \"in\" or the end";
}

/*
 * Reads what follows the word that a kind begins with. Returns what else might
 * have followed.
 */
static const char *
period_read_rest(TextReader *reader, PeriodParts *parts)
{
	switch (parts->kind)
	{
		case PERIOD_LIFETIME:
			break;
		case PERIOD_ROLLING:
			period_read_length(reader, parts);
			break;
		case PERIOD_REPLENISH:
			parts->rate_micros = period_read_amount(reader);
			word_expect(reader, "per");
			period_read_length(reader, parts);
			word_expect(reader, "up");
			word_expect(reader, "to");
			parts->burst_micros = period_read_amount(reader);
			break;
		case PERIOD_CALENDAR:
			return period_read_calendar(reader, parts);
	}
	return "the end";
}

/*
 * period_parse
 *		Reads a period. Raises 22P02 for text that is none, 22007 and 22008 for a
 *		bad anchor, 22003 for numbers out of range, 22023 for an unknown zone.
 */
Period *
period_parse(const char *text)
{
	TextReader reader;
	PeriodParts parts = {0};
	const char *following;
	const char *fault;

	reader_init(&reader, PERIOD_TYPE_NAME, text);
	if (word_accept(&reader, "lifetime"))
		parts.kind = PERIOD_LIFETIME;
	else if (word_accept(&reader, "rolling"))
		parts.kind = PERIOD_ROLLING;
	else if (word_accept(&reader, "refill"))
		parts.kind = PERIOD_REPLENISH;
	else
		parts.kind = PERIOD_CALENDAR;
	following = period_read_rest(&reader, &parts);
	reader_skip_space(&reader);
	reader_finish(&reader, following);

	fault = period_check(&parts);
	if (fault != NULL)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("value out of range for type %s", PERIOD_TYPE_NAME),
						errdetail_internal("%s", fault)));
	return period_make(&parts);
}

/*
 * Chooses the unit that a length is written in: the largest that gives a whole
 * count. Week and day differ in their natural anchor, so of the two the one whose
 * anchor can be left out is taken.
 */
static const UnitName *
choose_unit(const PeriodParts *parts)
{
	const UnitName *chosen = NULL;

	for (size_t i = 0; i < lengthof(unit_names); i++)
	{
		const UnitName *unit = &unit_names[i];

		if (unit->unit != parts->unit || parts->length % unit->factor != 0)
			continue;
		if (strcmp(unit->name, "quarter") == 0 ||
			(strcmp(unit->name, "week") == 0 && parts->anchor == PERIOD_ANCHOR))
			continue;
		chosen = unit;
	}
	Assert(chosen != NULL);
	return chosen;
}

/*
 * Appends '6 hours', or 'hour' for one if bare.
 */
static void
append_length(StringInfo text, const PeriodParts *parts, bool bare)
{
	static const UnitName elapsed_day = {"day", PERIOD_SECONDS, SECS_PER_DAY};
	const UnitName *unit = choose_unit(parts);
	int64 count;

	if (parts->kind != PERIOD_CALENDAR && parts->length % SECS_PER_DAY == 0 &&
		parts->length > SECS_PER_DAY)
		unit = &elapsed_day;
	count = parts->length / unit->factor;
	if (!bare || count != 1)
		appendStringInfo(text, INT64_FORMAT " ", count);
	appendStringInfoString(text, unit->name);
	if (count != 1)
		appendStringInfoChar(text, 's');
}

static void
append_calendar(StringInfo text, const PeriodParts *parts)
{
	bool week = strcmp(choose_unit(parts)->name, "week") == 0;
	bool anchored = parts->anchor != (week ? PERIOD_WEEK_ANCHOR : PERIOD_ANCHOR);
	char anchor[CIVIL_TEXT_SIZE];

	append_length(text, parts, !anchored && parts->zone_length == 0);
	if (anchored)
	{
		civil_to_cstring(parts->anchor, anchor);
		appendStringInfo(text, " from %s", anchor);
	}
	if (parts->zone_length > 0)
		appendStringInfo(text, " in %.*s", parts->zone_length, parts->zone);
}

/*
 * period_to_cstring
 *		Writes the canonical text of a period, palloc'd.
 */
char *
period_to_cstring(const Period *period)
{
	StringInfoData text;
	PeriodParts parts;
	char amount[MICROS_TEXT_SIZE];

	period_take_apart(period, &parts);
	initStringInfo(&text);
	switch (parts.kind)
	{
		case PERIOD_LIFETIME:
			appendStringInfoString(&text, "lifetime");
			break;
		case PERIOD_ROLLING:
			appendStringInfoString(&text, "rolling ");
			append_length(&text, &parts, false);
			break;
		case PERIOD_REPLENISH:
			micros_to_cstring(parts.rate_micros, amount);
			appendStringInfo(&text, "refill %s per ", amount);
			append_length(&text, &parts, false);
			micros_to_cstring(parts.burst_micros, amount);
			appendStringInfo(&text, " up to %s", amount);
			break;
		case PERIOD_CALENDAR:
			append_calendar(&text, &parts);
			break;
	}
	return text.data;
}

Datum
quota_period_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(period_parse(PG_GETARG_CSTRING(0)));
}

Datum
quota_period_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(period_to_cstring(PG_GETARG_PERIOD_P(0)));
}

/*
 * quota_period_to_jsonb
 *		The canonical text as a jsonb string.
 */
Datum
quota_period_to_jsonb(PG_FUNCTION_ARGS)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = period_to_cstring(PG_GETARG_PERIOD_P(0));
	value.val.string.len = strlen(value.val.string.val);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&value));
}

/*
 * quota_period_from_jsonb
 *		Reads a jsonb string; anything else raises 22023.
 */
Datum
quota_period_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	JsonbValue value;

	if (!JB_ROOT_IS_SCALAR(document) || !JsonbExtractScalar(&document->root, &value) ||
		value.type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot cast jsonb to type %s", PERIOD_TYPE_NAME),
						errdetail("A period is a jsonb string, such as \"month\".")));
	PG_RETURN_POINTER(period_parse(pnstrdup(value.val.string.val, value.val.string.len)));
}
