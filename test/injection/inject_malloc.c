/*
 * inject_malloc.c
 *		Makes the C library refuse memory to one process, on request. For tests.
 *
 * To be named in LD_PRELOAD: it comes between the server and the C library. A
 * process arms itself through inject_malloc_arm(), which inject_allocation.c
 * calls; before that, and in every other process, all is as it was.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* PostgreSQL's makefiles hide what a library does not export explicitly, since 16. */
#pragma GCC visibility push(default)

void inject_malloc_arm(long countdown, long failures);
long inject_malloc_failed(void);

/* While it is not 0, no request is counted, and none fails. */
extern int inject_malloc_spared;
int inject_malloc_spared = 0;

/* The C library's own, under names that are not taken over. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);

static long armed_countdown = 0; /* the request that is refused first; 0: not armed */
static long armed_failures = 0;
static long failed = 0;

/*
 * inject_malloc_arm
 *		Lets the countdown-th request from now on fail, and those that follow it,
 *		as many as failures says; 0 lets none fail.
 */
void
inject_malloc_arm(long countdown, long failures)
{
	armed_countdown = countdown;
	armed_failures = failures;
	failed = 0;
}

/*
 * inject_malloc_failed
 *		Returns how many requests have failed since.
 */
long
inject_malloc_failed(void)
{
	return failed;
}

static int
refused(void)
{
	if (armed_countdown == 0 || inject_malloc_spared)
		return 0;
	if (armed_countdown > 1)
	{
		armed_countdown--;
		return 0;
	}
	if (failed == armed_failures)
		return 0;
	failed++;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return refused() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return refused() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *pointer, size_t size)
{
	return refused() ? NULL : __libc_realloc(pointer, size);
}

void *
mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	static void *(*next)(void *, size_t, int, int, int, off_t) = NULL;

	if (next == NULL)
		*(void **) &next = dlsym(RTLD_NEXT, "mmap");
	return refused() ? MAP_FAILED : next(address, length, protection, flags, file, offset);
}
