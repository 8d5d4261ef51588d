/*
 * fits.c
 *		What of a refused request would fit at every level.
 *
 * The numbers of the levels are those by which the request was refused. So the answer
 * is as old as the refusal: others may take what it names in between.
 */
#include "postgres.h"

#include "api/fits.h"

static bool
request_is_afforded(const AmountEntry *entries, int count, void *arg)
{
	const RefusedRequest *request = arg;

	return levels_afford(request->levels, entries, count, request->least, request->held);
}

/*
 * fits_find
 *		Returns the most output, images and seconds with which the request would not
 *		have been refused.
 */
CostFits *
fits_find(const RefusedRequest *request)
{
	CostFits *fits = palloc(sizeof(CostFits));

	cost_find_fits(request->card_id, request->parameters, request->root_id, request->priced_at,
				   request_is_afforded, unconstify(RefusedRequest *, request), fits);
	return fits;
}
