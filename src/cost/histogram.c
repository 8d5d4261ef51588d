/*
 * histogram.c
 *		Distributions of what generations have used, in buckets on a logarithmic scale.
 *
 * A quantity, in millionths, falls into the bucket of its leading five binary digits: below
 * 32 millionths each value has its own, and above each power of two is cut into 16 of
 * the same width. So the value in the middle of a bucket differs from all that the bucket
 * counts by at most 1/32, and 10^18, the largest quantity, is in bucket 911.
 *
 * Histograms of the same buckets are merged by adding counts, in any order, which is
 * what lets them be kept by the fold. The layout is that of HdrHistogram (Gil Tene,
 * hdrhistogram.org), the bound of the error that of DDSketch (Masson, Rim and Lee,
 * "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
 * guarantees", PVLDB 12, 2019), without its logarithms: integers suffice.
 */
#include "cost/histogram.h"

#include "port/pg_bitutils.h"

/* Each power of two is cut into 2^PRECISION buckets. */
#define PRECISION 4
#define SLICES (1 << PRECISION)

StaticAssertDecl(HISTOGRAM_BUCKETS == (59 - PRECISION) * SLICES + 2 * SLICES,
				 "the largest quantity is below 2^60");

/*
 * histogram_bucket
 *		Returns the bucket of a quantity, which is not negative and at most 10^18.
 */
int
histogram_bucket(int64 micros)
{
	int shift;

	Assert(micros >= 0 && micros < INT64CONST(1) << 60);
	if (micros < 2 * SLICES)
		return (int) micros;
	shift = pg_leftmost_one_pos64((uint64) micros) - PRECISION;
	return shift * SLICES + (int) (micros >> shift);
}

/*
 * histogram_value
 *		Returns the middle of a bucket.
 */
int64
histogram_value(int bucket)
{
	int shift;

	Assert(bucket >= 0 && bucket < HISTOGRAM_BUCKETS);
	if (bucket < 2 * SLICES)
		return bucket;
	shift = bucket / SLICES - 1;
	return ((int64) (bucket % SLICES + SLICES) << shift) + ((INT64CONST(1) << shift) >> 1);
}

/*
 * histogram_median
 *		Returns the middle of the bucket in which the median is: of an even number the
 *		lower one, as percentile_disc(0.5). total is the sum of the counts, not zero.
 */
int64
histogram_median(const int64 *counts, int64 total)
{
	int64 below = 0;
	int bucket = 0;

	Assert(total > 0);
	while (below + counts[bucket] < total - total / 2)
		below += counts[bucket++];
	return histogram_value(bucket);
}
