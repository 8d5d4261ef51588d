# xavier_quota: built with PostgreSQL's extension makefiles (PGXS).
EXTENSION = xavier_quota
VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)

MODULE_big = $(EXTENSION)
SOURCES = $(sort $(wildcard src/*.c src/*/*.c))
HEADERS = $(sort $(wildcard src/*.h src/*/*.h))
OBJS = $(SOURCES:.c=.o)
PG_CPPFLAGS = -I$(CURDIR)/src
PG_CFLAGS = -Wall -Wextra -Werror -Wno-declaration-after-statement

# The install script, joined from its parts in the order of reading.
PARTS = $(sort $(wildcard schema/*.sql))
DATA_built = $(EXTENSION)--$(VERSION).sql
EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.bc) results regression.diffs regression.out output_iso .run/regress

# pg_regress and the isolation tester each start a private server of their own.
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION = $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))
TEMP_SERVER = --temp-config=$(CURDIR)/test/server.conf --temp-instance=$(CURDIR)/.run
REGRESS_OPTS = $(TEMP_SERVER)/regress
ISOLATION_OPTS = $(TEMP_SERVER)/isolation
TAP_TESTS = 1

PG_CONFIG ?= pg_config
include $(shell $(PG_CONFIG) --pgxs)

# Debian's PGXS does not track headers.
$(OBJS) $(OBJS:.o=.bc): $(HEADERS)

# awk and not cat: a part without a last newline must not swallow the next one.
$(DATA_built): $(PARTS) $(EXTENSION).control
	awk 1 $(PARTS) > $@
