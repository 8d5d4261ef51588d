/*
 * histogram.h
 *		Distributions of what generations have used, in buckets on a logarithmic scale.
 */
#ifndef XAVIER_QUOTA_COST_HISTOGRAM_H
#define XAVIER_QUOTA_COST_HISTOGRAM_H

#include "postgres.h"

/* Buckets count from 0. */
#define HISTOGRAM_BUCKETS 912

/* Functions in histogram.c */
extern int histogram_bucket(int64 micros);
extern int64 histogram_value(int bucket);
extern int64 histogram_median(const int64 *counts, int64 total);

#endif /* XAVIER_QUOTA_COST_HISTOGRAM_H */
