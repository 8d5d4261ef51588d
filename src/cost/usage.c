/*
 * usage.c
 *		Reads the quantities of a request, or of what a generation used, from jsonb.
 *
 * A document is one flat object whose keys are words of the vocabulary. An unknown
 * key is an error: a misspelt quantity must not make a request cheap. A null is
 * the same as an absent key. Quantities are JSON numbers, not negative, at most
 * 10^12, whole unless the vocabulary says otherwise; those that may have fractions
 * (up to six decimals) may also be decimal strings.
 */
#include "cost/usage.h"

#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

#include "cost/decimal.h"
#include "cost/json_read.h"
#include "errors.h"

/* Names from outside are shown in messages up to this many bytes. */
#define CLIP_SIZE 64

/*
 * usage_fail
 *		Raises the error of a request or usage that cannot be priced.
 */
void
usage_fail(const char *key, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
					errmsg("request cannot be priced: \"%s\"", key),
					errdetail_internal("%s", detail), hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * usage_assume
 *		Notes what was assumed; text stays with the caller's memory context.
 */
void
usage_assume(Assumptions *assumptions, const char *text)
{
	if (assumptions->count < ASSUMPTION_MAX)
		assumptions->texts[assumptions->count] = text;
	assumptions->count++;
}

/*
 * usage_assume_first
 *		The same, before everything else.
 */
void
usage_assume_first(Assumptions *assumptions, const char *text)
{
	memmove(&assumptions->texts[1], &assumptions->texts[0],
			sizeof(char *) * Min(assumptions->count, ASSUMPTION_MAX - 1));
	assumptions->texts[0] = text;
	assumptions->count++;
}

/*
 * usage_multiply
 *		Multiplies two quantities in millionths; key names the quantity in errors.
 */
int64
usage_multiply(int64 a, int64 b, const char *key)
{
	int128 product;

	if (b == QUANTITY_ONE)
		return a;
	product = (int128) a * (int128) b / QUANTITY_ONE;
	if (product > QUANTITY_MAX_MICROS)
		usage_fail(key, "The quantity is larger than 1000000000000.", NULL);
	return (int64) product;
}

/*
 * quantity_check
 *		Returns the quantity in millionths, or raises an error that names the key.
 */
static int64
quantity_check(const char *key, bool whole, DecimalStatus status, int128 value)
{
	if (status == DECIMAL_MALFORMED)
		usage_fail(key, "The value is not a number.", "A quantity is a JSON number such as 1200.");
	if (status == DECIMAL_OK && value < 0)
		usage_fail(key, "The quantity is negative.", NULL);
	if (status == DECIMAL_OVERFLOW || (status == DECIMAL_OK && value > QUANTITY_MAX_MICROS))
		usage_fail(key, "The quantity is larger than 1000000000000.", NULL);
	if (whole)
	{
		if (status == DECIMAL_INEXACT || (int64) value % QUANTITY_ONE != 0)
			usage_fail(key, "The quantity has a fraction, and only whole ones are counted.", NULL);
	}
	else if (status == DECIMAL_INEXACT)
		usage_fail(key, "The quantity has more than six decimals.", NULL);
	return (int64) value;
}

/*
 * usage_read_quantity
 *		Returns the quantity that a JSON value states under a key, in millionths.
 */
int64
usage_read_quantity(const char *key, bool whole, const JsonbValue *value)
{
	int128 decimal = 0;
	DecimalStatus status = DECIMAL_MALFORMED;

	if (value->type == jbvNumeric)
		status = decimal_from_numeric(value->val.numeric, QUANTITY_SCALE, &decimal);
	else if (value->type == jbvString && !whole)
		status = decimal_from_text(value->val.string.val, value->val.string.len, QUANTITY_SCALE,
								   &decimal);
	return quantity_check(key, whole, status, decimal);
}

/*
 * usage_read_parameter
 *		Notes the text of a parameter. Texts point into the document.
 */
void
usage_read_parameter(Usage *usage, int parameter, const JsonbValue *value)
{
	UsageText *text = &usage->texts[parameter];

	switch (value->type)
	{
		case jbvString:
			text->text = value->val.string.val;
			text->length = value->val.string.len;
			break;
		case jbvBool:
			text->text = value->val.boolean ? "true" : "false";
			text->length = (int) strlen(text->text);
			break;
		case jbvNumeric:
			text->text = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			text->length = (int) strlen(text->text);
			break;
		default:
			usage_fail(parameters[parameter], "The value is neither text nor number nor boolean.",
					   NULL);
	}
	usage->given_parameters |= 1u << parameter;
}

/*
 * usage_reasoning_is_additional
 *		Whether the document says that its output does not include reasoning.
 */
bool
usage_reasoning_is_additional(const Usage *usage)
{
	const UsageText *text = &usage->texts[PARAMETER_REASONING_IS_ADDITIONAL];

	if (!usage_has_parameter(usage, PARAMETER_REASONING_IS_ADDITIONAL) ||
		(text->length == 5 && memcmp(text->text, "false", 5) == 0))
		return false;
	if (text->length != 4 || memcmp(text->text, "true", 4) != 0)
		usage_fail(parameters[PARAMETER_REASONING_IS_ADDITIONAL],
				   "The value is neither true nor false.", NULL);
	return true;
}

/*
 * usage_clip
 *		Returns a copy of a text from outside that is fit for a message: at most 64
 *		bytes of whole characters.
 */
char *
usage_clip(const char *text, int length)
{
	return pnstrdup(text, pg_mbcliplen(text, length, Min(length, CLIP_SIZE)));
}

/*
 * usage_fail_unknown
 *		Raises the error of a key that is no word of the vocabulary.
 */
void
usage_fail_unknown(const char *key, int length)
{
	usage_fail(usage_clip(key, length), "The key is not in the vocabulary of requests and usage.",
			   "Keys without influence on the price may stand inside \"metadata\".");
}

/*
 * read_length
 *		Returns the bytes of the input's text, in millionths.
 */
static int64
read_length(const JsonbValue *value)
{
	if (value->type != jbvString)
		usage_fail(INPUT_TEXT, "The value is not a text.", NULL);
	return value->val.string.len * QUANTITY_ONE;
}

/*
 * usage_read
 *		Fills usage from a document in the vocabulary. Raises XQ201 with the name of
 *		the key if anything is unknown, malformed, negative or absurd. With
 *		or_provider, returns false at the first unknown key instead.
 */
bool
usage_read(Jsonb *document, bool or_provider, Usage *usage)
{
	JsonMembers members;
	JsonbValue key;
	JsonbValue value;

	usage->given = 0;
	usage->given_parameters = 0;
	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR, (errcode(ERRCODE_QUOTA_INVALID_REQUEST),
						errmsg("request cannot be priced: it is not a JSON object"),
						errhint("A request looks like {\"input_tokens\": 1200, "
								"\"max_output_tokens\": 500}.")));
	json_read_begin(&members, &document->root);
	while (json_read_next(&members, &key, &value))
	{
		Word word = vocabulary_find(key.val.string.val, key.val.string.len);

		if (word.kind == WORD_UNKNOWN || (word.kind == WORD_TEXT && or_provider) ||
			(word.kind == WORD_MEASURE && !(measures[word.index].flags & MEASURE_IS_KEY)))
		{
			if (or_provider)
				return false;
			usage_fail_unknown(key.val.string.val, key.val.string.len);
		}
		if (word.kind == WORD_IGNORED || value.type == jbvNull)
			continue;
		if (word.kind == WORD_PARAMETER)
		{
			usage_read_parameter(usage, word.index, &value);
			continue;
		}

		const MeasureInfo *measure = &measures[word.index];
		int64 micros = word.kind == WORD_TEXT
						   ? read_length(&value)
						   : usage_read_quantity(measure->name,
												 (measure->flags & MEASURE_IS_WHOLE) != 0, &value);

		if (usage_has(usage, word.index) && usage->micros[word.index] != micros)
			usage_fail(measures[word.index].name,
					   "The quantity is given twice, with different values.",
					   "Keep one of the names under which it is known.");
		usage_set(usage, word.index, micros);
	}
	return true;
}

/*
 * usage_copy
 *		Copies what is given. That is little of all that can be.
 */
void
usage_copy(Usage *copy, const Usage *usage)
{
	copy->given = usage->given;
	copy->given_parameters = usage->given_parameters;
	for (uint64 rest = usage->given; rest != 0; rest &= rest - 1)
	{
		int measure = pg_rightmost_one_pos64(rest);

		copy->micros[measure] = usage->micros[measure];
	}
	for (uint32 rest = usage->given_parameters; rest != 0; rest &= rest - 1)
	{
		int parameter = pg_rightmost_one_pos32(rest);

		copy->texts[parameter] = usage->texts[parameter];
	}
}

/* Measures that are part of a total; with the totals they come first. */
#define PARTS                                     \
	((MEASURE_BIT(MEASURE_CITATION_TOKENS) - 1) & \
	 ~(MEASURE_BIT(MEASURE_INPUT_TOKENS) | MEASURE_BIT(MEASURE_OUTPUT_TOKENS)))

/* What is part of two parts of the input, and counted once. */
static const struct
{
	Measure part;
	Measure total;
	Measure also;
} overlaps[] = {
	{MEASURE_CACHED_AUDIO_INPUT_TOKENS, MEASURE_CACHED_INPUT_TOKENS, MEASURE_AUDIO_INPUT_TOKENS},
	{MEASURE_CACHED_IMAGE_INPUT_TOKENS, MEASURE_CACHED_INPUT_TOKENS, MEASURE_IMAGE_INPUT_TOKENS},
	{MEASURE_CACHED_VIDEO_INPUT_TOKENS, MEASURE_CACHED_INPUT_TOKENS, MEASURE_VIDEO_INPUT_TOKENS},
	{MEASURE_CACHE_WRITE_AUDIO_TOKENS, MEASURE_CACHE_WRITE_TOKENS, MEASURE_AUDIO_INPUT_TOKENS},
};

/* All of these parts. */
#define OVERLAPS                                      \
	(MEASURE_BIT(MEASURE_CACHED_AUDIO_INPUT_TOKENS) | \
	 MEASURE_BIT(MEASURE_CACHED_IMAGE_INPUT_TOKENS) | \
	 MEASURE_BIT(MEASURE_CACHED_VIDEO_INPUT_TOKENS) | \
	 MEASURE_BIT(MEASURE_CACHE_WRITE_AUDIO_TOKENS))

/*
 * usage_infer_overlaps
 *		A provider that tells what was cached and what was audio, but not what was
 *		both, has told more parts than there are tokens. The least that must have been
 *		both is taken for it: cached audio is cheaper than audio.
 */
void
usage_infer_overlaps(Usage *usage, Assumptions *assumptions)
{
	int64 excess = -usage_get(usage, MEASURE_INPUT_TOKENS);

	for (int i = MEASURE_INPUT_TOKENS + 1; i < MEASURE_OUTPUT_TOKENS; i++)
	{
		if (measures[i].part_of == MEASURE_INPUT_TOKENS)
			excess += usage_get(usage, i);
	}
	for (int i = 0; i < (int) lengthof(overlaps); i++)
		excess -= usage_get(usage, overlaps[i].part);
	for (int i = 0; i < (int) lengthof(overlaps) && excess > 0; i++)
	{
		int64 known = usage_get(usage, overlaps[i].part);
		int64 room = usage_get(usage, overlaps[i].total);
		char text[DECIMAL_TEXT_SIZE];

		for (int j = 0; j < (int) lengthof(overlaps); j++)
		{
			if (overlaps[j].total == overlaps[i].total)
				room -= usage_get(usage, overlaps[j].part);
		}
		room = Min(room, usage_get(usage, overlaps[i].also) - known);
		room = Min(room, excess);
		if (room <= 0)
			continue;
		excess -= room;
		usage_set(usage, overlaps[i].part, known + room);
		decimal_to_cstring(known + room, QUANTITY_SCALE, text);
		usage_assume(assumptions, psprintf("%s: %s, the least that the totals allow",
										   measures[overlaps[i].part].name, text));
	}
}

/* What the parts of each total are together. */
typedef struct PartSums
{
	uint64 totals; /* that have a sum; of the others nothing else is set */
	int64 micros[MEASURE_CITATION_TOKENS];
	int last[MEASURE_CITATION_TOKENS]; /* the part that was added last */
} PartSums;

static inline void
sums_add(PartSums *sums, int total, int part, int64 micros)
{
	if ((sums->totals & MEASURE_BIT(total)) == 0)
		sums->micros[total] = 0;
	sums->totals |= MEASURE_BIT(total);
	sums->micros[total] += micros;
	sums->last[total] = part;
}

/*
 * sums_add_overlaps
 *		Adds what is part of two parts of the input to the second one, and takes it off the
 *		input, to which both will be added.
 */
static void
sums_add_overlaps(PartSums *sums, const Usage *usage)
{
	for (int i = 0; i < (int) lengthof(overlaps); i++)
	{
		int64 both = usage_get(usage, overlaps[i].part);

		if (both == 0)
			continue;
		sums_add(sums, overlaps[i].also, overlaps[i].part, both);
		sums_add(sums, MEASURE_INPUT_TOKENS, overlaps[i].part, -both);
	}
}

/*
 * find_excess
 *		Returns a part that makes the parts of its total more than the total, and the
 *		total; -1 if there is none. Cached audio is part of both the cached and the
 *		audio tokens, and counted once in the input.
 */
static int
find_excess(const Usage *usage, int *total)
{
	PartSums sums;

	if ((usage->given & PARTS) == 0)
		return -1;
	sums.totals = 0;
	if ((usage->given & OVERLAPS) != 0)
		sums_add_overlaps(&sums, usage);
	for (uint64 rest = usage->given & PARTS; rest != 0; rest &= rest - 1)
	{
		int part = pg_rightmost_one_pos64(rest);

		if (usage->micros[part] != 0)
			sums_add(&sums, measures[part].part_of, part, usage->micros[part]);
	}
	for (uint64 rest = sums.totals; rest != 0; rest &= rest - 1)
	{
		*total = pg_rightmost_one_pos64(rest);
		if (sums.micros[*total] > usage_get(usage, *total))
			return sums.last[*total];
	}
	return -1;
}

/*
 * usage_check_parts
 *		Raises XQ201 if the parts of a total are more than the total.
 */
void
usage_check_parts(const Usage *usage)
{
	int total;
	int part = find_excess(usage, &total);

	if (part >= 0)
		usage_fail(measures[part].name,
				   psprintf("The parts of %s are more than the whole.", measures[total].name),
				   "A total includes all its parts: cached, cache-written, audio, image and video "
				   "tokens of the input; reasoning, audio, image and video tokens of the output.");
}

/*
 * usage_parts_fit
 *		Whether no parts are more than their total.
 */
bool
usage_parts_fit(const Usage *usage)
{
	int total;

	return find_excess(usage, &total) < 0;
}

/*
 * usage_without_text
 *		Returns the request as it is kept: a text is not kept, but how long it was. usage is
 *		what was read of it.
 */
Jsonb *
usage_without_text(Jsonb *request, const Usage *usage)
{
	JsonbParseState *state = NULL;
	JsonbValue key;
	JsonbValue bytes;
	Datum without;

	if (!usage_has(usage, MEASURE_INPUT_BYTES) ||
		getKeyJsonValueFromContainer(&request->root, INPUT_TEXT, strlen(INPUT_TEXT), NULL) == NULL)
		return request;
	key.type = jbvString;
	key.val.string.val = unconstify(char *, measures[MEASURE_INPUT_BYTES].name);
	key.val.string.len = (int) strlen(key.val.string.val);
	bytes.type = jbvNumeric;
	bytes.val.numeric = int64_to_numeric(usage_get(usage, MEASURE_INPUT_BYTES) / QUANTITY_ONE);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &bytes);
	without =
		DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(request), CStringGetTextDatum(INPUT_TEXT));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, without,
											  JsonbPGetDatum(JsonbValueToJsonb(
												  pushJsonbValue(&state, WJB_END_OBJECT, NULL)))));
}

/*
 * usage_input_bytes
 *		Returns how many bytes of text a request says that it has; -1 if it says nothing.
 */
int64
usage_input_bytes(Jsonb *request)
{
	const char *name = measures[MEASURE_INPUT_BYTES].name;
	JsonbValue *value =
		getKeyJsonValueFromContainer(&request->root, name, (int) strlen(name), NULL);

	if (value == NULL || value->type == jbvNull)
		return -1;
	return usage_read_quantity(name, true, value) / QUANTITY_ONE;
}
