# cost.sh: nanoseconds to price a request, bare and as the whole document of estimate().
#
# cost       from the request, a jsonb, to the credits that a hold takes
# estimate   quota.estimate(): the ceiling, the expected and each line, as jsonb
#
# The rivals are PL/pgSQL over a table of rates made for the question, and SQL over rate
# cards as jsonb (cost/rivals.sql). All give the same answers, which is checked first, and
# all are called in a loop in C, so that no client, no protocol and no executor
# around them counts: the functions through the function manager, the SQL as a
# statement that stays prepared, with a generic plan.

bench_cost() {
    local rounds=$((3 * ROUNDS)) scale=$((2 * SECONDS_EACH)) round

    logged bench-cost-build in_tree -s -C bench/cost all install
    say "the real price map, and the same prices for the rivals"
    PRICE_MAP=$SRC/data/litellm_prices.json psql_ -f cost/setup.sql -f cost/rivals.sql -f cost/measure.sql \
        > "$LOG/bench-cost-setup.log"
    say "$rounds rounds"
    for round in $(seq "$rounds"); do
        psql_ -c "CALL bench.measure($round, $scale)"
    done
    echo
    psql_ -P border=1 -P footer=off -c 'TABLE bench.report'
}
