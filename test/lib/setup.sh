# setup.sh: what demo/run, test/run and bench/run share. Sourced, by bash.
#
# It installs what is missing from Debian's packages, builds the extension from a
# copy of the tree, installs it into a private copy of the machine's PostgreSQL
# and starts private servers from there. All of it lives in WORK, which is .run/ in
# the checkout, or a directory below /var/tmp (gone at the end) where the
# unprivileged user cannot reach the checkout. Neither the machine's clusters nor
# its PostgreSQL directories are written to.
#
#   ROOT      the checkout                   RUN     .run/: log/, and WORK if it can be
#   RUN_AS    who builds and runs servers    PG      major version of PostgreSQL
#   HOME_PG   WORK/pgNN: everything of this version: usr/ src/ and the servers' data
#   BIN       programs of the private PostgreSQL          SRC    the copy of the tree
#   SOCKETS   directory of all sockets, open to RUN_AS alone
#   FRESH     not empty: build from scratch
#
# What is not usual about a build (test/lib/variants.sh):
#
#   VARIANT      its name, which HOME_PG carries too
#   POSTGRES     directory of the PostgreSQL that is copied, instead of the machine's
#   COPT         flags of the compiler, added to the usual ones
#   ENVIRONMENT  what its programs find in their environment: NAME=VALUE ...

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
. "$ROOT/test/lib/debian.sh"
RUN=$ROOT/.run
LOG=$RUN/log
WORK= SOCKETS= FRESH= VARIANT= POSTGRES= COPT=
SERVERS=() ENVIRONMENT=()
ARGUMENTS=("$@")

# Nothing of the caller's environment decides which server is talked to.
for name in "${!PG@}"; do unset "$name"; done
unset name MAKEFLAGS MAKELEVEL TMPDIR
# Clusters of the tests get their encoding from LANG: PostgreSQL's test library unsets LC_ALL.
export LC_ALL=C.UTF-8 LANG=C.UTF-8 TZ=UTC
umask 022

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$(dirname "$0")")/$(basename "$0")" "$*" >&2
    exit 1
}

as_root() {
    if [ "$EUID" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "must be root for this: run it as root, or install sudo"
    fi
}

# as_user COMMAND...: runs a program (not a shell function) as RUN_AS, without our lock.
as_user() {
    if [ "$(id -un)" = "$RUN_AS" ]; then
        env "${ENVIRONMENT[@]}" "$@" 9>&-
    else
        runuser -u "$RUN_AS" -- env HOME="$WORK" "${ENVIRONMENT[@]}" "$@" 9>&-
    fi
}

# logged NAME COMMAND...: output goes to a log, and is shown if the command fails.
logged() {
    local log=$LOG/$1.log
    shift
    if ! "$@" > "$log" 2>&1; then
        tail -n 60 "$log" >&2
        fail "this failed: $*"
    fi
}

# Packages ---------------------------------------------------------------------

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

has_package() {
    [ -n "$(apt-cache show "$1" 2>/dev/null)" ]
}

# The version asked for, else the newest that is installed, else the distribution's.
choose_version() {
    local version depends

    PG=$1
    for version in 15 16 17 18; do
        if [ -z "$1" ] && [ -x "/usr/lib/postgresql/$version/bin/postgres" ]; then
            PG=$version
        fi
    done
    [ -n "$PG" ] && [ -x "/usr/lib/postgresql/$PG/bin/postgres" ] || has_package postgresql ||
        logged apt-update as_root apt-get -qq update
    if [ -z "$PG" ]; then
        depends=$(apt-cache depends postgresql)
        [[ $depends =~ Depends:\ postgresql-([0-9]+) ]] || fail "apt knows no package postgresql"
        PG=${BASH_REMATCH[1]}
    fi
    case $PG in
        15 | 16 | 17 | 18) ;;
        *) fail "PostgreSQL 15 to 18 is supported, not \"$PG\"" ;;
    esac
    [ -x "/usr/lib/postgresql/$PG/bin/postgres" ] || has_package "postgresql-$PG" ||
        run_in_release "$PG"
}

# require PACKAGE...: a name ending in ? is installed only where it can be had.
require() {
    local package missing=() wanted=()

    for package in "$@"; do
        if is_installed "${package%\?}"; then
            continue
        elif [ "$package" = "${package%\?}" ]; then
            missing+=("$package")
        elif has_package "${package%\?}"; then
            wanted+=("$package")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || [ ${#wanted[@]} -gt 0 ] || return 0
    say "installing from Debian's packages: ${missing[*]} ${wanted[*]%\?}"
    logged packages as_root "$ROOT/test/lib/install-packages" "${missing[@]}" "${wanted[@]%\?}"
}

# The place of work ------------------------------------------------------------

open_work() {
    exec 9> "$RUN/lock"
    flock -n 9 || fail "another run is under way in this checkout"

    RUN_AS=$(id -un)
    if [ "$EUID" = 0 ]; then
        RUN_AS=postgres
        chown "$RUN_AS" "$RUN"
        chown -hR "$RUN_AS" "$LOG"
        find "$RUN" -mindepth 1 -maxdepth 1 -name 'pg*' -exec chown -hR "$RUN_AS" {} +
    fi
    WORK=$RUN
    if ! as_user test -w "$RUN" 2>/dev/null; then
        [ "$EUID" = 0 ] || fail "$RUN is not ours to write: remove it and run again"
        WORK=$(mktemp -d /var/tmp/xavier_quota.XXXXXX)
        chown "$RUN_AS" "$WORK"
        say "user $RUN_AS cannot reach $RUN: working in $WORK"
    fi
    SOCKETS=$(mktemp -d /tmp/xavier_quota.XXXXXX)
    [ "$EUID" != 0 ] || chown "$RUN_AS" "$SOCKETS"

    open_home
    cd "$WORK"

    # What a run that was killed has left running.
    local pid_file
    for pid_file in "$WORK"/pg*/*/postmaster.pid; do
        [ ! -e "$pid_file" ] || SERVERS+=("$(dirname "$pid_file")")
    done
    stop_servers
}

# open_home: the directories of this version and variant.
open_home() {
    HOME_PG=$WORK/pg$PG${VARIANT:+-$VARIANT}
    BIN=$HOME_PG/usr/lib/postgresql/$PG/bin
    SRC=$HOME_PG/src
    export PATH="$BIN:$PATH"
    as_user mkdir -p "$SRC"
}

# close_work [STATUS]: ends the run, with the status that it has.
close_work() {
    local status=${1-$?}

    trap - EXIT INT TERM HUP
    set +e
    cd /
    if [ -n "$SOCKETS" ]; then
        stop_servers
        cp -f "$HOME_PG"/*.{log,tsv,png} "$LOG/" 2>/dev/null
        rm -rf "$SOCKETS"
    fi
    [ -z "$WORK" ] || [ "$WORK" = "$RUN" ] || rm -rf "$WORK"
    exit "$status"
}

# Build ------------------------------------------------------------------------

# A PostgreSQL of our own. Of the machine's, programs are copied, because they find their
# directories by where they really are, and all else is linked.
copy_postgres() {
    local lib=usr/lib/postgresql/$PG share=usr/share/postgresql/$PG

    rm -rf "$HOME_PG/usr"
    if [ -n "$POSTGRES" ]; then
        as_user mkdir -p "$HOME_PG/$lib"
        as_user cp -a "$POSTGRES/." "$HOME_PG/$lib/"
        return 0
    fi
    mkdir -p "$HOME_PG/$lib/lib" "$HOME_PG/$share/extension"
    cp -a "/$lib/bin" "$HOME_PG/$lib/"
    ln -s /usr/include "$HOME_PG/usr/include"
    find "/$lib/lib" -mindepth 1 -maxdepth 1 ! -name 'xavier_quota*' \
        -exec ln -s -t "$HOME_PG/$lib/lib" {} +
    find "/$share" -mindepth 1 -maxdepth 1 ! -name extension \
        -exec ln -s -t "$HOME_PG/$share" {} +
    find "/$share/extension" -mindepth 1 -maxdepth 1 ! -name 'xavier_quota*' \
        -exec ln -s -t "$HOME_PG/$share/extension" {} +
    chown -hR "$RUN_AS" "$HOME_PG/usr"
}

# tree_files: the files of the checkout that are not made from others, each ended by a zero byte.
tree_files() {
    (cd "$ROOT" && find . -regextype posix-extended \
        -regex '\./(\.git|\.run|results|output_iso|tmp_check|log)' -prune -o \
        -type f ! -regex '.*\.(o|bc|so)|\./(xavier_quota--.*\.sql|regression\..*)' -print0 |
        sort -z)
}

# The copy of the tree keeps its objects from run to run, unless a file has come or gone.
copy_tree() {
    local list=$HOME_PG/files

    tree_files > "$list.new"
    if [ -n "$FRESH" ] || ! cmp -s "$list" "$list.new" || [ ! -e "$SRC/Makefile" ]; then
        rm -rf "$SRC"
        as_user mkdir -p "$SRC"
    fi
    mv "$list.new" "$list"
    tar -C "$ROOT" --null -T "$list" -cf - | as_user tar -C "$SRC" --no-same-owner -xf -
}

in_tree() {
    as_user make --no-print-directory -C "$SRC" \
        PG_CONFIG="$BIN/pg_config" COPT="$COPT" with_llvm=no "$@"
}

build() {
    say "building and installing into a private copy of PostgreSQL $PG${VARIANT:+ ($VARIANT)}"
    copy_postgres
    copy_tree
    logged build in_tree -s -j "$(nproc)" all
    logged install in_tree -s install
}

# build_injection: the libraries of test/injection/, installed beside the extension.
build_injection() {
    logged injection in_tree -s -C test/injection all install
}

# Servers ----------------------------------------------------------------------

# start_server NAME [SETTING...]: makes a fresh server and points PGHOST and the like at it.
start_server() {
    local name=$1 data=$HOME_PG/$1
    shift

    rm -rf "$data"
    logged "initdb-$name" as_user "$BIN/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-sync
    {
        cat "$ROOT/test/server.conf"
        printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$SOCKETS'" "$@"
    } | as_user tee -a "$data/postgresql.conf" > /dev/null
    SERVERS+=("$data")
    logged "start-$name" as_user "$BIN/pg_ctl" -w -D "$data" -l "$data.log" start
    export PGHOST=$SOCKETS PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    say "a private PostgreSQL $PG is running (data in $data, socket in $SOCKETS)"
}

stop_servers() {
    local data pid

    pid=$(cat "$HOME_PG/pgbouncer.pid" 2>/dev/null) || pid=
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pgbouncer ]; then
        kill "$pid"
    fi
    rm -f "$HOME_PG/pgbouncer.pid"
    for data in "${SERVERS[@]}"; do
        as_user "$BIN/pg_ctl" -D "$data" -m fast -w stop > /dev/null 2>&1 ||
            as_user "$BIN/pg_ctl" -D "$data" -m immediate -w stop > /dev/null 2>&1 || true
    done
    SERVERS=()
}

# start_bouncer: PgBouncer in transaction mode in front of the server, on port 6432.
start_bouncer() {
    local ini=$HOME_PG/pgbouncer.ini

    as_user tee "$ini" > /dev/null <<END
[databases]
* = host=$SOCKETS port=5432 user=postgres
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $SOCKETS
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 100
logfile = $HOME_PG/pgbouncer.log
pidfile = $HOME_PG/pgbouncer.pid
END
    logged pgbouncer as_user /usr/sbin/pgbouncer -q -d "$ini"
    say "PgBouncer is running in transaction mode (socket in $SOCKETS)"
}

psql_() {
    as_user "$BIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"
}

# set_up VERSION PACKAGE...: everything up to an installed extension; NN in a
# package's name stands for the version.
set_up() {
    local wanted=$1
    shift

    mkdir -p "$LOG"
    choose_version "$wanted"
    say "PostgreSQL $PG on $(. /etc/os-release && echo "$PRETTY_NAME")"
    require make gcc libc6-dev "postgresql-$PG" "postgresql-server-dev-$PG" \
        "postgresql-$PG-cron" "${@//NN/$PG}"
    trap close_work EXIT
    trap 'exit 130' INT TERM HUP
    open_work
    build
}
