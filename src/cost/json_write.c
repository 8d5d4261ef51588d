/*
 * json_write.c
 *		Writes jsonb of known shape straight into its stored form.
 *
 * Building jsonb with pushJsonbValue() costs several times what pricing a request
 * does: it collects a tree, sorts the keys of every object and copies everything once
 * more. The shape of our document is known, keys are given in order, and so it is
 * written as it will be stored (the form is described in utils/jsonb.h): a header with
 * the number of elements, one JEntry for each key and each value, then their data.
 * An entry holds the length of its data, every JB_OFFSET_STRIDE-th the end offset.
 * Numbers and containers are aligned to four bytes, and the padding before them counts
 * as theirs.
 */
#include "cost/json_write.h"

#include "utils/numeric.h"

/* Enough for the document of an ordinary request. */
#define INITIAL_SIZE 2048

/*
 * reserve
 *		Makes room for more bytes and returns where they begin.
 */
static char *
reserve(StoredJson *writer, int count)
{
	if (writer->length + count > writer->size)
	{
		writer->size = Max(2 * writer->size, writer->length + count);
		writer->data = repalloc(writer->data, writer->size);
	}
	return writer->data + writer->length;
}

static void
append(StoredJson *writer, const char *data, int count)
{
	memcpy(reserve(writer, count), data, count);
	writer->length += count;
}

/*
 * align
 *		Pads to four bytes.
 */
static void
align(StoredJson *writer)
{
	int padding = INTALIGN(writer->length) - writer->length;

	memset(reserve(writer, padding), 0, padding);
	writer->length += padding;
}

/*
 * add_entry
 *		Notes the next entry of a frame, whose data has the length.
 */
static void
add_entry(StoredJson *writer, JsonFrame *frame, uint32 type, int length)
{
	JEntry entry;

	frame->length += length;
	if (frame->next % JB_OFFSET_STRIDE == 0)
		entry = type | frame->length | JENTRY_HAS_OFF;
	else
		entry = type | (uint32) length;
	memcpy(writer->data + frame->entries + frame->next * sizeof(JEntry), &entry, sizeof(JEntry));
	frame->next++;
}

/*
 * open_container
 *		Starts an object or array.
 */
static JsonFrame
open_container(StoredJson *writer, uint32 header, int entries)
{
	JsonFrame frame = {.start = writer->length};

	align(writer);
	append(writer, (const char *) &header, sizeof(header));
	frame.entries = writer->length;
	reserve(writer, entries * sizeof(JEntry));
	writer->length += entries * sizeof(JEntry);
	return frame;
}

/*
 * json_write_begin
 *		Starts a document in the current memory context.
 */
void
json_write_begin(StoredJson *writer)
{
	writer->size = INITIAL_SIZE;
	writer->data = palloc(writer->size);
	writer->length = VARHDRSZ;
}

/*
 * json_write_end
 *		Returns the document, all of whose containers are closed.
 */
Jsonb *
json_write_end(StoredJson *writer)
{
	SET_VARSIZE(writer->data, writer->length);
	return (Jsonb *) writer->data;
}

/* The order of keys in jsonb: shorter ones first, then by bytes. */
static int
pg_attribute_unused() compare_keys(const char *a, const char *b)
{
	size_t length_a = strlen(a);
	size_t length_b = strlen(b);

	if (length_a != length_b)
		return length_a < length_b ? -1 : 1;
	return memcmp(a, b, length_a);
}

/*
 * json_open_object
 *		Starts an object; keys are in order (compare_keys).
 */
JsonFrame
json_open_object(StoredJson *writer, int count, const char *const *keys)
{
	JsonFrame frame = open_container(writer, JB_FOBJECT | (uint32) count, 2 * count);

	for (int i = 0; i < count; i++)
	{
		Assert(i == 0 || compare_keys(keys[i - 1], keys[i]) < 0);
		json_write_text(writer, &frame, keys[i]);
	}
	return frame;
}

/*
 * json_open_array
 *		Starts an array.
 */
JsonFrame
json_open_array(StoredJson *writer, int count)
{
	return open_container(writer, JB_FARRAY | (uint32) count, count);
}

/*
 * json_close
 *		Ends an object or array, which becomes the next value of parent (NULL for the
 *		whole document).
 */
void
json_close(StoredJson *writer, JsonFrame *frame, JsonFrame *parent)
{
	if (parent != NULL)
		add_entry(writer, parent, JENTRY_ISCONTAINER, writer->length - frame->start);
}

void
json_write_text(StoredJson *writer, JsonFrame *frame, const char *text)
{
	int length = (int) strlen(text);

	append(writer, text, length);
	add_entry(writer, frame, JENTRY_ISSTRING, length);
}

/*
 * json_write_decimal
 *		Writes a decimal as a string, so that no reader takes it for a float.
 */
void
json_write_decimal(StoredJson *writer, JsonFrame *frame, int128 decimal, int scale)
{
	int length = decimal_to_cstring(decimal, scale, reserve(writer, DECIMAL_TEXT_SIZE));

	writer->length += length;
	add_entry(writer, frame, JENTRY_ISSTRING, length);
}

void
json_write_integer(StoredJson *writer, JsonFrame *frame, int64 integer)
{
	Numeric numeric = int64_to_numeric(integer);
	int start = writer->length;

	align(writer);
	append(writer, (const char *) numeric, VARSIZE_ANY(numeric));
	add_entry(writer, frame, JENTRY_ISNUMERIC, writer->length - start);
}
