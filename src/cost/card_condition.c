/*
 * card_condition.c
 *		The conditions of a line or multiplier: "when" and "above".
 *
 * "when" holds if every parameter has one of the texts given for it, every measure
 * one of the numbers, and everything given as null is absent from the request.
 * "above" holds if every measure in it is strictly more than its bound.
 */
#include "cost/card_internal.h"

#include "utils/builtins.h"

/*
 * read_condition_value
 *		Adds one value that a condition accepts: a number of a measure, a text of a
 *		parameter, or null for "not given".
 */
static void
read_condition_value(const CardPlace *place, const char *key, PlanCondition *condition,
					 const JsonbValue *value)
{
	bool of_measure = condition->kind == CONDITION_NUMBER;

	if (condition->count == PLAN_MAX_VALUES)
		card_fail(place, key, psprintf("A condition has at most %d values.", PLAN_MAX_VALUES));
	if (of_measure)
	{
		condition->numbers[condition->count++] = card_read_quantity(place, key, value);
		return;
	}

	UsageText text;
	UsageText *normal = &condition->texts[condition->count++];

	if (value->type == jbvString)
		text = (UsageText){value->val.string.val, value->val.string.len};
	else if (value->type == jbvBool)
		text = (UsageText){value->val.boolean ? "true" : "false", value->val.boolean ? 4 : 5};
	else if (value->type == jbvNumeric)
	{
		text.text =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		text.length = (int) strlen(text.text);
	}
	else
		card_fail(place, key,
				  "A condition is a text, a number, a boolean, null, or a list of "
				  "texts, numbers and booleans.");
	normal->text = palloc(NORMAL_SIZE);
	normal->length = vocabulary_normalize(text.text, text.length, (char *) normal->text);
	if (normal->length <= 0)
		card_fail(place, key, "The text has no letters and digits, or more than 64.");
}

/*
 * read_condition
 *		Reads one key of "when".
 */
static PlanCondition
read_condition(const CardPlace *place, const char *key, Word word, JsonbValue *value)
{
	bool of_measure = word.kind == WORD_MEASURE;
	PlanCondition condition = {.kind = of_measure ? CONDITION_NUMBER : CONDITION_TEXT,
							   .subject = word.index};
	JsonbContainer *list = card_value_array(value);
	int count = list != NULL ? (int) JsonContainerSize(list) : 1;

	if (value->type == jbvNull)
	{
		condition.kind = of_measure ? CONDITION_ABSENT : CONDITION_ABSENT_PARAMETER;
		return condition;
	}
	if (count == 0)
		card_fail(place, key, "The list is empty.");
	count = Min(count, PLAN_MAX_VALUES);
	if (of_measure)
		condition.numbers = palloc(sizeof(int64) * count);
	else
		condition.texts = palloc(sizeof(UsageText) * count);
	if (list == NULL)
		read_condition_value(place, key, &condition, value);
	else
	{
		for (int i = 0; i < (int) JsonContainerSize(list); i++)
			read_condition_value(place, key, &condition, getIthJsonbValueFromContainer(list, i));
	}
	return condition;
}

/*
 * card_read_conditions
 *		Appends the conditions of "when" (above = false) or "above".
 */
void
card_read_conditions(const CardPlace *place, const JsonbValue *value, bool above,
					 PlanConditions *conditions)
{
	const char *list = above ? "above" : "when";
	JsonbContainer *object = card_value_object(value);
	JsonbIterator *iterator;
	JsonbValue key;
	JsonbValue item;

	if (object == NULL)
		card_fail(place, list, "The value is not an object.");
	conditions->items =
		conditions->items == NULL
			? palloc(sizeof(PlanCondition) * (JsonContainerSize(object) + 1))
			: repalloc(conditions->items,
					   sizeof(PlanCondition) * (conditions->count + JsonContainerSize(object) + 1));
	iterator = JsonbIteratorInit(object);
	JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		Word word = vocabulary_find(key.val.string.val, key.val.string.len);
		char *name = psprintf("%s.%s", list, card_key_name(&key));
		PlanCondition *condition = &conditions->items[conditions->count++];

		JsonbIteratorNext(&iterator, &item, true);
		if ((word.kind != WORD_MEASURE && (above || word.kind != WORD_PARAMETER)) ||
			(word.kind == WORD_MEASURE && !(measures[word.index].flags & MEASURE_IS_KEY)))
			card_fail(place, name,
					  above ? "The key is no quantity of requests."
							: "The key is no word of requests.");
		if (above)
		{
			*condition =
				(PlanCondition){.kind = CONDITION_ABOVE, .subject = word.index, .count = 1};
			condition->numbers = palloc(sizeof(int64));
			condition->numbers[0] = card_read_quantity(place, name, &item);
		}
		else
			*condition = read_condition(place, name, word, &item);
	}
}
