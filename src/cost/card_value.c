/*
 * card_value.c
 *		The single values of a rate card: decimals, prices, quantities, meters.
 */
#include "cost/card_internal.h"

#include "errors.h"

/*
 * card_fail
 *		Raises the error of a card; detail is a full sentence.
 */
void
card_fail(const CardPlace *place, const char *key, const char *detail)
{
	if (place->list != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_QUOTA_INVALID_RATE_CARD),
				 errmsg("invalid rate card: %s %d, key \"%s\"", place->list, place->number, key),
				 errdetail_internal("%s", detail)));
	ereport(ERROR,
			(errcode(ERRCODE_QUOTA_INVALID_RATE_CARD), errmsg("invalid rate card: key \"%s\"", key),
			 errdetail_internal("%s", detail)));
}

/*
 * card_key_name
 *		Returns a key for use in an error, cut if it is long.
 */
char *
card_key_name(const JsonbValue *key)
{
	return usage_clip(key->val.string.val, key->val.string.len);
}

/*
 * card_read_decimal
 *		Reads a decimal that is not negative, a JSON number or a string.
 */
int128
card_read_decimal(const CardPlace *place, const char *key, const JsonbValue *value, int scale)
{
	int128 decimal = 0;
	DecimalStatus status = DECIMAL_MALFORMED;

	if (value->type == jbvNumeric)
		status = decimal_from_numeric(value->val.numeric, scale, &decimal);
	else if (value->type == jbvString)
		status = decimal_from_text(value->val.string.val, value->val.string.len, scale, &decimal);
	if (status == DECIMAL_MALFORMED)
		card_fail(place, key, "The value is not a decimal number.");
	if (status == DECIMAL_INEXACT)
		card_fail(place, key, psprintf("The value has more than %d decimals.", scale));
	if (status == DECIMAL_OVERFLOW ||
		decimal / decimal_power_of_ten(scale) >= QUANTITY_MAX_MICROS / QUANTITY_ONE)
		card_fail(place, key, "The value is not below 1000000000000.");
	if (decimal < 0)
		card_fail(place, key, "The value is negative.");
	return decimal;
}

int128
card_read_price(const CardPlace *place, const char *key, const JsonbValue *value)
{
	int128 price = card_read_decimal(place, key, value, PRICE_SCALE);

	if (price >= decimal_power_of_ten(PRICE_SCALE) * PRICE_MAX_USD)
		card_fail(place, key, psprintf("The price is not below %d dollars.", PRICE_MAX_USD));
	return price;
}

int64
card_read_quantity(const CardPlace *place, const char *key, const JsonbValue *value)
{
	return (int64) card_read_decimal(place, key, value, QUANTITY_SCALE);
}

/*
 * card_read_meter
 *		Reads the name of a meter.
 */
Measure
card_read_meter(const CardPlace *place, const char *key, const JsonbValue *value)
{
	if (value->type == jbvString)
	{
		Word word = vocabulary_find(value->val.string.val, value->val.string.len);

		if (word.kind == WORD_MEASURE && (measures[word.index].flags & MEASURE_IS_METER))
			return (Measure) word.index;
		card_fail(place, key,
				  psprintf("\"%s\" is no meter; docs/cost.md lists them.", card_key_name(value)));
	}
	card_fail(place, key, "A meter is a string.");
}
