/*
 * reader.h
 *		Reading the text forms of the types, and saying where they are malformed.
 */
#ifndef XAVIER_QUOTA_TYPES_READER_H
#define XAVIER_QUOTA_TYPES_READER_H

#include "xavier_quota.h"

typedef struct TextReader
{
	const char *type_name; /* of the value being read, for messages: "quota.scope" */
	const char *text;      /* the whole input, NUL-terminated, in the server encoding */
	const char *at;        /* the next byte to read */
} TextReader;

/* Functions in reader.c */
extern void reader_init(TextReader *reader, const char *type_name, const char *text);
extern void reader_skip_space(TextReader *reader);
extern bool reader_accept(TextReader *reader, char expected);
extern int reader_identifier(TextReader *reader, const char *what, char *buffer);
extern int64 reader_micros(TextReader *reader);
extern void reader_finish(TextReader *reader, const char *expected);
extern int reader_position(const TextReader *reader, const char *at);

/* Parts of an ereport(): the primary message, and a detail about the next byte. */
extern int reader_errmsg(const TextReader *reader);
extern int reader_errexpected(const TextReader *reader, const char *what);

/* Whether a text is an identifier: [a-z_][a-z0-9_]{0,62}, as kinds and resources are. */
extern bool is_identifier(const char *text);

#endif /* XAVIER_QUOTA_TYPES_READER_H */
