/*
 * model_name.c
 *		Under which other names a model may have its card.
 *
 * Services name models as the users of the community price map do: with the provider
 * in front ("openai/gpt-4o"), with the date of a release behind ("gpt-4o-2031-05-13"),
 * fine-tuned models with what is their owner's ("ft:gpt-4o-2024-08-06:acme::id"). The
 * price map has most of these names itself; what it does not have is found here.
 *
 * Each rule only takes away what does not change the price: a provider only where the
 * card says that it is that provider's, for the same model costs differently
 * elsewhere. What does change it (regions, sizes, modes) stays, and a name that only
 * some provider's card ends in is not guessed.
 */
#include "cost/model_name.h"

/*
 * model_name_is_of
 *		Whether a prefix names the provider of a card: itself ("openai"), or a family
 *		of which it is one ("vertex_ai" of "vertex_ai-language-models", "bedrock" of
 *		"bedrock_converse").
 */
bool
model_name_is_of(const char *prefix, const char *provider)
{
	size_t length = strlen(prefix);

	return provider != NULL && strncmp(prefix, provider, length) == 0 &&
		   (provider[length] == '\0' || provider[length] == '-' || provider[length] == '_');
}

/* Whether a text is the date of a release, with what separates it from the name. */
static bool
is_date(const char *text)
{
	static const char *const patterns[] = {"-dddd-dd-dd", "-dddddddd", "@dddddddd"};

	for (int i = 0; i < (int) lengthof(patterns); i++)
	{
		const char *pattern = patterns[i];
		const char *c = text;

		while (*pattern != '\0' && *c != '\0' &&
			   (*pattern == 'd' ? *c >= '0' && *c <= '9' : *c == *pattern))
		{
			pattern++;
			c++;
		}
		if (*pattern == '\0' && *c == '\0')
			return true;
	}
	return false;
}

/*
 * shorten
 *		Returns the name without the date of its release, or without what a fine-tuned
 *		model's owner has added; NULL if it has neither. Tells in how which it was.
 */
static char *
shorten(const char *name, const char **how)
{
	const char *base = strncmp(name, "ft:", 3) == 0 ? strchr(name + 3, ':') : NULL;

	if (base != NULL)
	{
		*how = "the model that was fine-tuned";
		return pnstrdup(name, base - name);
	}
	for (const char *c = name; *c != '\0'; c++)
	{
		if (c > name && is_date(c))
		{
			*how = "the name without its date";
			return pnstrdup(name, c - name);
		}
	}
	return NULL;
}

/*
 * model_name_derive
 *		Fills names with the name that was given and those that follow from it, in the
 *		order in which their cards are looked for; returns how many there are.
 */
int
model_name_derive(const char *given, ModelName *names)
{
	const char *slash = strchr(given, '/');
	const char *how = NULL;
	char *shorter = shorten(given, &how);
	int count = 0;

	names[count++] = (ModelName){pstrdup(given), NULL, NULL};
	if (slash != NULL)
		names[count++] = (ModelName){pstrdup(slash + 1), "the name without its provider",
									 pnstrdup(given, slash - given)};
	if (shorter != NULL)
		names[count++] = (ModelName){shorter, how, NULL};
	if (slash != NULL)
	{
		shorter = shorten(slash + 1, &how);
		if (shorter != NULL)
			names[count++] = (ModelName){shorter, how, pnstrdup(given, slash - given)};
	}
	Assert(count <= MODEL_NAME_COUNT);
	return count;
}
