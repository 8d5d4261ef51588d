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

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "civil.h"
#include "period/period_internal.h"
#include "types/amount.h"

/* Longest text that can be a period, with blanks to spare. */
#define PERIOD_TEXT_MAX 1000

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

/* A text being read. */
typedef struct Reader
{
	const char *text; /* all of it, NUL-terminated */
	const char *at;   /* what comes next */
} Reader;

/*
 * Raises the error for text that cannot be read, and says where. All that was
 * read before is ASCII, so bytes are characters.
 */
static void
reader_fail(const Reader *reader, int sqlstate, const char *problem)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("invalid input syntax for type %s: \"%s\"", "quota.period", reader->text),
			 errdetail("%s at character %d.", problem, (int) (reader->at - reader->text) + 1),
			 errhint("Write for example month, 1 month from 2026-01-31 in Europe/Berlin, 6 hours, "
					 "rolling 24 hours, refill 100 per 1 minute up to 500 or lifetime.")));
}

static void
reader_skip_blanks(Reader *reader)
{
	reader->at += strspn(reader->at, CIVIL_BLANKS);
}

/*
 * Copies the next word, in lower case, without moving past it. The copy is empty
 * if no letter comes next, and cut off if the word is too long to be one of ours.
 * Returns the length of the whole word.
 */
static int
reader_peek_word(Reader *reader, char *word)
{
	int length = 0;

	reader_skip_blanks(reader);
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
reader_take_word(Reader *reader, const char *expected)
{
	char word[WORD_SIZE];
	int length = reader_peek_word(reader, word);

	if (strcmp(word, expected) != 0)
		return false;
	reader->at += length;
	return true;
}

static void
reader_need_word(Reader *reader, const char *expected)
{
	if (!reader_take_word(reader, expected))
		reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
					psprintf("Expected \"%s\"", expected));
}

static bool
reader_at_digit(const Reader *reader)
{
	return *reader->at >= '0' && *reader->at <= '9';
}

/*
 * Appends a decimal digit; a number too large for an int64 stays the largest.
 */
static int64
append_digit(int64 number, int digit)
{
	if (pg_mul_s64_overflow(number, 10, &number) || pg_add_s64_overflow(number, digit, &number))
		return PG_INT64_MAX;
	return number;
}

/*
 * Reads an amount such as 100 or 12.5 in millionths of its unit. What is too
 * large becomes the largest int64, which period_check() refuses.
 */
static int64
reader_need_amount(Reader *reader)
{
	int64 micros = 0;
	int decimals = 0;

	reader_skip_blanks(reader);
	if (!reader_at_digit(reader))
		reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, "Expected an amount");
	for (; reader_at_digit(reader); reader->at++)
		micros = append_digit(micros, *reader->at - '0');
	if (*reader->at == '.')
	{
		reader->at++;
		if (!reader_at_digit(reader))
			reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, "Expected a digit");
		for (; reader_at_digit(reader); reader->at++)
		{
			if (++decimals > 6)
				reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
							"An amount has at most six decimal places, there is a seventh");
			micros = append_digit(micros, *reader->at - '0');
		}
	}
	for (; decimals < 6; decimals++)
		micros = append_digit(micros, 0);
	return micros;
}

/*
 * Reads '[count] unit' into unit and length, whose range period_check() looks at.
 * Returns the unit as it was named.
 */
static const UnitName *
reader_need_length(Reader *reader, PeriodParts *parts)
{
	const UnitName *unit = NULL;
	char word[WORD_SIZE];
	int length;
	int64 count = 1;

	reader_skip_blanks(reader);
	if (reader_at_digit(reader))
	{
		for (count = 0; reader_at_digit(reader); reader->at++)
		{
			/* Beyond this no count is in range, whatever its unit. */
			if (count <= PERIOD_SECONDS_MAX)
				count = count * 10 + (*reader->at - '0');
		}
	}

	length = reader_peek_word(reader, word);
	if (length > 1 && length < WORD_SIZE && word[length - 1] == 's')
		word[length - 1] = '\0';
	for (size_t i = 0; i < lengthof(unit_names) && unit == NULL; i++)
	{
		if (strcmp(word, unit_names[i].name) == 0)
			unit = &unit_names[i];
	}
	if (unit == NULL)
		reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
					"Expected second, minute, hour, day, week, month, quarter or year");

	parts->unit = unit->unit;
	parts->length = count * unit->factor;
	if (parts->kind != PERIOD_CALENDAR)
	{
		if (unit->unit == PERIOD_MONTHS)
			reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
						"Expected a unit of fixed length, second, minute, hour, day or week,");
		if (unit->unit == PERIOD_DAYS)
			parts->length *= SECS_PER_DAY;
		parts->unit = PERIOD_SECONDS;
	}
	reader->at += length;
	return unit;
}

/*
 * Reads the date, and perhaps the time, after 'from'.
 */
static void
reader_need_anchor(Reader *reader, PeriodParts *parts)
{
	reader_skip_blanks(reader);
	switch (civil_parse(&reader->at, &parts->anchor))
	{
		case CIVIL_MALFORMED:
			reader_fail(
				reader, ERRCODE_INVALID_DATETIME_FORMAT,
				"Expected a date YYYY-MM-DD, or a date and a time HH:MM[:SS], without offset");
			break;
		case CIVIL_OUT_OF_RANGE:
			reader_fail(reader, ERRCODE_DATETIME_FIELD_OVERFLOW, "There is no such date or time");
			break;
		case CIVIL_OK:
			break;
	}
}

/*
 * Reads the name of a zone after 'in': up to the next blank.
 */
static void
reader_need_zone(Reader *reader, PeriodParts *parts)
{
	int length;

	reader_skip_blanks(reader);
	length = strcspn(reader->at, CIVIL_BLANKS);
	if (length == 0)
		reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION,
					"Expected the name of a time zone");
	period_set_zone(parts, reader->at, length);
	reader->at += length;
}

/*
 * Reads what is left of a period of a kind that has been recognized.
 */
static void
reader_need_rest(Reader *reader, PeriodParts *parts)
{
	const UnitName *unit;

	switch (parts->kind)
	{
		case PERIOD_LIFETIME:
			break;
		case PERIOD_ROLLING:
			reader_need_length(reader, parts);
			break;
		case PERIOD_REPLENISH:
			parts->rate_micros = reader_need_amount(reader);
			reader_need_word(reader, "per");
			reader_need_length(reader, parts);
			reader_need_word(reader, "up");
			reader_need_word(reader, "to");
			parts->burst_micros = reader_need_amount(reader);
			break;
		case PERIOD_CALENDAR:
			unit = reader_need_length(reader, parts);
			parts->anchor = strcmp(unit->name, "week") == 0 ? PERIOD_WEEK_ANCHOR : PERIOD_ANCHOR;
			if (reader_take_word(reader, "from"))
				reader_need_anchor(reader, parts);
			if (reader_take_word(reader, "in"))
				reader_need_zone(reader, parts);
			break;
	}
	reader_skip_blanks(reader);
	if (*reader->at != '\0')
		reader_fail(reader, ERRCODE_INVALID_TEXT_REPRESENTATION, "Expected the end");
}

/*
 * period_parse
 *		Reads a period. Raises 22P02 for text that is none, 22007 and 22008 for a
 *		bad anchor, 22003 for numbers out of range, 22023 for an unknown zone.
 */
Period *
period_parse(const char *text)
{
	Reader reader = {text, text};
	PeriodParts parts = {0};
	const char *fault;

	if (strlen(text) > PERIOD_TEXT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("invalid input syntax for type %s", "quota.period"),
						errdetail("The text is longer than %d bytes.", PERIOD_TEXT_MAX)));

	if (reader_take_word(&reader, "lifetime"))
		parts.kind = PERIOD_LIFETIME;
	else if (reader_take_word(&reader, "rolling"))
		parts.kind = PERIOD_ROLLING;
	else if (reader_take_word(&reader, "refill"))
		parts.kind = PERIOD_REPLENISH;
	else
		parts.kind = PERIOD_CALENDAR;
	reader_need_rest(&reader, &parts);

	fault = period_check(&parts);
	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("period out of range: \"%s\"", text), errdetail_internal("%s", fault)));
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
						errmsg("cannot cast jsonb to type %s", "quota.period"),
						errdetail("A period is a jsonb string, such as \"month\".")));
	PG_RETURN_POINTER(period_parse(pnstrdup(value.val.string.val, value.val.string.len)));
}
