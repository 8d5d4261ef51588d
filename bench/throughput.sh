# throughput.sh: pairs of reserve and settle per second, each in a transaction of its own.
#
# floor   what the rows cost without any decision: a prepared INSERT, then a DELETE and
#         an INSERT in the next transaction, into tables like the extension's own
# piped   the same with that transaction sent at once, in as few round trips as the
#         extension needs
# naive   a counter row for each limit, updated under row locks (throughput/naive.sql)
# quota   this extension
#
# Each is measured on one hot company and on a thousand. They take turns within every
# round, so that whatever else the machine does meets them alike; each round gives one
# ratio, and the table shows medians with the least and the greatest ratio. Connections
# are warm, as a pool's are: the seconds in which the extension's connections meet each
# company for the first time are not counted.

ENGINES=(floor piped naive quota)

# measure ENGINE WORKLOAD CLIENTS: prints pairs per second.
measure() {
    local companies=1 warm=1 log=$LOG/bench.log

    [ "$2" = hot ] || companies=1000
    [ "$1" != quota ] || warm=$((1 + $3 * companies / 4000))
    psql_ -c CHECKPOINT
    as_user "$BIN/pgbench" -n -M prepared -c "$3" -j 2 -P 1 -T "$((warm + SECONDS_EACH))" \
        -D turn=0 -D companies="$companies" -D run="$RUN_NUMBER" "${ROW[@]}" \
        -f "$SRC/bench/throughput/$1.pgbench" postgres > "$log" 2>&1 ||
        { cat "$log" >&2 && fail "pgbench failed on $1"; }
    awk -v warm="$warm" '
        $1 == "progress:" && $2 > warm + 0.5 { sum += $4; n++ }
        END { print sum / n }' "$log"
}

# report FILE: medians of the lines "workload clients floor piped naive quota".
report() {
    awk '
    function median(values, n,    i, j, v)
    {
        for (i = 2; i <= n; i++) {
            v = values[i]
            for (j = i - 1; j > 0 && values[j] > v; j--)
                values[j + 1] = values[j]
            values[j + 1] = v
        }
        least = values[1]
        most = values[n]
        return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
    }
    function column(what,    i, v)
    {
        for (i = 1; i <= count[key]; i++)
            v[i] = measured[key, i, what]
        return median(v, count[key])
    }
    function ratio(what,    middle)
    {
        middle = column(what)
        printf " | %5.2f (%5.2f..%5.2f)", middle, least, most
    }
    {
        key = $1 " " $2
        if (!(key in count))
            order[++keys] = key
        i = ++count[key]
        measured[key, i, "floor"] = $3
        measured[key, i, "piped"] = $4
        measured[key, i, "naive"] = $5
        measured[key, i, "quota"] = $6
        measured[key, i, "of floor"] = $6 / $3
        measured[key, i, "of piped"] = $6 / $4
        measured[key, i, "of naive"] = $6 / $5
    }
    END {
        print "companies clients |  floor  piped  naive  quota | quota/floor (range) | quota/piped (range) | quota/naive (range)"
        for (k = 1; k <= keys; k++) {
            key = order[k]
            split(key, part, " ")
            printf "%9d %7d | %6.0f %6.0f %6.0f ", part[1] == "hot" ? 1 : 1000, part[2], column("floor"), column("piped"), column("naive")
            quota[key] = column("quota")
            printf "%6.0f", quota[key]
            ratio("of floor")
            ratio("of piped")
            ratio("of naive")
            print ""
        }
        print ""
        for (k = 1; k <= keys; k++) {
            split(order[k], part, " ")
            if (part[1] == "hot" && ("spread " part[2]) in quota)
                printf "quota on one company / on a thousand, %2d clients: %.2f\n", part[2], quota[order[k]] / quota["spread " part[2]]
        }
    }' "$1"
}

bench_throughput() {
    local workload clients round i engine results=$LOG/throughput.txt
    local -A tps

    say "a thousand companies, each with four limits"
    psql_ -f throughput/quota.sql -f throughput/floor.sql -f throughput/naive.sql > "$LOG/bench-setup.log"
    # What a row of the extension's holds, so that the floor's rows are as wide.
    mapfile -t ROW < <(psql_ -At -f throughput/row.sql)
    [ ${#ROW[@]} = 20 ] || fail "could not make a row to copy"
    sed 's/^BEGIN;/\\startpipeline/; s/^COMMIT;/\\endpipeline/' throughput/floor.pgbench |
        as_user tee "$SRC/bench/throughput/piped.pgbench" > /dev/null
    RUN_NUMBER=0
    : > "$results"

    say "$ROUNDS rounds of $SECONDS_EACH s, clients $CLIENTS"
    for workload in hot spread; do
        for clients in $CLIENTS; do
            for round in $(seq "$ROUNDS"); do
                for i in 0 1 2 3; do
                    engine=${ENGINES[(i + round) % 4]}
                    RUN_NUMBER=$((RUN_NUMBER + 1))
                    tps[$engine]=$(measure "$engine" "$workload" "$clients")
                done
                echo "$workload $clients ${tps[floor]} ${tps[piped]} ${tps[naive]} ${tps[quota]}" >> "$results"
            done
            say "$workload, $clients clients: done"
        done
    done
    echo
    report "$results"
}
