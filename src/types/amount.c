/*
 * amount.c
 *		quota.amount: how much of each resource, 'calls=1,credit=12.5'.
 *
 * An amount is a vector over all resources there are: one that is not mentioned
 * is zero. So zeros are never stored, and every amount has exactly one form: the
 * varlena holds the packed list of components.c, sorted by resource, and two
 * amounts are equal if and only if their bytes are.
 *
 * Two orders
 *		a <= b is the partial order of vectors: a fits in b in every component. Of
 *		two amounts it may well hold in neither direction.
 *		amount_compare() is a total order without a meaning, for btree indexes,
 *		sorting and DISTINCT. In SQL its operators are *<, *<=, *>= and *>.
 *
 * All arithmetic is on whole millionths; results beyond MICROS_MAX are errors.
 *
 * The functions of this file work on values; amount_sql.c makes SQL of them.
 */
#include "types/amount.h"

static Amount *
amount_pack(const AmountEntry *entries, int count)
{
	Size size = VARHDRSZ + components_packed_size(entries, count);
	Amount *amount = palloc(size);

	SET_VARSIZE(amount, size);
	components_pack(entries, count, VARDATA(amount));
	return amount;
}

/*
 * amount_make
 *		Returns the amount of some components, in any order: sorts them, adds up those
 *		of one resource, drops zeros. 22003 if a value or sum is out of range, 54000 if
 *		there are more than AMOUNT_MAX_ENTRIES resources.
 */
Amount *
amount_make(const AmountEntry *entries, int count)
{
	AmountEntry *sorted = palloc(sizeof(AmountEntry) * (count + 1));
	AmountEntry merged[AMOUNT_MAX_ENTRIES];
	int merged_count = 0;

	if (count > 0)
		memcpy(sorted, entries, sizeof(AmountEntry) * count);
	components_sort(sorted, count);
	for (int i = 0; i < count; i++)
	{
		AmountEntry *last = merged_count == 0 ? NULL : &merged[merged_count - 1];

		/* Not only identifiers: what the engine itself counts, in memory, has other names. */
		Assert(sorted[i].resource[0] != '\0' && strlen(sorted[i].resource) < RESOURCE_NAME_SIZE);
		micros_check(sorted[i].micros, sorted[i].resource);
		if (last != NULL && strcmp(last->resource, sorted[i].resource) == 0)
			last->micros = micros_check(last->micros + sorted[i].micros, last->resource);
		else
		{
			components_require_room(merged_count + 1, "quota.amount");
			merged[merged_count++] = sorted[i];
		}
	}
	pfree(sorted);
	merged_count = components_drop_zeros(merged, merged_count);
	return amount_pack(merged, merged_count);
}

/* amount_entries: fills entries, names pointing into amount; returns the count. */
int
amount_entries(const Amount *amount, AmountEntry *entries)
{
	int count;
	const char *end pg_attribute_unused() = components_unpack(VARDATA_ANY(amount), entries, &count);

	Assert(end == VARDATA_ANY(amount) + VARSIZE_ANY_EXHDR(amount));
	return count;
}

/* amount_get: the component of a resource, in millionths; 0 if it is not mentioned. */
int64
amount_get(const Amount *amount, const char *resource)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(amount, entries);
	const AmountEntry *entry = components_find(entries, count, resource);

	return entry == NULL ? 0 : entry->micros;
}

bool
amount_is_zero(const Amount *amount)
{
	return *VARDATA_ANY(amount) == 0;
}

/*
 * Which of two sorted lists has the next entry of their merge: negative for the left
 * one, positive for the right one, zero for both. At least one entry must be left.
 */
static int
merge_order(const AmountEntry *left, int left_count, const AmountEntry *right, int right_count)
{
	Assert(left_count > 0 || right_count > 0);
	if (left_count == 0)
		return 1;
	if (right_count == 0)
		return -1;
	return strcmp(left->resource, right->resource);
}

/* Merges two sorted amounts into a + sign * b. */
static Amount *
amount_combine(const Amount *a, const Amount *b, int sign)
{
	AmountEntry left[AMOUNT_MAX_ENTRIES];
	AmountEntry right[AMOUNT_MAX_ENTRIES];
	AmountEntry result[AMOUNT_MAX_ENTRIES];
	int left_count = amount_entries(a, left);
	int right_count = amount_entries(b, right);
	int count = 0;

	for (int i = 0, j = 0; i < left_count || j < right_count;)
	{
		int order = merge_order(&left[i], left_count - i, &right[j], right_count - j);
		AmountEntry entry = order <= 0 ? left[i] : right[j];
		int64 micros =
			(order <= 0 ? left[i].micros : 0) + (order >= 0 ? sign * right[j].micros : 0);

		entry.micros = micros_check(micros, entry.resource);
		if (entry.micros != 0)
		{
			components_require_room(count + 1, "quota.amount");
			result[count++] = entry;
		}
		if (order <= 0)
			i++;
		if (order >= 0)
			j++;
	}
	return amount_pack(result, count);
}

/* amount_add: a + b in every component; 22003 if one is out of range. */
Amount *
amount_add(const Amount *a, const Amount *b)
{
	return amount_combine(a, b, 1);
}

/* amount_subtract: a - b in every component; 22003 if one is out of range. */
Amount *
amount_subtract(const Amount *a, const Amount *b)
{
	return amount_combine(a, b, -1);
}

/*
 * amount_multiply
 *		Returns the amount times factor; each component is formed exactly and rounded
 *		once, up to a whole millionth. 22023 for NaN and infinities, 22003 on overflow.
 */
Amount *
amount_multiply(const Amount *amount, Numeric factor)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(amount, entries);

	if (numeric_is_nan(factor) || numeric_is_inf(factor))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an amount can only be multiplied by a finite number")));
	for (int i = 0; i < count; i++)
		entries[i].micros = micros_multiply(entries[i].micros, factor, entries[i].resource);
	count = components_drop_zeros(entries, count);
	return amount_pack(entries, count);
}

/* amount_fits_in: whether a <= b in every component; what one does not mention is zero. */
bool
amount_fits_in(const Amount *a, const Amount *b)
{
	AmountEntry left[AMOUNT_MAX_ENTRIES];
	AmountEntry right[AMOUNT_MAX_ENTRIES];
	int left_count = amount_entries(a, left);
	int right_count = amount_entries(b, right);

	for (int i = 0, j = 0; i < left_count || j < right_count;)
	{
		int order = merge_order(&left[i], left_count - i, &right[j], right_count - j);

		if ((order <= 0 ? left[i].micros : 0) > (order >= 0 ? right[j].micros : 0))
			return false;
		if (order <= 0)
			i++;
		if (order >= 0)
			j++;
	}
	return true;
}

/* amount_compare: the total order, -1, 0 or 1; see the top of this file. */
int
amount_compare(const Amount *a, const Amount *b)
{
	AmountEntry left[AMOUNT_MAX_ENTRIES];
	AmountEntry right[AMOUNT_MAX_ENTRIES];
	int left_count = amount_entries(a, left);
	int right_count = amount_entries(b, right);

	return components_compare(left, left_count, right, right_count);
}

/*
 * amount_parse
 *		Reads 'credit=12.5, calls=1'; the empty text is the empty amount. Errors as
 *		components_read().
 */
Amount *
amount_parse(const char *text)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	TextReader reader;

	reader_init(&reader, "quota.amount", text);

	int count = components_read(&reader, '\0', entries);

	return amount_pack(entries, components_drop_zeros(entries, count));
}

/* amount_to_cstring: the canonical text: sorted, without zeros, shortest decimals. */
char *
amount_to_cstring(const Amount *amount)
{
	AmountEntry entries[AMOUNT_MAX_ENTRIES];
	int count = amount_entries(amount, entries);
	StringInfoData text;

	initStringInfo(&text);
	components_write(entries, count, &text);
	return text.data;
}
