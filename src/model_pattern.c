/*
 * model_pattern.c
 *		Matches model names against patterns in which * stands for any characters.
 */
#include "postgres.h"

#include "model_pattern.h"

/*
 * model_matches
 *		Says whether a model's name matches a pattern. Without a model (an amount
 *		that no model is behind) only the pattern * matches.
 *
 * Greedy with one point of return: linear in practice, and at worst the product
 * of the two lengths, however many stars there are.
 */
bool
model_matches(const char *pattern, const char *model)
{
	const char *star = NULL;
	const char *resume = NULL;

	if (pattern[0] == '*' && pattern[1] == '\0')
		return true;
	if (model == NULL)
		return false;
	while (*model != '\0')
	{
		if (*pattern == '*')
		{
			star = pattern++;
			resume = model;
		}
		else if (*pattern == *model)
		{
			pattern++;
			model++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			model = ++resume;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}
