# throughput.sh: pairs of reserve and settle per second, each in a transaction of its own.
#
# floor   what the rows cost without any decision: a prepared INSERT, then a DELETE and
#         an INSERT in the next transaction, into tables like the extension's own
# piped   the same with that transaction sent at once, in as few round trips as the
#         extension needs
# naive   a counter row for each limit, updated under row locks (throughput/naive.sql)
# quota   this extension
#
# Each is measured on one hot company and on a thousand. All take turns within every
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

# report FILE: medians of the lines "round clients workload floor piped naive quota".
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
    function speed(workload, clients, engine,    i, v)
    {
        for (i = 1; i <= rounds; i++)
            v[i] = measured[i, clients, workload, engine]
        return median(v, rounds)
    }
    function ratio(workload, clients, engine,    i, v, middle)
    {
        for (i = 1; i <= rounds; i++)
            v[i] = measured[i, clients, workload, "quota"] / measured[i, clients, workload, engine]
        middle = median(v, rounds)
        return sprintf("%5.2f (%5.2f..%5.2f)", middle, least, most)
    }
    function hot_to_spread(clients,    i, v, middle)
    {
        for (i = 1; i <= rounds; i++)
            v[i] = measured[i, clients, "hot", "quota"] / measured[i, clients, "spread", "quota"]
        middle = median(v, rounds)
        return sprintf("%5.2f (%5.2f..%5.2f)", middle, least, most)
    }
    {
        rounds = $1
        if (!seen[$2]++)
            clients[++kinds] = $2
        measured[$1, $2, $3, "floor"] = $4
        measured[$1, $2, $3, "piped"] = $5
        measured[$1, $2, $3, "naive"] = $6
        measured[$1, $2, $3, "quota"] = $7
    }
    END {
        print "companies clients |  floor  piped  naive  quota | quota/floor (range) | quota/piped (range) | quota/naive (range)"
        split("hot spread", workload, " ")
        for (w = 1; w <= 2; w++)
            for (k = 1; k <= kinds; k++)
                printf "%9d %7d | %6.0f %6.0f %6.0f %6.0f | %s | %s | %s\n", w == 1 ? 1 : 1000, clients[k],
                       speed(workload[w], clients[k], "floor"), speed(workload[w], clients[k], "piped"),
                       speed(workload[w], clients[k], "naive"), speed(workload[w], clients[k], "quota"),
                       ratio(workload[w], clients[k], "floor"), ratio(workload[w], clients[k], "piped"),
                       ratio(workload[w], clients[k], "naive")
        print ""
        print "          clients | quota on one company / on a thousand"
        for (k = 1; k <= kinds; k++)
            printf "%17d | %s\n", clients[k], hot_to_spread(clients[k])
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
    for clients in $CLIENTS; do
        for round in $(seq "$ROUNDS"); do
            for workload in hot spread; do
                for i in 0 1 2 3; do
                    engine=${ENGINES[(i + round) % 4]}
                    RUN_NUMBER=$((RUN_NUMBER + 1))
                    tps[$engine]=$(measure "$engine" "$workload" "$clients")
                done
                echo "$round $clients $workload ${tps[floor]} ${tps[piped]} ${tps[naive]} ${tps[quota]}" >> "$results"
            done
        done
        say "$clients clients: done"
    done
    echo
    report "$results"
}
