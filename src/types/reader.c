/*
 * reader.c
 *		Reading the text forms of the types, and saying where they are malformed.
 *
 * quota.scope, quota.amount and quota.quota are read by one pass over a
 * NUL-terminated text, without recursion and without backtracking. They share
 * this reader for what they have in common: identifiers, exact decimals, white
 * space, and errors of one form, with the position in characters (from 1):
 *
 *		ERROR:  invalid input syntax for type quota.scope: "company/acme"
 *		DETAIL:  Expected ":" at character 8, found "/".
 *
 * Bytes above 0x7f are never syntax: in every server encoding of PostgreSQL a
 * byte below 0x80 is the ASCII character, so reading by byte is safe.
 */
#include "types/reader.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "types/micros.h"

/* Longer inputs are cut in messages: hostile ones can have a gigabyte. */
#define MESSAGE_TEXT_MAX 200

/*
 * reader_init
 *		Starts to read a text. type_name and text must outlive the reader.
 */
void
reader_init(TextReader *reader, const char *type_name, const char *text)
{
	reader->type_name = type_name;
	reader->text = text;
	reader->at = text;
}

/* reader_position: the number, from 1, of the character that at points to. */
int
reader_position(const TextReader *reader, const char *at)
{
	return pg_mbstrlen_with_len(reader->text, at - reader->text) + 1;
}

/* reader_errmsg: the primary message for malformed input, with the input in it. */
int
reader_errmsg(const TextReader *reader)
{
	size_t length = strlen(reader->text);
	int shown = length <= MESSAGE_TEXT_MAX
					? (int) length
					: pg_mbcliplen(reader->text, MESSAGE_TEXT_MAX + MAX_MULTIBYTE_CHAR_LEN,
								   MESSAGE_TEXT_MAX);

	return errmsg("invalid input syntax for type %s: \"%.*s%s\"", reader->type_name, shown,
				  reader->text, shown < (int) length ? "..." : "");
}

/* reader_errexpected: the detail that something else was expected at the next byte. */
int
reader_errexpected(const TextReader *reader, const char *what)
{
	if (*reader->at == '\0')
		return errdetail("Expected %s at character %d, found the end of the input.", what,
						 reader_position(reader, reader->at));
	return errdetail("Expected %s at character %d, found \"%.*s\".", what,
					 reader_position(reader, reader->at), pg_mblen(reader->at), reader->at);
}

/* reader_skip_space: skips ASCII white space. */
void
reader_skip_space(TextReader *reader)
{
	while (*reader->at == ' ' || (*reader->at >= '\t' && *reader->at <= '\r'))
		reader->at++;
}

/* reader_accept: skips the next byte if it is the one given, and says whether it was. */
bool
reader_accept(TextReader *reader, char expected)
{
	Assert(expected != '\0');
	if (*reader->at != expected)
		return false;
	reader->at++;
	return true;
}

/*
 * reader_finish
 *		Makes sure that nothing is left; 22P02 names what was expected otherwise.
 */
void
reader_finish(TextReader *reader, const char *expected)
{
	if (*reader->at != '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						reader_errexpected(reader, expected)));
}

static bool
is_identifier_start(char c)
{
	return (c >= 'a' && c <= 'z') || c == '_';
}

static bool
is_identifier_part(char c)
{
	return is_identifier_start(c) || (c >= '0' && c <= '9');
}

bool
is_identifier(const char *text)
{
	int length = 1;

	if (!is_identifier_start(text[0]))
		return false;
	while (is_identifier_part(text[length]) && length < RESOURCE_NAME_SIZE)
		length++;
	return text[length] == '\0' && length < RESOURCE_NAME_SIZE;
}

/*
 * reader_identifier
 *		Reads an identifier into buffer (of RESOURCE_NAME_SIZE bytes) and returns its
 *		length; 22P02 if there is none, 54000 if it is too long. what names it: "a kind".
 */
int
reader_identifier(TextReader *reader, const char *what, char *buffer)
{
	const char *start = reader->at;

	if (!is_identifier_start(*reader->at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
				 reader_errexpected(reader, what),
				 errhint("It begins with a lower-case letter or an underscore; more of these and "
						 "digits may follow.")));
	while (is_identifier_part(*reader->at))
		reader->at++;

	size_t length = reader->at - start;

	if (length >= RESOURCE_NAME_SIZE)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), reader_errmsg(reader),
						errdetail("The identifier at character %d has %zu characters, more than "
								  "%d.",
								  reader_position(reader, start), length, RESOURCE_NAME_SIZE - 1)));
	memcpy(buffer, start, length);
	buffer[length] = '\0';
	return (int) length;
}

/*
 * reader_micros
 *		Reads a decimal number, exactly, as millionths: [+-]digits[.digits]. 22P02 if
 *		there is none or it has more than six decimals (zeros do not count), 22003 if
 *		it is out of range.
 */
int64
reader_micros(TextReader *reader)
{
	const char *start = reader->at;
	bool negative = *reader->at == '-';

	if (*reader->at == '-' || *reader->at == '+')
		reader->at++;
	if (*reader->at < '0' || *reader->at > '9')
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
						reader_errexpected(reader, "a decimal number")));

	/* Digits beyond the range keep the value above it: it cannot come back or wrap. */
	uint64 micros = 0;
	const uint64 ceiling = (uint64) MICROS_MAX + 1;
	int decimals = 0;

	for (; *reader->at >= '0' && *reader->at <= '9'; reader->at++)
		micros = Min(micros * 10 + (*reader->at - '0'), ceiling / MICROS_PER_UNIT + 1);
	if (reader_accept(reader, '.'))
	{
		if (*reader->at < '0' || *reader->at > '9')
			ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
							reader_errexpected(reader, "a decimal digit")));
		for (; *reader->at >= '0' && *reader->at <= '9'; reader->at++, decimals++)
		{
			if (decimals < MICROS_DECIMALS)
				micros = micros * 10 + (*reader->at - '0');
			else if (*reader->at != '0')
				ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), reader_errmsg(reader),
								errdetail("The digit at character %d is beyond the sixth decimal.",
										  reader_position(reader, reader->at)),
								errhint("Amounts are counted in millionths of a unit: round the "
										"number to six decimals.")));
		}
	}
	for (; decimals < MICROS_DECIMALS; decimals++)
		micros *= 10;

	if (micros > (uint64) MICROS_MAX)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("value out of range for type %s", reader->type_name),
						errdetail("The number at character %d is beyond " MICROS_MAX_TEXT ".",
								  reader_position(reader, start))));
	return negative ? -(int64) micros : (int64) micros;
}
