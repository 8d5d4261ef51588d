# variants.sh: the suite on a build that finds what the usual one cannot. Sourced by test/run.
#
#   assertions   PostgreSQL with its assertions, freed memory overwritten; and the extension with
#                AddressSanitizer and UndefinedBehaviorSanitizer
#   valgrind     the same PostgreSQL, its servers under valgrind's memcheck
#
# A variant is a function variant_NAME, called with variables of its own of these names. It
# sets what is not usual (see setup.sh), builds, and leaves the steps to test/run:
#
#   POSTGRES, COPT, ENVIRONMENT   see setup.sh
#   REGRESS                       the files of sql/ to run; all, if empty
#   SKIPPED                       not empty: it cannot be built here, and has said why

# in_variant NAME COMMAND...: runs steps of test/run on the variant.
in_variant() {
    local VARIANT=$1 POSTGRES= COPT= ENVIRONMENT=() REGRESS= HOME_PG BIN SRC PATH=$PATH SKIPPED=
    local LOG=$RUN/log/$1 SOCKETS=$SOCKETS/$1

    shift
    mkdir -p "$LOG"
    as_user mkdir -p "$SOCKETS"
    open_home
    "variant_$VARIANT"
    [ -n "$SKIPPED" ] || "$@"
}

# PostgreSQL has signed integers wrap; in the extension that is a finding: overflow shall be an error.
variant_assertions() {
    postgres_from_source
    if [ -n "$SKIPPED" ]; then
        say "assertions: skipped but for the sanitizers, on the machine's PostgreSQL"
        POSTGRES= SKIPPED=
    fi
    COPT="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-wrapv -fno-omit-frame-pointer"
    build
    COPT= build_injection
    load_sanitizers
}

# Reading and writing of values, prices, changes of definitions and of counters, what is carried.
VALGRIND_REGRESS=(quota_type cost_card definition_change replay reserve carry refill)

variant_valgrind() {
    postgres_from_source
    if [ -n "$SKIPPED" ]; then
        say "valgrind: skipped, because there is no PostgreSQL that tells it about its memory"
        return 0
    fi
    build
    run_servers_under_valgrind
    # To start takes longer than pg_regress expects.
    ENVIRONMENT=(PGCTLTIMEOUT=600)
}

# A script takes the place of the server: where it is to serve, and not to make a new
# cluster, it does so under valgrind, with the suppressions that come with PostgreSQL.
run_servers_under_valgrind() {
    rm -rf "$HOME_PG/memcheck"
    as_user mkdir -p "$HOME_PG/memcheck"
    replace_postgres <<END
#!/bin/sh
[ "\$1" = -D ] || exec "$BIN/postgres.real" "\$@"
exec valgrind --quiet --leak-check=no --track-origins=no --gen-suppressions=all --trace-children=yes \\
    --error-markers=FOUND,END --log-file="$HOME_PG/memcheck/%p.log" \\
    --suppressions="$POSTGRES/valgrind.supp" "$BIN/postgres.real" "\$@"
END
}

# memcheck_found: shows what valgrind has found; fails if it has looked, and found nothing.
memcheck_found() {
    ! compgen -G "$HOME_PG/memcheck/*.log" > /dev/null || grep -h FOUND -A 40 "$HOME_PG"/memcheck/*.log
}

# Sanitizers -------------------------------------------------------------------

# load_sanitizers: has the server, which is built without them, load the sanitizers first. What
# they find ends it, and stands in its log.
#
# Where a library's constructor allocates while it holds a lock of glibc (libp11-kit, by
# way of libldap), AddressSanitizer begins in there: it looks for swift_demangle, finds
# none, and the message that says so is translated under the same lock, which hangs the
# program. So there is one, which demangles nothing.
load_sanitizers() {
    local library

    library=$(realpath "$(gcc -print-file-name=libasan.so)")
    as_user gcc -shared -fPIC -x c -o "$HOME_PG/demangle.so" - \
        <<< 'void *swift_demangle(void); void *swift_demangle(void) { return 0; }'
    replace_postgres <<END
#!/bin/sh
# PostgreSQL leaves memory to the end of its processes: that is no leak. The rest saves time: its
# contexts get memory in blocks, which assertions have them fill, and reuse, by themselves.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=16:max_malloc_fill_size=0:malloc_context_size=4
export LD_PRELOAD='$library $HOME_PG/demangle.so'
exec '$BIN/postgres.real' "\$@"
END
}

# count_reports: shows what the sanitizers have told the logs of the servers; that is a failure.
count_reports() {
    if grep -rE -A 20 'runtime error: |AddressSanitizer' \
        "$SRC"/log "$SRC"/output_iso/log "$SRC"/tmp_check/log "$HOME_PG"/*.log 2> /dev/null; then
        failed=$((failed + 1))
    fi
}

# replace_postgres: a script, from the input, takes the place of the server, which becomes
# postgres.real.
replace_postgres() {
    as_user mv "$BIN/postgres" "$BIN/postgres.real"
    as_user tee "$BIN/postgres" > /dev/null
    as_user chmod +x "$BIN/postgres"
}

# PostgreSQL from source -------------------------------------------------------

# USE_VALGRIND tells valgrind about the memory contexts, and costs next to nothing without it.
CHECKS="-DUSE_VALGRIND"

# postgres_from_source: sets POSTGRES to a PostgreSQL with all checks, built from Debian's
# source package, or SKIPPED if there is none. It is kept, and built again only for another version of the package.
postgres_from_source() {
    local home=$WORK/pg$PG-source
    local key="$(dpkg-query -W -f '${Version}' "postgresql-$PG") $CHECKS" start=$SECONDS

    POSTGRES=$home/postgresql
    [ "$(cat "$home/key" 2>/dev/null)" != "$key" ] || return 0
    say "building PostgreSQL $PG with assertions: some minutes, once"
    require dpkg-dev bison flex valgrind
    rm -rf "$home"
    as_user mkdir -p "$home"
    fetch_source "$home/apt" "$home/tree"
    [ -z "$SKIPPED" ] || return 0
    (
        cd "$home/tree"
        logged configure as_user ./configure -q --prefix="$POSTGRES" \
            --enable-cassert --enable-tap-tests \
            --without-readline --without-zlib --without-icu \
            CFLAGS="-Og -g1 -fno-omit-frame-pointer" CPPFLAGS="$CHECKS"
        # Nobody needs SQL embedded in C, which is a tenth of the work.
        as_user sed -i 's/^\(SUBDIRS.*\) ecpg/\1/' src/interfaces/Makefile
        logged postgres as_user make -s -j "$(nproc)" -C src all
        logged postgres-install as_user make -s -C src install
    )
    as_user cp "$home/tree/src/tools/valgrind.supp" "$POSTGRES/"
    add_extensions
    rm -rf "$home/tree" "$home/apt"
    as_user tee "$home/key" <<< "$key" > /dev/null
    say "built in $((SECONDS - start)) seconds"
}

# fetch_source APT TREE: unpacks the newest source package of PostgreSQL that can be had.
# apt works in a directory of its own, from the machine's sources read as sources of source
# packages, and with all other settings as they are.
fetch_source() {
    local apt=$1 tree=$2 file version
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)

    as_user mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/files"
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -nE 's/^[[:space:]]*deb[[:space:]]/deb-src /p' |
        as_user tee "$apt/sources.list" > /dev/null
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" |
            as_user tee "$apt/parts/$(basename "$file")" > /dev/null
    done
    # A source without source packages is no failure if another one has them.
    as_user apt-get -qq "${options[@]}" update > "$LOG/source.log" 2>&1 || true
    cd "$apt/files"
    for version in $(as_user apt-cache "${options[@]}" showsrc --only-source "postgresql-$PG" 2>/dev/null |
        sed -n 's/^Version: //p' | sort -ruV); do
        if as_user apt-get -qq "${options[@]}" source --download-only \
            "postgresql-$PG=$version" >> "$LOG/source.log" 2>&1; then
            say "source package postgresql-$PG $version"
            logged unpack as_user dpkg-source -x postgresql-"$PG"_*.dsc "$tree"
            cd "$WORK"
            return 0
        fi
        say "no source of postgresql-$PG $version can be had"
    done
    tail -n 20 "$LOG/source.log" >&2
    say "apt can fetch no source package postgresql-$PG"
    SKIPPED=yes
    cd "$WORK"
}

# add_extensions: those that the suite needs, as the machine has them. pgTAP is SQL alone;
# pg_cron touches no structure that assertions change.
add_extensions() {
    local lib=/usr/lib/postgresql/$PG/lib share=/usr/share/postgresql/$PG/extension

    as_user cp "$lib/pg_cron.so" "$POSTGRES/lib/"
    as_user cp "$share"/pg_cron* "$share"/pgtap* "$POSTGRES/share/extension/"
}
