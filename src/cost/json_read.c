/*
 * json_read.c
 *		Reads the members of a jsonb object straight from its stored form.
 *
 * A JsonbIterator is made for trees: it is allocated, counts through states, and finds
 * each offset anew. Reading a request with one takes a sixth of the whole computation of its
 * price. Of a flat object all keys are stored first, then all values (the form is described
 * in utils/jsonb.h), so two offsets that move on with the members are enough.
 */
#include "cost/json_read.h"

/*
 * json_read_begin
 *		Starts before the first member of an object.
 */
void
json_read_begin(JsonMembers *members, const JsonbContainer *object)
{
	members->object = object;
	members->count = (int) JsonContainerSize(object);
	members->data = (const char *) &object->children[2 * members->count];
	members->next = 0;
	members->key_offset = 0;
	members->value_offset = getJsonbOffset(object, members->count);
}

/* Where the data of an entry ends that begin at start. */
static inline uint32
entry_end(JEntry entry, uint32 start)
{
	return JBE_HAS_OFF(entry) ? JBE_OFFLENFLD(entry) : start + JBE_OFFLENFLD(entry);
}

/*
 * read_entry
 *		Gives the key or value of an entry, whose data begin at the offset; returns where
 *		they end. Numbers and containers are aligned to four bytes, and the padding
 *		before them counts as theirs.
 */
static inline uint32
read_entry(const JsonMembers *members, JEntry entry, uint32 offset, JsonbValue *value)
{
	char *data = unconstify(char *, members->data);
	uint32 end = entry_end(entry, offset);

	switch (entry & JENTRY_TYPEMASK)
	{
		case JENTRY_ISSTRING:
			value->type = jbvString;
			value->val.string.val = data + offset;
			value->val.string.len = (int) (end - offset);
			break;
		case JENTRY_ISNUMERIC:
			value->type = jbvNumeric;
			value->val.numeric = (Numeric) (data + INTALIGN(offset));
			break;
		case JENTRY_ISBOOL_FALSE:
		case JENTRY_ISBOOL_TRUE:
			value->type = jbvBool;
			value->val.boolean = JBE_ISBOOL_TRUE(entry);
			break;
		case JENTRY_ISNULL:
			value->type = jbvNull;
			break;
		default:
			value->type = jbvBinary;
			value->val.binary.data = (JsonbContainer *) (data + INTALIGN(offset));
			value->val.binary.len = (int) (end - INTALIGN(offset));
			break;
	}
	return end;
}

/*
 * json_read_next
 *		Gives the next member; returns false if there is none.
 */
bool
json_read_next(JsonMembers *members, JsonbValue *key, JsonbValue *value)
{
	const JEntry *entries = members->object->children;
	int i = members->next;

	if (i == members->count)
		return false;
	members->next++;
	members->key_offset = read_entry(members, entries[i], members->key_offset, key);
	members->value_offset =
		read_entry(members, entries[members->count + i], members->value_offset, value);
	return true;
}
