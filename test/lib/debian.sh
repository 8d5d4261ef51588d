# debian.sh: the same command in another Debian release. Sourced by setup.sh.
#
# Each release has one or two versions of PostgreSQL. Where the machine has no package of the
# version asked for, the release that has it is unpacked into .run/debian-NAME, once, by
# debootstrap from the machine's own mirror, and the command runs there: as root, in mount,
# process and IPC namespaces of its own, on a copy of the checkout. The network is the machine's,
# and so are apt's settings. Removing the folder is all it takes to undo it.

RELEASES="
    15 bookworm
    17 trixie
    18 forky
"

# run_in_release VERSION: ends the script with what the same command says in that release.
run_in_release() {
    local release root status=0

    release=$(awk -v version="$1" '$1 == version { print $2 }' <<< "$RELEASES")
    if [ -z "$release" ] || [ "$release" = "$(. /etc/os-release && echo "${VERSION_CODENAME-}")" ]; then
        fail "apt knows no package postgresql-$1, and no other Debian release has it:" \
            "add a source of packages that does"
    fi
    root=$RUN/debian-$release
    exec 8> "$root.lock"
    flock -n 8 || fail "another run is under way in $root"
    [ -e "$root/ready" ] || make_release "$release" "$root"
    enter_release "$root" || status=$?
    rm -rf "$LOG/pg$1"
    cp -r "$root/srv/checkout/.run/log" "$LOG/pg$1" 2>/dev/null || true
    exit "$status"
}

# make_release NAME DIRECTORY
make_release() {
    local release=$1 root=$2 mirror proxy= script=/usr/share/debootstrap/scripts/$1

    require debootstrap
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        'Origin: Debian' 'Label: Debian' | head -n 1)
    [ -n "$mirror" ] || fail "apt has no mirror of Debian to take $release from: add one to its sources"
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    # A release younger than the machine's debootstrap is made as the one under development.
    [ -e "$script" ] || script=${script%/*}/sid
    say "unpacking Debian $release into $root: a minute or two, once"
    as_root rm -rf "$root"
    logged "debian-$release" as_root env http_proxy="${http_proxy-$proxy}" \
        debootstrap --variant=minbase "$release" "$root" "$mirror" "$script"
    apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|Languages)' |
        grep -v '[Aa]uto-\?[Dd]etect' | as_root tee "$root/etc/apt/apt.conf.d/99machine" > /dev/null
    if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
        as_root mkdir -p "$root/etc/ssl/certs"
        as_root cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
    as_root touch "$root/ready"
}

# enter_release DIRECTORY: runs the command there; returns its status.
enter_release() {
    local root=$1 script
    local checkout=$root/srv/checkout

    script=$(realpath --relative-to="$ROOT" "$0")
    as_root mkdir -p "$checkout"
    as_root find "$checkout" -mindepth 1 -maxdepth 1 ! -name .run -exec rm -rf {} +
    tree_files | tar -C "$ROOT" --null -T - -cf - | as_root tar -C "$checkout" --no-same-owner -xf -
    as_root cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    as_root unshare --mount --pid --ipc --fork --kill-child bash -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" /usr/bin/env -i HOME=/root \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            "TERM=${TERM-dumb}" "http_proxy=${http_proxy-}" "https_proxy=${https_proxy-}" \
            bash "$@"' namespace "$root" "/srv/checkout/$script" "${ARGUMENTS[@]}" 8>&-
}
