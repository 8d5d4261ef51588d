#!/bin/bash
# Verifies that the sessions in README.md are true: what is typed at the prompts
# "quota=#" and "quota-#" prints what stands below it.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
typed=$(mktemp) shown=$(mktemp) printed=$(mktemp)
trap 'rm -f "$typed" "$shown" "$printed"' EXIT

awk -v typed="$typed" -v shown="$shown" '
    /^```/ { session = !session && /^```psql$/; next }
    session && /^quota[=-]# / { print substr($0, 9) > typed; next }
    session { print > shown }' README.md

psql -X -q -d postgres -c 'CREATE DATABASE quota' &&
    psql -X -d quota < "$typed" > "$printed" 2>&1
echo 1..1
if diff -B -Z "$shown" "$printed" | sed 's/^/# /' | grep .; then
    echo not ok 1 - README.md shows what happens
    exit 1
fi
echo ok 1 - README.md shows what happens
