/*
 * price_map.c
 *		Turns the community price map into rate cards:
 *		quota._price_map_cards(document), which quota.import_prices() stores.
 *
 * Some entries spell a size, a quality or a number of steps in their key:
 * 'hd/1024-x-1024/dall-e-3', '512-x-512/50-steps/stability.stable-diffusion-xl-v0'.
 * Such an entry becomes a card of its own under its literal name, and also lines
 * with conditions in the card of the model it speaks of, so that a request to
 * 'dall-e-3' with a size finds its price. Prices per pixel become prices per image
 * there. If the map has no entry for that model itself, it gets a card of such lines.
 */
#include "cost/price_map.h"

#include <ctype.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "cost/cache.h"
#include "types/json_writer.h"

PG_FUNCTION_INFO_V1(quota_price_map_cards);

/* What a key says besides the name of the model. */
typedef struct SizedName
{
	char *base; /* the name of the model */
	char *size; /* NULL: any */
	char *quality;
	char *steps;
	int64 pixels; /* of size; 0: not known */
} SizedName;

typedef struct NamedModel
{
	char name[MODEL_SIZE]; /* MUST BE FIRST */
	MapModel *model;
} NamedModel;

/*
 * parse_size
 *		Reads '1024-x-1024' or 'max-x-max'; returns false if the text is no size.
 */
static bool
parse_size(const char *text, SizedName *sized)
{
	int width;
	int height;
	int end = 0;

	if (strcmp(text, "max-x-max") == 0)
		return true;
	if (!isdigit((unsigned char) text[0]) || strlen(text) > 16 ||
		sscanf(text, "%d-x-%d%n", &width, &height, &end) != 2 || text[end] != '\0' || width <= 0 ||
		height <= 0)
		return false;
	sized->size = psprintf("%dx%d", width, height);
	sized->pixels = (int64) width * height;
	return true;
}

/*
 * parse_sized_name
 *		Takes the name of an entry apart; returns false if it spells no size.
 */
static bool
parse_sized_name(const char *name, SizedName *sized)
{
	static const char *const qualities[] = {"hd", "standard", "low", "medium", "high", "auto"};
	StringInfoData base;
	char *copy = pstrdup(name);
	char *rest = copy;
	char *segment;
	bool has_size = false;

	memset(sized, 0, sizeof(SizedName));
	initStringInfo(&base);
	while ((segment = strsep(&rest, "/")) != NULL)
	{
		char *steps = strstr(segment, "-steps");
		bool taken = false;

		if (!has_size && parse_size(segment, sized))
			taken = has_size = true;
		else if (has_size && steps != NULL && steps[strlen("-steps")] == '\0')
		{
			taken = true;
			sized->steps = pnstrdup(segment, steps - segment);
		}
		for (int i = 0; i < (int) lengthof(qualities) && !has_size && !taken; i++)
		{
			if (strcmp(segment, qualities[i]) == 0)
			{
				taken = true;
				sized->quality = segment;
			}
		}
		if (!taken)
			appendStringInfo(&base, "%s%s", base.len > 0 ? "/" : "", segment);
	}
	sized->base = base.data;

	/* Many steps are the case for everything that is not stated. */
	if (sized->steps != NULL && strcmp(sized->steps, "max") == 0)
		sized->steps = NULL;
	return has_size && base.len > 0;
}

/*
 * find_or_add
 *		Returns the model of a name, a new one if there is none yet.
 */
static NamedModel *
find_or_add(HTAB *models, const char *name, bool *found)
{
	return hash_search(models, name, HASH_ENTER, found);
}

/*
 * add_sized_prices
 *		Adds the prices per image or pixel of a sized entry to the model it speaks of.
 */
static void
add_sized_prices(const MapModel *entry, const SizedName *sized, MapModel *model)
{
	MapPrice *image = NULL;
	int128 per_pixel = 0;
	bool has_pixel = false;
	ListCell *cell;

	foreach (cell, entry->prices)
	{
		MapPrice *price = lfirst(cell);

		if (price->key.kind == PRICE_IMAGE_OUT ||
			(price->key.kind == PRICE_IMAGE_IN && image == NULL))
			image = price;
		else if (price->key.kind == PRICE_PIXEL_IN || price->key.kind == PRICE_PIXEL_OUT)
		{
			per_pixel += price->price;
			has_pixel = true;
		}
	}
	if (image == NULL && (!has_pixel || sized->pixels == 0))
		return;

	MapPrice *price = palloc0(sizeof(MapPrice));

	price->key = (PriceKey){.kind = PRICE_METER, .per = 1, .above_tokens = -1, .above_seconds = -1};
	price->above_results = -1;
	price->size = sized->size;
	price->quality = sized->quality;
	price->steps = sized->steps;
	if (image != NULL)
		price->price = image->price;
	else if (__builtin_mul_overflow(per_pixel, (int128) sized->pixels, &price->price) ||
			 price->price >= decimal_power_of_ten(PRICE_SCALE) * PRICE_MAX_USD)
		return;
	model->sized = lappend(model->sized, price);
}

/*
 * read_entries
 *		Reads all entries into a list of models, and into models by name. Entries that
 *		are no models are among the list too, with the reason.
 */
static List *
read_entries(Jsonb *document, HTAB *models)
{
	List *list = NIL;
	JsonbIterator *iterator = JsonbIteratorInit(&document->root);
	JsonbValue key;
	JsonbValue value;

	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		char *name = pnstrdup(key.val.string.val, key.val.string.len);
		bool is_object;
		MapModel *model;
		bool found;

		CHECK_FOR_INTERRUPTS();
		JsonbIteratorNext(&iterator, &value, true);
		is_object = value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data);
		if (is_object && strcmp(name, "sample_spec") != 0 &&
			strcmp(name, "fallback_generalizations") != 0 && *name != '\0' &&
			strlen(name) < MODEL_SIZE)
		{
			model = price_read_model(name, value.val.binary.data);
			find_or_add(models, name, &found)->model = model;
		}
		else
		{
			model = palloc0(sizeof(MapModel));
			model->name = name;
			model->unusable = true;
			price_skip(model, "*",
					   strlen(name) < MODEL_SIZE ? "no model" : "a name of more than 255 bytes");
		}
		list = lappend(list, model);
	}
	return list;
}

/*
 * fold_sized
 *		Gives the prices of sized entries to the models they speak of; appends models
 *		that only they speak of.
 */
static List *
fold_sized(List *list, HTAB *models)
{
	List *added = NIL;
	ListCell *cell;

	foreach (cell, list)
	{
		MapModel *entry = lfirst(cell);
		SizedName sized;
		NamedModel *named;
		bool found;

		if (entry->unusable || !parse_sized_name(entry->name, &sized))
			continue;
		entry->pixels = sized.pixels;
		named = find_or_add(models, sized.base, &found);
		if (!found)
		{
			named->model = palloc0(sizeof(MapModel));
			named->model->name = sized.base;
			named->model->mode = entry->mode;
			named->model->provider = entry->provider;
			named->model->max_input_tokens = -1;
			named->model->max_output_tokens = -1;
			added = lappend(added, named->model);
		}
		add_sized_prices(entry, &sized, named->model);
	}
	return list_concat(list, added);
}

/*
 * skipped_json
 *		Returns what was skipped, as {"key": "reason", ...}.
 */
static Jsonb *
skipped_json(const MapModel *model)
{
	JsonWriter writer = {NULL, NULL};
	ListCell *cell;

	json_begin_object(&writer, NULL);
	foreach (cell, model->skipped)
	{
		const MapSkipped *skipped = lfirst(cell);

		json_text(&writer, skipped->key, skipped->reason);
	}
	json_end_object(&writer);
	return json_finish(&writer);
}

/*
 * quota_price_map_cards
 *		quota._price_map_cards(document): one row for each entry of the map and each
 *		model that only sized entries speak of: its name, its card (null: none), the
 *		number of lines, and what is not in the card with the reason.
 */
Datum
quota_price_map_cards(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb *document = PG_GETARG_JSONB_P(0);
	HASHCTL control = {.keysize = MODEL_SIZE,
					   .entrysize = sizeof(NamedModel),
					   .hcxt = CurrentMemoryContext};
	HTAB *models;
	List *list;
	ListCell *cell;

	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a price map is a JSON object of models")));
	InitMaterializedSRF(fcinfo, 0);
	models = hash_create("xavier_quota price map", 4096, &control,
						 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	list = fold_sized(read_entries(document, models), models);
	foreach (cell, list)
	{
		MapModel *model = lfirst(cell);
		Datum values[4];
		bool nulls[4] = {false};
		int line_count;
		Jsonb *card;

		CHECK_FOR_INTERRUPTS();
		card = price_card_make(model, &line_count);
		values[0] = CStringGetTextDatum(model->name);
		values[1] = JsonbPGetDatum(card);
		nulls[1] = card == NULL;
		values[2] = Int32GetDatum(line_count);
		values[3] = JsonbPGetDatum(skipped_json(model));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
