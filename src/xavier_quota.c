/*
 * xavier_quota.c
 *		The module: loads the parts in the order in which they depend on each other.
 */
#include "xavier_quota.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "api/operation.h"
#include "cost/cost.h"
#include "directory/changes.h"
#include "escrow/escrow.h"
#include "escrow/locks.h"
#include "relations.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	clock_init();
	relations_init();
	cost_init();
	locks_init();
	changes_init();
	escrow_init(); /* after changes_init(), so that its callbacks run before those of changes.c */
	operation_init();
	MarkGUCPrefixReserved("xavier_quota");
}
