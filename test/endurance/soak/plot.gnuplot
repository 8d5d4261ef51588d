# The samples of a soak as small pictures of one width. Given: table, picture, rate, and
# held and free, between which the transaction elsewhere was open (seconds).

set terminal pngcairo size 1500, 1060 font 'sans,11' background '#ffffff'
set output picture
set datafile separator tab
set datafile columnheaders

set multiplot layout 3, 3 title sprintf("Soak: %d requests a second; shaded: a transaction elsewhere keeps its snapshot open", rate) \
    font 'sans,14' margins 0.055, 0.985, 0.065, 0.89 spacing 0.06, 0.125

set border 3 linecolor '#666666'
set tics nomirror textcolor '#333333'
set grid ytics linecolor '#dddddd' linewidth 1
set xlabel 'minutes' offset 0, 0.6
set title font 'sans,12' offset 0, 0.6
set key at graph 0.5, 1.085 center horizontal maxrows 1 samplen 1.5 font 'sans,10'
set yrange [0:*]
set format y '%.10g'
set object 1 rectangle from held / 60.0, graph 0 to free / 60.0, graph 1 behind fillcolor '#f3e3c3' fillstyle solid noborder

set style line 1 linecolor '#1f5fa8' linewidth 1.6
set style line 2 linecolor '#c2571a' linewidth 1.6
set style line 3 linecolor '#4d8c3b' linewidth 1.6
set style data lines

set title 'Calls that write a row, a second'
unset key
plot table using (column('seconds') / 60):'calls_per_second' linestyle 1

set title 'Latency of reserve + settle (ms)'
set key
set logscale y
set yrange [*:*]
plot table using (column('seconds') / 60):'latency_ms_999' linestyle 2 title '99.9 %', \
     table using (column('seconds') / 60):'latency_ms_99' linestyle 3 title '99 %', \
     table using (column('seconds') / 60):'latency_ms_50' linestyle 1 title '50 %'
unset logscale y
set yrange [0:*]

set title 'Memory of one backend (MB)'
plot table using (column('seconds') / 60):(column('backend_bytes_max') / 1e6) linestyle 2 title 'most', \
     table using (column('seconds') / 60):(column('backend_bytes_median') / 1e6) linestyle 1 title 'median', \
     table using (column('seconds') / 60):(column('context_bytes') / 1e6) linestyle 3 title 'contexts'

set title 'Open holds'
unset key
plot table using (column('seconds') / 60):'open_holds' linestyle 1

set title 'quota.holds (MB)'
set key
plot table using (column('seconds') / 60):(column('holds_bytes') / 1e6) linestyle 1 title 'table', \
     table using (column('seconds') / 60):(column('holds_index_bytes') / 1e6) linestyle 2 title 'index'

set title 'quota.keys (MB)'
plot table using (column('seconds') / 60):(column('keys_bytes') / 1e6) linestyle 1 title 'table', \
     table using (column('seconds') / 60):(column('keys_index_bytes') / 1e6) linestyle 2 title 'index'

set title 'Rows that wait for upkeep (thousands)'
plot table using (column('seconds') / 60):(column('unfolded_events') / 1e3) linestyle 1 title 'events to fold', \
     table using (column('seconds') / 60):(column('holds_dead') / 1e3) linestyle 2 title 'dead holds'

set title 'WAL for each of these calls (bytes)'
unset key
plot table using (column('seconds') / 60):(column('wal_bytes') / column('rows_written')) linestyle 1

set title 'Counters in shared memory'
set key
plot table using (column('seconds') / 60):'counters' linestyle 1 title 'counters', \
     table using (column('seconds') / 60):'pinned' linestyle 2 title 'pinned', \
     table using (column('seconds') / 60):'evictions' linestyle 3 title 'evicted'
unset multiplot
