# xavier_quota: built with PostgreSQL's extension makefiles (PGXS).
EXTENSION = xavier_quota
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)

MODULE_big = $(EXTENSION)
SOURCES = $(sort $(wildcard src/*.c src/*/*.c))
SOURCE_HEADERS = $(sort $(wildcard src/*.h src/*/*.h))
OBJS = $(SOURCES:.c=.o)
# -isystem: what -Wextra finds in headers that are not ours is not for us to mend.
PG_CPPFLAGS = -I$(CURDIR)/src -DXAVIER_QUOTA_VERSION=\"$(EXTVERSION)\" -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra -Werror -Wno-declaration-after-statement

# The install script, joined from its parts in the order of reading.
PARTS = $(sort $(wildcard schema/*.sql))
DATA_built = $(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.bc) results regression.diffs regression.out output_iso .run/regress .run/isolation

# pg_regress and the isolation tester each start a private server of their own.
REGRESS := $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION := $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))
TEMP_SERVER = --temp-config=$(CURDIR)/test/server.conf --temp-instance=$(CURDIR)/.run
REGRESS_OPTS = $(TEMP_SERVER)/regress
ISOLATION_OPTS = $(TEMP_SERVER)/isolation
REGRESS_PREP = .run
# The same for whoever runs them, with any version.
NO_LOCALE = 1
ENCODING = UTF8
PROVE_TESTS := $(sort $(wildcard test/t/*.pl))
TAP_TESTS := $(if $(PROVE_TESTS),1)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Debian's PGXS does not track headers.
$(OBJS) $(OBJS:.o=.bc): $(SOURCE_HEADERS)

.run:
	mkdir -p $@

# awk and not cat: a part without a last newline must not swallow the next one.
$(DATA_built): $(PARTS) $(EXTENSION).control
	awk 1 $(PARTS) > $@
