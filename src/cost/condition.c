/*
 * condition.c
 *		Whether a line of a card applies to a request.
 *
 * Texts compare by their letters and digits without case (vocabulary_normalize).
 */
#include "cost/plan.h"

/*
 * text_matches
 *		Whether a text of a request is one of the texts of a condition. Not inlined, so
 *		that conditions of other kinds need no room for a text.
 */
static pg_noinline bool
text_matches(const PlanCondition *condition, const UsageText *text)
{
	char normal[NORMAL_SIZE];
	int length = vocabulary_normalize(text->text, text->length, normal);

	for (int i = 0; i < condition->count; i++)
	{
		if (condition->texts[i].length == length &&
			memcmp(condition->texts[i].text, normal, length) == 0)
			return true;
	}
	return false;
}

/*
 * condition_holds
 *		Whether one condition holds for a request.
 */
bool
condition_holds(const PlanCondition *condition, const Usage *usage)
{
	int subject = condition->subject;

	switch (condition->kind)
	{
		case CONDITION_ABOVE:
			return usage_get(usage, subject) > condition->numbers[0];
		case CONDITION_NUMBER:
			for (int i = 0; i < condition->count; i++)
			{
				if (usage_has(usage, subject) && usage->micros[subject] == condition->numbers[i])
					return true;
			}
			return false;
		case CONDITION_ABSENT:
			return !usage_has(usage, subject);
		case CONDITION_TEXT:
			return usage_has_parameter(usage, subject) &&
				   text_matches(condition, &usage->texts[subject]);
		case CONDITION_ABSENT_PARAMETER:
			return !usage_has_parameter(usage, subject);
	}
	pg_unreachable();
}
