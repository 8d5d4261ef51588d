/*
 * xavier_quota.c
 *		The module: loads the parts in the order in which they depend on each other.
 */
#include "xavier_quota.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "compat.h"
#include "cost/cost.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	clock_init();
	cost_init();
	MarkGUCPrefixReserved("xavier_quota");
}
