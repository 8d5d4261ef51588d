/*
 * provider.c
 *		Reads the usage objects of the large providers unchanged.
 *
 * What each shape of object says is a table (provider_shapes.c). The numbers are
 * collected first and put together at the end, when it is known which of them are
 * inside of which: statements of one quantity must agree, and a total of input and
 * output, where there is one, tells whether reasoning is inside the output.
 *
 * Providers add keys to their objects at any time, so an unknown one is noted among
 * the assumptions and is no error.
 */
#include "cost/provider.h"

#include "cost/decimal.h"

#define MAX_DEPTH 4

/* What Vertex AI puts before the service tier. */
#define TRAFFIC_PREFIX "ON_DEMAND_"

/* A number that the object states, in millionths. */
typedef struct Statement
{
	const char *path; /* NULL: not stated */
	int64 micros;
} Statement;

typedef struct ProviderReader
{
	const ProviderPath *paths;
	Statement stated[PROVIDER_COUNT];
	int64 added[MEASURE_COUNT]; /* to totals */
	Usage *usage;
	Assumptions *assumptions;
} ProviderReader;

static const ProviderPath *
path_find(const ProviderPath *paths, const char *path)
{
	for (; paths->path != NULL; paths++)
	{
		if (strcmp(paths->path, path) == 0)
			return paths;
	}
	return NULL;
}

/*
 * add_quantity
 *		Adds to a quantity. Sums of quantities below 10^12 do not overflow.
 */
static void
add_quantity(int64 *quantity, int64 micros, const char *path)
{
	*quantity += micros;
	if (*quantity > QUANTITY_MAX_MICROS)
		usage_fail(path, "The quantity is larger than 1000000000000.", NULL);
}

/*
 * state
 *		Notes what a path states. Elements of one list add up; different paths must
 *		agree.
 */
static void
state(ProviderReader *reader, int subject, const char *path, int64 micros)
{
	Statement *statement = &reader->stated[subject];

	if (statement->path != NULL && strcmp(statement->path, path) != 0)
	{
		if (statement->micros != micros)
			usage_fail(path, psprintf("It is not the same as %s.", statement->path), NULL);
		return;
	}
	statement->path = path;
	add_quantity(&statement->micros, micros, path);
}

static bool
is_stated(const ProviderReader *reader, int subject)
{
	return reader->stated[subject].path != NULL;
}

/*
 * read_service_tier
 *		Takes the service tier under one of its other names.
 */
static void
read_service_tier(ProviderReader *reader, JsonbValue value)
{
	int prefix = strlen(TRAFFIC_PREFIX);

	if (value.type == jbvString && value.val.string.len > prefix &&
		memcmp(value.val.string.val, TRAFFIC_PREFIX, prefix) == 0)
	{
		value.val.string.val += prefix;
		value.val.string.len -= prefix;
	}
	usage_read_parameter(reader->usage, PARAMETER_SERVICE_TIER, &value);
}

/*
 * read_leaf
 *		Takes one value of the object.
 */
static void
read_leaf(ProviderReader *reader, const char *path, const JsonbValue *value)
{
	const ProviderPath *known = path_find(reader->paths, path);
	Word word;

	if (value->type == jbvNull)
		return;
	if (known != NULL && known->states == PROVIDER_SERVICE_TIER)
		read_service_tier(reader, *value);
	else if (known != NULL && (known->states >= 0 || known->total >= 0))
	{
		bool whole = known->states < 0 || known->states >= MEASURE_COUNT ||
					 (measures[known->states].flags & MEASURE_IS_WHOLE) != 0;
		int64 micros = usage_read_quantity(path, whole, value);

		if (known->states >= 0)
			state(reader, known->states, path, micros);
		if (known->total >= 0)
			add_quantity(&reader->added[known->total], micros, path);
	}
	if (known != NULL)
		return;

	word = vocabulary_find(path, strlen(path));
	if (word.kind == WORD_PARAMETER)
		usage_read_parameter(reader->usage, word.index, value);
	else if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_KEY))
		state(reader, word.index, path,
			  usage_read_quantity(path, (measures[word.index].flags & MEASURE_IS_WHOLE) != 0,
								  value));
	else if (word.kind == WORD_UNKNOWN || word.kind == WORD_TEXT)
		usage_assume(reader->assumptions, psprintf("%s: unknown, ignored", path));
}

/*
 * read_labelled
 *		Reads lists such as Gemini's [{"modality": "AUDIO", "tokenCount": 12}, ...] and
 *		Bedrock's [{"ttl": "1h", "inputTokens": 12}, ...]: the label becomes a part of
 *		the path.
 */
static void
read_labelled(ProviderReader *reader, const char *prefix, JsonbContainer *list)
{
	static const struct
	{
		const char *label;
		const char *count;
	} forms[] = {{"modality", "tokenCount"}, {"ttl", "inputTokens"}};
	bool found = JsonContainerSize(list) == 0;

	for (uint32 i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(list, i);

		if (item->type != jbvBinary || !JsonContainerIsObject(item->val.binary.data))
			continue;
		for (int j = 0; j < (int) lengthof(forms); j++)
		{
			JsonbContainer *object = item->val.binary.data;
			JsonbValue *label =
				getKeyJsonValueFromContainer(object, forms[j].label, strlen(forms[j].label), NULL);
			JsonbValue *count =
				getKeyJsonValueFromContainer(object, forms[j].count, strlen(forms[j].count), NULL);

			if (label == NULL || label->type != jbvString || count == NULL)
				continue;
			found = true;
			read_leaf(reader,
					  psprintf("%s.%s", prefix,
							   usage_clip(label->val.string.val, label->val.string.len)),
					  count);
		}
	}
	if (!found)
		usage_assume(reader->assumptions, psprintf("%s: unknown, ignored", prefix));
}

/*
 * read_object
 *		Takes every value of an object, however deep.
 */
static void
read_object(ProviderReader *reader, const char *prefix, JsonbContainer *container, int depth)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbValue key;
	JsonbValue value;

	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		char *path = psprintf("%s%s%s", prefix, *prefix != '\0' ? "." : "",
							  usage_clip(key.val.string.val, key.val.string.len));

		JsonbIteratorNext(&iterator, &value, true);
		if (depth == 0 && strcmp(path, "metadata") == 0)
			continue;
		if (value.type != jbvBinary)
			read_leaf(reader, path, &value);
		else if (JsonContainerIsArray(value.val.binary.data))
			read_labelled(reader, path, value.val.binary.data);
		else if (depth < MAX_DEPTH)
			read_object(reader, path, value.val.binary.data, depth + 1);
		else
			usage_assume(reader->assumptions, psprintf("%s: unknown, ignored", path));
	}
}

/*
 * complete_cache_writes
 *		What is written to a cache is one number, of which there may be a breakdown by
 *		time to live. Without one it is for five minutes.
 */
static void
complete_cache_writes(ProviderReader *reader)
{
	bool beside = is_stated(reader, PROVIDER_WRITTEN_BESIDE);
	Statement *written = &reader->stated[beside ? PROVIDER_WRITTEN_BESIDE : PROVIDER_WRITTEN];
	Statement *minutes = &reader->stated[MEASURE_CACHE_WRITE_TOKENS];
	Statement *hour = &reader->stated[MEASURE_CACHE_WRITE_1H_TOKENS];

	if (written->path == NULL)
	{
		/* A breakdown alone: it is beside the input where the number would be. */
		if (path_find(reader->paths, "cache_creation.ephemeral_1h_input_tokens") != NULL ||
			path_find(reader->paths, "cacheDetails.1h") != NULL)
			add_quantity(&reader->added[MEASURE_INPUT_TOKENS], minutes->micros + hour->micros,
						 "input_tokens");
		return;
	}
	if (minutes->path == NULL)
	{
		minutes->path = written->path;
		minutes->micros = written->micros - hour->micros;
	}
	if (minutes->micros < 0 || minutes->micros + hour->micros != written->micros)
		usage_fail(written->path, "It is not the sum of what was written for each time to live.",
				   NULL);
	if (beside)
		add_quantity(&reader->added[MEASURE_INPUT_TOKENS], written->micros, written->path);
}

/*
 * complete_reasoning
 *		Reasoning is inside the output or beside it: a total of the object tells, or else
 *		its shape, or else the model's card or the object's own word. What the shape has
 *		beside is in the output already.
 */
static void
complete_reasoning(ProviderReader *reader, bool reasoning_is_additional)
{
	Usage *usage = reader->usage;
	const Statement *total = &reader->stated[PROVIDER_TOTAL];
	int64 reasoning = usage_get(usage, MEASURE_REASONING_TOKENS);
	int64 sum = usage_get(usage, MEASURE_INPUT_TOKENS) + usage_get(usage, MEASURE_OUTPUT_TOKENS);
	int64 output = reader->stated[MEASURE_OUTPUT_TOKENS].micros;
	int64 plain = reader->stated[MEASURE_INPUT_TOKENS].micros + output;
	int64 beside = reader->added[MEASURE_OUTPUT_TOKENS];
	bool additional = reasoning_is_additional && beside == 0;

	if (total->path != NULL)
	{
		char stated[DECIMAL_TEXT_SIZE];

		if (beside > 0 && beside <= output && total->micros == sum - beside)
		{
			usage_set(usage, MEASURE_OUTPUT_TOKENS, output);
			usage_assume(reader->assumptions,
						 psprintf("reasoning_tokens: inside the output, as %s says", total->path));
		}
		else if (total->micros == sum || total->micros == plain)
			additional = false;
		else if (beside == 0 && total->micros == sum + reasoning)
			additional = true;
		else
		{
			decimal_to_cstring(total->micros, QUANTITY_SCALE, stated);
			usage_assume(reader->assumptions,
						 psprintf("%s: %s, not the sum of input and output", total->path, stated));
		}
	}
	if (additional && reasoning > 0)
	{
		usage_set(usage, MEASURE_OUTPUT_TOKENS, usage_get(usage, MEASURE_OUTPUT_TOKENS));
		add_quantity(&usage->micros[MEASURE_OUTPUT_TOKENS], reasoning, "output_tokens");
		if (!reasoning_is_additional)
			usage_assume(reader->assumptions,
						 psprintf("reasoning_tokens: beside the output, as %s says", total->path));
	}
}

/*
 * provider_read
 *		Fills usage from the usage object of a provider. reasoning_is_additional: the
 *		provider of this model counts reasoning tokens outside of the output tokens.
 *		Raises XQ201 if the document is no such object, or contradicts itself.
 */
void
provider_read(Jsonb *document, bool reasoning_is_additional, Usage *usage, Assumptions *assumptions)
{
	ProviderReader reader = {
		.paths = provider_find_shape(document),
		.usage = usage,
		.assumptions = assumptions,
	};

	usage->given = 0;
	usage->given_parameters = 0;
	if (reader.paths == NULL)
	{
		/* Neither vocabulary nor provider: name the first unknown key. */
		usage_read(document, false, usage);
		return;
	}
	read_object(&reader, "", &document->root, 0);
	complete_cache_writes(&reader);
	for (int i = 0; i < MEASURE_COUNT; i++)
	{
		int64 micros = reader.stated[i].micros;

		if (reader.stated[i].path == NULL && reader.added[i] == 0)
			continue;
		add_quantity(&micros, reader.added[i], measures[i].name);
		usage_set(usage, i, micros);
	}
	complete_reasoning(&reader, reasoning_is_additional || usage_reasoning_is_additional(usage));
	usage_infer_overlaps(usage, assumptions);
}
