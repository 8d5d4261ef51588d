/*
 * price_map.h
 *		From the community price map to rate cards.
 */
#ifndef XAVIER_QUOTA_COST_PRICE_MAP_H
#define XAVIER_QUOTA_COST_PRICE_MAP_H

#include "cost/decimal.h"
#include "cost/vocabulary.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* The longest key of the map that can be a price. */
#define PRICE_KEY_SIZE 128

/* What a key of the map is. */
typedef enum PriceKind
{
	PRICE_NONE,      /* no price: a description of the model */
	PRICE_UNKNOWN,   /* perhaps a price, which we do not know */
	PRICE_NOT_USD,   /* a price in another currency */
	PRICE_METER,     /* the price of one meter */
	PRICE_SECOND_IN, /* the meter depends on the mode of the model */
	PRICE_SECOND_OUT,
	PRICE_IMAGE_IN,
	PRICE_IMAGE_OUT,
	PRICE_PIXEL_IN,
	PRICE_PIXEL_OUT,
	PRICE_CHARACTER_IN,
	PRICE_CHARACTER_OUT,
	PRICE_SEARCH_CONTEXT, /* an object of prices by search context size */
	PRICE_TIERED,         /* a list of prices by ranges */
	PRICE_UPLIFT,         /* a factor by data residency */
	PRICE_PROVIDER        /* an object of factors by speed or geography */
} PriceKind;

/* A key of the map, taken apart. */
typedef struct PriceKey
{
	PriceKind kind;
	int meter;
	int per;                      /* the price is for so many units */
	int64 above_tokens;           /* more input tokens than this; -1: any */
	int64 above_seconds;          /* a longer interval than this; -1: any */
	const char *tier;             /* service tier, NULL: standard */
	char variant[PRICE_KEY_SIZE]; /* resolution or region, '' for none */
} PriceKey;

/* A price of a model, with the conditions under which it holds. */
typedef struct MapPrice
{
	PriceKey key;
	int128 price; /* PRICE_SCALE */
	const char *size;
	const char *quality;
	const char *steps;
	const char *search_context;
	int64 above_results; /* more max_results than this; -1: any */
} MapPrice;

/* Why a key did not become a part of a card. */
typedef struct MapSkipped
{
	const char *key;
	const char *reason;
} MapSkipped;

/* One entry of the map, or a model that only sized entries describe. */
typedef struct MapModel
{
	const char *name;
	const char *mode;
	const char *provider;
	int64 max_input_tokens;  /* -1: unknown */
	int64 max_output_tokens; /* -1: unknown */
	int64 pixels;            /* of the size that the name spells; 0: none */
	bool search_per_query;   /* each search is charged, not only the first */
	bool unusable;           /* a price is malformed: no card */
	List *prices;            /* of MapPrice * */
	List *sized;             /* of MapPrice *, from entries named by size */
	List *factors;           /* of MapPrice *: the price is a factor */
	List *skipped;           /* of MapSkipped * */
} MapModel;

/* Functions in price_key.c */
extern PriceKey price_key_parse(const char *text, int length);

/* Functions in price_read.c */
extern MapModel *price_read_model(const char *name, JsonbContainer *entry);
extern void price_skip(MapModel *model, const char *key, const char *reason);

/* Functions in price_card.c */
extern Jsonb *price_card_make(MapModel *model, int *line_count);

#endif /* XAVIER_QUOTA_COST_PRICE_MAP_H */
