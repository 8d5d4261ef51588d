/*
 * price_read.c
 *		Reads one entry of the community price map.
 *
 * Everything in the entry that is or may be a price ends up in the model: as a
 * price, as a factor, or among what was skipped, with the reason. A price that is
 * malformed makes the whole entry unusable: a card without it would be too cheap.
 */
#include "cost/price_map.h"

#include "utils/builtins.h"

/*
 * price_skip
 *		Notes that a key did not become a part of a card.
 */
void
price_skip(MapModel *model, const char *key, const char *reason)
{
	MapSkipped *skipped = palloc(sizeof(MapSkipped));

	skipped->key = key;
	skipped->reason = reason;
	model->skipped = lappend(model->skipped, skipped);
}

static inline JsonbContainer *
value_container(const JsonbValue *value, bool array)
{
	if (value == NULL || value->type != jbvBinary ||
		(array ? !JsonContainerIsArray(value->val.binary.data)
			   : !JsonContainerIsObject(value->val.binary.data)))
		return NULL;
	return value->val.binary.data;
}

/*
 * read_number
 *		Reads a price or factor; notes why if it is none that can be represented.
 */
static bool
read_number(MapModel *model, const char *key, const JsonbValue *value, int128 *number)
{
	DecimalStatus status = DECIMAL_MALFORMED;

	if (value->type == jbvNumeric)
		status = decimal_from_numeric(value->val.numeric, PRICE_SCALE, number);
	else if (value->type == jbvString)
		status =
			decimal_from_text(value->val.string.val, value->val.string.len, PRICE_SCALE, number);
	if (status == DECIMAL_OK && *number >= 0 &&
		*number < decimal_power_of_ten(PRICE_SCALE) * PRICE_MAX_USD)
		return true;
	model->unusable = true;
	if (status == DECIMAL_MALFORMED)
		price_skip(model, key, "malformed: not a number");
	else if (status == DECIMAL_INEXACT)
		price_skip(model, key, "malformed: more than 24 decimals");
	else
		price_skip(model, key, "malformed: negative or too large");
	return false;
}

/*
 * add_price
 *		Adds a price to the model and returns it for its conditions; NULL if the value
 *		is malformed.
 */
static MapPrice *
add_price(MapModel *model, List **list, const char *name, const PriceKey *key,
		  const JsonbValue *value)
{
	int128 number;
	MapPrice *price;

	if (!read_number(model, name, value, &number))
		return NULL;
	price = palloc0(sizeof(MapPrice));
	price->key = *key;
	price->price = number / key->per;
	price->above_results = -1;
	if (number % key->per != 0)
	{
		model->unusable = true;
		price_skip(model, name, "malformed: more than 24 decimals");
		return NULL;
	}
	*list = lappend(*list, price);
	return price;
}

/*
 * read_search_context
 *		Reads {"search_context_size_low": 0.01, ...}.
 */
static void
read_search_context(MapModel *model, const char *name, const PriceKey *key, const JsonbValue *value)
{
	static const char prefix[] = "search_context_size_";
	JsonbContainer *object = value_container(value, false);
	JsonbIterator *iterator;
	JsonbValue item_key;
	JsonbValue item;

	if (object == NULL)
	{
		price_skip(model, name, "malformed: not an object");
		model->unusable = true;
		return;
	}
	iterator = JsonbIteratorInit(object);
	JsonbIteratorNext(&iterator, &item_key, true);
	while (JsonbIteratorNext(&iterator, &item_key, true) == WJB_KEY)
	{
		char *size = pnstrdup(item_key.val.string.val, item_key.val.string.len);
		char *path = psprintf("%s.%s", name, size);
		MapPrice *price;

		JsonbIteratorNext(&iterator, &item, true);
		if (strncmp(size, prefix, sizeof(prefix) - 1) != 0)
		{
			price_skip(model, path, "unknown");
			continue;
		}
		price = add_price(model, &model->prices, path, key, &item);
		if (price != NULL)
			price->search_context = size + sizeof(prefix) - 1;
	}
}

/*
 * read_range
 *		Reads where a range starts: the bound that must be exceeded. Ranges of tokens
 *		exclude their start, those of results include it.
 */
static bool
read_range(JsonbContainer *tier, const char *name, bool inclusive, int64 *above)
{
	JsonbContainer *range =
		value_container(getKeyJsonValueFromContainer(tier, name, strlen(name), NULL), true);
	JsonbValue *start = range == NULL ? NULL : getIthJsonbValueFromContainer(range, 0);
	int128 number;

	if (start == NULL || start->type != jbvNumeric ||
		decimal_from_numeric(start->val.numeric, 0, &number) != DECIMAL_OK || number < 0 ||
		number > INT64CONST(1000000000))
		return false;
	*above = (int64) number - (inclusive ? 1 : 0);
	return true;
}

/*
 * read_tier
 *		Reads one element of "tiered_pricing". The first range has no lower bound.
 */
static void
read_tier(MapModel *model, JsonbContainer *tier, bool first)
{
	JsonbIterator *iterator = JsonbIteratorInit(tier);
	JsonbValue name;
	JsonbValue value;
	int64 tokens = -1;
	int64 results = -1;

	if (!read_range(tier, "range", false, &tokens) &&
		!read_range(tier, "max_results_range", true, &results))
	{
		price_skip(model, "tiered_pricing", "malformed: a tier has no range");
		model->unusable = true;
		return;
	}
	JsonbIteratorNext(&iterator, &name, true);
	while (JsonbIteratorNext(&iterator, &name, true) == WJB_KEY)
	{
		PriceKey key = price_key_parse(name.val.string.val, name.val.string.len);
		char *path =
			psprintf("tiered_pricing.%s", pnstrdup(name.val.string.val, name.val.string.len));
		MapPrice *price;

		JsonbIteratorNext(&iterator, &value, true);
		if (key.kind == PRICE_NONE)
			continue;
		if (key.kind != PRICE_METER)
		{
			price_skip(model, path, "unknown");
			continue;
		}
		price = add_price(model, &model->prices, path, &key, &value);
		if (price == NULL || first)
			continue;
		price->key.above_tokens = tokens;
		price->above_results = results;
	}
}

/*
 * read_tiers
 *		Reads "tiered_pricing".
 */
static void
read_tiers(MapModel *model, const JsonbValue *value)
{
	JsonbContainer *list = value_container(value, true);

	if (list == NULL || JsonContainerSize(list) == 0)
	{
		price_skip(model, "tiered_pricing", "malformed: not a list");
		model->unusable = true;
		return;
	}
	for (uint32 i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbContainer *tier = value_container(getIthJsonbValueFromContainer(list, i), false);

		if (tier == NULL)
		{
			price_skip(model, "tiered_pricing", "malformed: a tier is no object");
			model->unusable = true;
			return;
		}
		read_tier(model, tier, i == 0);
	}
}

/*
 * read_provider_factors
 *		Reads {"us": 1.1, "fast": 6}: what is no number is no price.
 */
static void
read_provider_factors(MapModel *model, const char *name, const PriceKey *key,
					  const JsonbValue *value)
{
	JsonbContainer *object = value_container(value, false);
	JsonbIterator *iterator;
	JsonbValue item_key;
	JsonbValue item;

	if (object == NULL)
		return;
	iterator = JsonbIteratorInit(object);
	JsonbIteratorNext(&iterator, &item_key, true);
	while (JsonbIteratorNext(&iterator, &item_key, true) == WJB_KEY)
	{
		char *variant = pnstrdup(item_key.val.string.val, item_key.val.string.len);
		MapPrice *factor;

		JsonbIteratorNext(&iterator, &item, true);
		if (item.type != jbvNumeric)
			continue;
		factor = add_price(model, &model->factors, psprintf("%s.%s", name, variant), key, &item);
		if (factor != NULL)
			strlcpy(factor->key.variant, variant, sizeof(factor->key.variant));
	}
}

/*
 * read_key
 *		Reads one key of an entry.
 */
static void
read_key(MapModel *model, const char *name, const JsonbValue *value)
{
	PriceKey key = price_key_parse(name, strlen(name));

	switch (key.kind)
	{
		case PRICE_NONE:
			break;
		case PRICE_UNKNOWN:
			price_skip(model, name, "unknown");
			break;
		case PRICE_NOT_USD:
			price_skip(model, name, "no price in US dollars");
			break;
		case PRICE_SEARCH_CONTEXT:
			read_search_context(model, name, &key, value);
			break;
		case PRICE_TIERED:
			read_tiers(model, value);
			break;
		case PRICE_PROVIDER:
			read_provider_factors(model, name, &key, value);
			break;
		case PRICE_UPLIFT:
			add_price(model, &model->factors, name, &key, value);
			break;
		default:
			add_price(model, &model->prices, name, &key, value);
			break;
	}
}

/*
 * read_text
 *		Returns the text under a key, '' if there is none.
 */
static const char *
read_text(JsonbContainer *entry, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(entry, key, strlen(key), NULL);

	if (value == NULL || value->type != jbvString)
		return "";
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * read_maximum
 *		Returns a number of tokens, -1 if there is none. The map writes some as
 *		2000000.0.
 */
static int64
read_maximum(MapModel *model, JsonbContainer *entry, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(entry, key, strlen(key), NULL);
	int128 number;

	if (value == NULL || value->type == jbvNull)
		return -1;
	if (value->type != jbvNumeric ||
		decimal_from_numeric(value->val.numeric, 0, &number) != DECIMAL_OK || number < 0 ||
		number > INT64CONST(1000000000))
	{
		price_skip(model, key, "malformed: no number of tokens");
		return -1;
	}
	return number == 0 ? -1 : (int64) number;
}

/*
 * price_read_model
 *		Reads one entry of the map.
 */
MapModel *
price_read_model(const char *name, JsonbContainer *entry)
{
	MapModel *model = palloc0(sizeof(MapModel));
	JsonbIterator *iterator = JsonbIteratorInit(entry);
	JsonbValue key;
	JsonbValue value;

	model->name = name;
	model->mode = read_text(entry, "mode");
	model->provider = read_text(entry, "litellm_provider");
	model->search_per_query = strcmp(read_text(entry, "web_search_billing_unit"), "per_query") == 0;
	model->max_input_tokens = read_maximum(model, entry, "max_input_tokens");
	model->max_output_tokens = read_maximum(model, entry, "max_output_tokens");
	if (model->max_output_tokens < 0)
		model->max_output_tokens = read_maximum(model, entry, "max_tokens");
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		read_key(model, pnstrdup(key.val.string.val, key.val.string.len), &value);
	}
	return model;
}
