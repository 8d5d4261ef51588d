/*
 * escrow.pml
 *		A formal model of the escrow protocol, for spin.
 *
 * Backends run transactions of a few statements against tables, whose changes
 * show at commit, and counters in memory, whose changes show at once. A server
 * evicts counters, folds events and crashes, whenever it can. README.md maps
 * each transition to the C function that it stands for, states the invariants
 * and what is bounded.
 *
 * A transition is one d_step, guarded by where its backend is (pc): what the code
 * does under one lightweight lock, by one write or in one snapshot. A backend
 * that waits for a lock may also be cancelled, so a deadlock is an abort.
 *
 * Each guard of the protocol can be removed: -DNO_... With -DOUTCOMES only what a
 * user could notice is checked, and not how the protocol goes about it.
 */

#ifndef BACKENDS
#define BACKENDS 2
#endif
#ifndef STATEMENTS
#define STATEMENTS 4 /* of all transactions of all backends */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FOLDS
#define FOLDS 1
#endif
#ifndef CHARGE_MAX
#define CHARGE_MAX 1 /* a settlement charges from 0 to this; a hold is of 1 */
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#define HOLDS 2

#if BACKENDS == 2
#define SUM(of) (of(0) + of(1))
#define ALL(of) (of(0) && of(1))
#else
#define SUM(of) (of(0) + of(1) + of(2))
#define ALL(of) (of(0) && of(1) && of(2))
#endif

/* Invariants: numbers as in README.md. */
#define SAFETY 1
#define TRUTH 2
#define ONCE 3
#define PINNED 5
#define STILL 6

#define CHECK(invariant, holds)                                              \
	if                                                                       \
	:: (holds)                                                               \
	:: else ->                                                               \
		printf("invariant %d is broken\n", invariant);                       \
		assert(false)                                                        \
	fi

#ifdef OUTCOMES
#define CHECK_WORKING(invariant, holds) skip
#else
#define CHECK_WORKING(invariant, holds) CHECK(invariant, holds)
#endif

/* A -DPROBE asks whether the checker gets somewhere: there it must fail. */
#define PROBE_REPEAT 11
#define PROBE_SECOND_LOOK 12
#define PROBE_REUSE 13
#define PROBE_CRASH 14
#define PROBE_FOLD 15
#ifdef PROBE
#define REACHES(place, here)                                                 \
	if                                                                       \
	:: PROBE == place && (here) ->                                           \
		printf("invariant %d is broken\n", place);                           \
		assert(false)                                                        \
	:: else                                                                  \
	fi
#else
#define REACHES(place, here) skip
#endif

/* Tables -------------------------------------------------------------------- */

#define FREE 0
#define OPEN 1
#define CLOSED 2

/* Committed: the holds, and the event of each hold that is closed. */
byte hold[HOLDS];
bit keyed[HOLDS];     /* made under the idempotency key; with its row of quota.keys */
byte charged[HOLDS];  /* of the event */
byte xid[HOLDS];      /* of the event */
byte rollup;
byte mark;            /* events below it are in the roll-up */
bit definition;       /* rows count in counter 0 or in counter 1 */

/* Written and not committed: by whom (a backend's number and 1). */
byte made_by[HOLDS];
byte closed_by[HOLDS];
byte row_lock[HOLDS];
byte defined_by;

byte next_xid = 1;

/* Memory -------------------------------------------------------------------- */

/* Counters 0 and 1, and the private one of each backend. */
#define COUNTERS (2 + BACKENDS)

bit present[COUNTERS];
bit loaded[COUNTERS];
bit stale[COUNTERS];  /* of an older epoch */
short value[COUNTERS];

/* Locks and backends -------------------------------------------------------- */

#define SHARED 1
#define EXCLUSIVE 2

byte root_mode[BACKENDS];
byte key_lock;
byte load_lock;

/* Where a backend is. Up to RECORD it can still be cancelled. */
#define IDLE 0       /* no transaction */
#define READY 1      /* between statements */
#define FIND_KEY 2
#define LOCK_ROW 3
#define PIN 4
#define LOCK_LOAD 5
#define LOOK 6
#define SNAPSHOT 7
#define READ_TAIL 8  /* only without one snapshot per load */
#define READ_HOLDS 9
#define PUBLISH 10
#define CLAIM 11
#define WRITE 12
#define RECORD 13
#define COMMIT 14
#define CALLBACK 15
#define BUMP 16
#define UNDO 17
#define UNLOCK 18

#define RESERVE 0
#define RESERVE_KEY 1
#define CLOSE 2
#define LOOK_UP 3  /* check() */

byte pc[BACKENDS];
bit begun[BACKENDS];
byte doing[BACKENDS];
byte target[BACKENDS];   /* the hold to be closed or made */
byte charge[BACKENDS];
byte counter[BACKENDS];  /* of the operation */
byte computed[BACKENDS]; /* by a load */
byte own_xid[BACKENDS];
bit changed[BACKENDS];   /* the definitions; then they are as own_definition says */
bit own_definition[BACKENDS];

/* Pending effects, by backend and counter; column 2 is the private one. */
bit pinned[3 * BACKENDS];
bit loading[3 * BACKENDS];
short applied[3 * BACKENDS];
byte giveback[3 * BACKENDS]; /* what is deferred, negated */

#ifdef NO_LATEST_SNAPSHOT
byte first_tables[BACKENDS];
#endif
#ifdef NO_LATEST_DEFINITIONS
bit first_definition[BACKENDS];
#endif

byte statements;
byte folds;
byte crashes;
bit folding;
byte fold_sum;
byte fold_mark;

#define EFFECT(p, c) (3 * (p) + ((c) >= 2 -> 2 : (c)))
#define COUNTER counter[p]
#define OWN_EFFECT EFFECT(p, counter[p])
#define HOLD target[p]

/* What counts --------------------------------------------------------------- */

#define EVENT(h) ((hold[h] == CLOSED && xid[h] >= mark) -> charged[h] : 0)
#define EVENT_BELOW(h, end) (xid[h] < (end) -> EVENT(h) : 0)
#define ROW(h) (hold[h] == OPEN -> 1 : EVENT(h))
#define TABLES (rollup + ROW(0) + ROW(1))

/* As a backend sees it, its own rows included. */
#define OWN_ROW(h, p) \
	(closed_by[h] == (p) + 1 -> charged[h] : (made_by[h] == (p) + 1 -> 1 : ROW(h)))
#define VIEW(p) (rollup + OWN_ROW(0, p) + OWN_ROW(1, p))

#define OWN_EVENT(h, p) (closed_by[h] == (p) + 1 -> charged[h] : EVENT(h))
#define OWN_HOLD(h, p) (OWN_ROW(h, p) - OWN_EVENT(h, p))

/* Invariant 1: used and held, whatever of it will be committed. */
#define INCREASE(p) (VIEW(p) > TABLES -> VIEW(p) - TABLES : 0)
#define ABOVE(h) (charged[h] > 1 -> charged[h] - 1 : 0)
#define IS_SAFE (TABLES + SUM(INCREASE) <= LIMIT + ABOVE(0) + ABOVE(1))

/* Invariant 2: at rest, and while others are at work. */
#define IS_IDLE(p) (pc[p] == IDLE)
#define IS_TRUE_AT_REST(c) (!loaded[c] || stale[c] || value[c] == TABLES)
#define IN_FLIGHT_0(p) (pc[p] == CALLBACK -> giveback[3 * p] : applied[3 * p])
#define IN_FLIGHT_1(p) (pc[p] == CALLBACK -> giveback[3 * p + 1] : applied[3 * p + 1])
#define IS_TRUE(p, c) \
	(value[c] == ((c) >= 2 -> VIEW(p) + giveback[3 * (p) + 2] : \
		TABLES + ((c) == 0 -> SUM(IN_FLIGHT_0) : SUM(IN_FLIGHT_1))))

#define KEY_ROW(h) (keyed[h] && hold[h] != FREE)
#define KEY_IS_COMMITTED (KEY_ROW(0) || KEY_ROW(1))
#define KEY_ROW_BY(h, p) (keyed[h] && made_by[h] == (p) + 1)
#define KEY_IS_OWN(p) (KEY_ROW_BY(0, p) || KEY_ROW_BY(1, p))
#define KEY_ROW_BY_OTHER(h, p) (keyed[h] && made_by[h] != 0 && made_by[h] != (p) + 1)
#define KEY_IS_IN_FLIGHT(p) (KEY_ROW_BY_OTHER(0, p) || KEY_ROW_BY_OTHER(1, p))

/* Invariant 3. */
#define IS_ONCE (!(KEY_ROW(0) && KEY_ROW(1)))

/* Locks --------------------------------------------------------------------- */

#define NOT_EXCLUSIVE(q) (q == p || root_mode[q] != EXCLUSIVE)
#define NOT_LOCKED(q) (q == p || root_mode[q] == 0)
#define MAY_SHARE_ROOT ALL(NOT_EXCLUSIVE)
#define MAY_OWN_ROOT ALL(NOT_LOCKED)
#define NOT_OPERATING(q) (q == p || (!pinned[3 * q] && !pinned[3 * q + 1] && !pinned[3 * q + 2]))

#ifdef NO_LOCK_FOR_OWN_DEFINITIONS
#define OWNS_ROOT(p) (root_mode[p] == EXCLUSIVE)
#else
#define OWNS_ROOT(p) (changed[p] || root_mode[p] == EXCLUSIVE)
#endif
#ifdef NO_SHARED_LOCK_FOR_LOADS
#define MAY_LOOK_UP(p) (!changed[p] || MAY_OWN_ROOT)
#else
#define MAY_LOOK_UP(p) MAY_ENTER(p)
#endif
#define ROOT_MODE(p) (OWNS_ROOT(p) -> EXCLUSIVE : SHARED)
#define MAY_ENTER(p) (OWNS_ROOT(p) -> MAY_OWN_ROOT : MAY_SHARE_ROOT)

#ifdef NO_LOCK_AT_PRECOMMIT
#define MAY_COMMIT(p) true
#else
#define MAY_COMMIT(p) (!changed[p] || MAY_OWN_ROOT)
#endif

#ifdef NO_LATEST_DEFINITIONS
#define PUBLIC_DEFINITION(p) first_definition[p]
#else
#define PUBLIC_DEFINITION(p) definition
#endif
#define DEFINITION(p) (changed[p] -> own_definition[p] : PUBLIC_DEFINITION(p))

#ifdef NO_PRIVATE_COUNTERS
#define CHOSEN(p) DEFINITION(p)
#else
#define CHOSEN(p) (changed[p] -> 2 + p : DEFINITION(p))
#endif

#ifdef NO_PIN
#define PINS(c) false
#else
#define PINS_0(q) pinned[3 * q]
#define PINS_1(q) pinned[3 * q + 1]
#define PINS(c) ((c) == 0 -> SUM(PINS_0) != 0 : ((c) == 1 -> SUM(PINS_1) != 0 : true))
#endif
#define IS_READY(c) (loaded[c] && (!stale[c] || PINS(c)))

#ifdef NO_SECOND_LOOK
#define LOOKS_AGAIN false
#else
#define LOOKS_AGAIN true
#endif

/* Parts of transitions ------------------------------------------------------ */

inline forget_effects(e)
{
	pinned[e] = 0;
	loading[e] = 0;
	applied[e] = 0;
	giveback[e] = 0
}

inline remove_counter(n)
{
	present[n] = 0;
	loaded[n] = 0;
	stale[n] = 0;
	value[n] = 0
}

inline renew_private_counter(p)
{
	remove_counter(2 + p);
	forget_effects(3 * p + 2)
}

inline assign_xid(p)
{
	if
	:: own_xid[p] == 0 ->
		own_xid[p] = next_xid;
		next_xid++
	:: else
	fi
}

inline drop_row(p, h)
{
	if
	:: made_by[h] == p + 1 ->
		made_by[h] = 0;
		keyed[h] = 0
	:: else
	fi;
	if
	:: closed_by[h] == p + 1 ->
		closed_by[h] = 0;
		charged[h] = 0;
		xid[h] = 0
	:: else
	fi;
	row_lock[h] = (row_lock[h] == p + 1 -> 0 : row_lock[h])
}

inline drop_rows(p)
{
	drop_row(p, 0);
	drop_row(p, 1);
	defined_by = (defined_by == p + 1 -> 0 : defined_by);
	own_xid[p] = 0
}

inline show_row(p, h)
{
	hold[h] = (closed_by[h] == p + 1 -> CLOSED : (made_by[h] == p + 1 -> OPEN : hold[h]));
	made_by[h] = (made_by[h] == p + 1 -> 0 : made_by[h]);
	closed_by[h] = (closed_by[h] == p + 1 -> 0 : closed_by[h]);
	row_lock[h] = (row_lock[h] == p + 1 -> 0 : row_lock[h])
}

inline show_rows(p)
{
	show_row(p, 0);
	show_row(p, 1);
	definition = (changed[p] -> own_definition[p] : definition);
	defined_by = (defined_by == p + 1 -> 0 : defined_by);
	own_xid[p] = 0
}

inline end_statement(p)
{
	pc[p] = READY;
	doing[p] = 0;
	target[p] = 0;
	charge[p] = 0;
	counter[p] = 0;
	computed[p] = 0
}

inline end_transaction(p)
{
	end_statement(p);
	pc[p] = IDLE;
	changed[p] = 0;
	own_definition[p] = 0;
	root_mode[p] = 0;
	key_lock = (key_lock == p + 1 -> 0 : key_lock);
	load_lock = (load_lock == p + 1 -> 0 : load_lock)
#ifdef NO_LATEST_SNAPSHOT
	; first_tables[p] = 0
#endif
#ifdef NO_LATEST_DEFINITIONS
	; first_definition[p] = 0
#endif
}

inline begin(p)
{
#ifdef NO_LATEST_SNAPSHOT
	first_tables[p] = (pc[p] == IDLE -> TABLES : first_tables[p]);
#endif
#ifdef NO_LATEST_DEFINITIONS
	first_definition[p] = (pc[p] == IDLE -> definition : first_definition[p]);
#endif
	begun[p] = 1
}

inline begin_statement(p)
{
	begin(p);
	statements++
}

/* The root's lock, and then the definitions: which counter the row counts in. */
inline enter_root(p, what, next)
{
	begin_statement(p);
	doing[p] = what;
#ifdef NO_SHARED_LOCK_FOR_LOADS
	if
	:: what == LOOK_UP && !changed[p]
	:: else -> root_mode[p] = ROOT_MODE(p)
	fi;
#else
	root_mode[p] = ROOT_MODE(p);
#endif
	COUNTER = CHOSEN(p);
	pc[p] = next
}

/* What comes after the counter is pinned and loaded. */
inline after_pin(p)
{
	computed[p] = 0;
#ifdef NO_PIN_BEFORE_WRITE
	pc[p] = (doing[p] == CLOSE -> RECORD : CLAIM)
#else
	pc[p] = (doing[p] == CLOSE -> WRITE : CLAIM)
#endif
}

inline commit_effect(p, c)
{
	value[c] = value[c] - (present[c] -> giveback[3 * p + c] : 0);
	forget_effects(3 * p + c)
}

inline commit_effects(p)
{
	commit_effect(p, 0);
	commit_effect(p, 1);
	renew_private_counter(p)
}

inline publish_definitions(p)
{
#ifndef NO_EPOCH
	if
	:: changed[p] ->
		stale[0] = present[0];
		stale[1] = present[1]
	:: else
	fi
#else
	skip
#endif
}

inline undo_effect(p, c)
{
	if
	:: loading[3 * p + c] -> remove_counter(c)
	:: else -> value[c] = value[c] - (present[c] -> applied[3 * p + c] : 0)
	fi;
	forget_effects(3 * p + c)
}

inline undo_effects(p)
{
	undo_effect(p, 0);
	undo_effect(p, 1);
	renew_private_counter(p)
}

/* The backend --------------------------------------------------------------- */

/* Backends are alike: those that have not begun begin in order. */
#define MAY_BEGIN(p) \
	((pc[p] == IDLE || pc[p] == READY) && statements < STATEMENTS && (p == 0 || begun[p - 1]))
#define MAY_RESERVE(p) \
	(MAY_BEGIN(p) && MAY_ENTER(p) && hold[HOLDS - 1] == FREE && !made_by[HOLDS - 1])
#define MAY_CLOSE(p, h) (MAY_BEGIN(p) && MAY_ENTER(p) && (hold[h] != FREE || made_by[h]))

/* release() and settle() */
#define CLOSINGS(p, h) \
	:: d_step { MAY_CLOSE(p, h) -> \
		enter_root(p, CLOSE, LOCK_ROW); \
		HOLD = h; \
		printf("%d: release() of hold %d enters the root\n", p, h) } \
	:: d_step { MAY_CLOSE(p, h) -> \
		enter_root(p, CLOSE, LOCK_ROW); \
		HOLD = h; \
		charge[p] = CHARGE_MAX; \
		printf("%d: settle() of hold %d enters the root\n", p, h) }

#ifdef NO_KEYS_BEFORE_COUNTERS
#define FIRST_STEP_WITH_KEY PIN
#else
#define FIRST_STEP_WITH_KEY FIND_KEY
#endif

proctype Backend(byte p)
{
end:
	do
#if defined(NO_LATEST_SNAPSHOT) || defined(NO_LATEST_DEFINITIONS)
	/* Else nothing depends on the transaction's own snapshot. */
	:: d_step { pc[p] == IDLE && MAY_BEGIN(p) ->
		begin(p);
		pc[p] = READY;
		printf("%d: begins with a query, which takes a snapshot\n", p) }
#endif

	/* Statements, up to where the definitions stand still */
	:: d_step { MAY_RESERVE(p) ->
		enter_root(p, RESERVE, PIN);
		printf("%d: reserve() enters the root\n", p) }
	:: d_step { MAY_RESERVE(p) ->
		enter_root(p, RESERVE_KEY, FIRST_STEP_WITH_KEY);
		printf("%d: reserve() with the key enters the root\n", p) }
	CLOSINGS(p, 0)
	CLOSINGS(p, 1)
	:: d_step { MAY_BEGIN(p) && MAY_LOOK_UP(p) ->
		enter_root(p, LOOK_UP, PIN);
		printf("%d: check() enters the root\n", p) }
	:: d_step { MAY_BEGIN(p) && (defined_by == 0 || defined_by == p + 1) ->
		begin_statement(p);
		defined_by = p + 1;
		own_definition[p] = (changed[p] -> !own_definition[p] : !definition);
		changed[p] = 1;
		renew_private_counter(p);
		pc[p] = READY;
		printf("%d: changes what is counted: counter %d\n", p, own_definition[p]) }

	/* Keys and holds */
#ifdef NO_KEY_LOCK
	:: d_step { pc[p] == FIND_KEY ->
#else
	:: d_step { pc[p] == FIND_KEY && (key_lock == 0 || key_lock == p + 1) ->
		key_lock = p + 1;
#endif
		if
		:: KEY_IS_COMMITTED || KEY_IS_OWN(p) ->
			printf("%d: repeats the first answer\n", p);
			REACHES(PROBE_REPEAT, KEY_IS_COMMITTED);
			end_statement(p)
		:: else ->
			printf("%d: finds no key\n", p);
#ifdef NO_KEYS_BEFORE_COUNTERS
			pc[p] = WRITE
#else
			pc[p] = PIN
#endif
		fi }
#ifdef NO_ROW_LOCK
	:: d_step { pc[p] == LOCK_ROW ->
#else
	:: d_step { pc[p] == LOCK_ROW &&
			(made_by[target[p]] == 0 || made_by[target[p]] == p + 1) &&
			(closed_by[target[p]] == 0 || closed_by[target[p]] == p + 1) &&
			(row_lock[target[p]] == 0 || row_lock[target[p]] == p + 1) ->
#endif
		if
		:: closed_by[target[p]] != p + 1 &&
				(hold[target[p]] == OPEN || made_by[target[p]] == p + 1) ->
			printf("%d: finds the hold open\n", p);
#ifndef NO_ROW_LOCK
			row_lock[target[p]] = p + 1;
#endif
#ifdef NO_PIN_BEFORE_WRITE
			pc[p] = WRITE
#else
			pc[p] = PIN
#endif
		:: else ->
			printf("%d: finds the hold closed, or no hold\n", p);
			end_statement(p)
		fi }

	/* Counters */
	:: d_step { pc[p] == PIN ->
#ifdef NO_WAIT_FOR_LOADS
		if
		:: IS_READY(COUNTER) || (present[COUNTER] && !loaded[COUNTER]) ->
#else
		if
		:: IS_READY(COUNTER) ->
#endif
			printf("%d: pins counter %d\n", p, COUNTER);
			pinned[OWN_EFFECT] = 1;
			after_pin(p)
		:: else ->
			printf("%d: does not find counter %d\n", p, COUNTER);
			pc[p] = LOCK_LOAD
		fi }
	:: d_step { pc[p] == LOCK_LOAD && load_lock == 0 ->
		printf("%d: takes the load lock\n", p);
		load_lock = p + 1;
#ifdef NO_SNAPSHOT_AFTER_LOADING
		pc[p] = SNAPSHOT
#else
		pc[p] = LOOK
#endif
		}
	:: d_step { pc[p] == LOOK ->
		if
		:: LOOKS_AGAIN && IS_READY(COUNTER) ->
			printf("%d: finds counter %d at a second look\n", p, COUNTER);
			REACHES(PROBE_SECOND_LOOK, true);
			load_lock = 0;
			pinned[OWN_EFFECT] = 1;
			after_pin(p)
		:: else ->
			printf("%d: reserves counter %d\n", p, COUNTER);
			present[COUNTER] = 1;
			loaded[COUNTER] = 0;
			stale[COUNTER] = 0;
			value[COUNTER] = 0;
			pinned[OWN_EFFECT] = 1;
			loading[OWN_EFFECT] = 1;
#ifdef NO_SNAPSHOT_AFTER_LOADING
			pc[p] = PUBLISH
#else
			pc[p] = SNAPSHOT
#endif
		fi }
	:: d_step { pc[p] == SNAPSHOT ->
#ifdef NO_ONE_SNAPSHOT
		computed[p] = rollup;
		pc[p] = READ_TAIL;
		printf("%d: reads the roll-up: %d\n", p, computed[p])
#else
#ifdef NO_LATEST_SNAPSHOT
		computed[p] = first_tables[p] + VIEW(p) - TABLES;
#else
		computed[p] = VIEW(p);
#endif
#ifdef NO_SNAPSHOT_AFTER_LOADING
		pc[p] = LOOK;
#else
		pc[p] = PUBLISH;
#endif
		printf("%d: computes %d from the tables\n", p, computed[p])
#endif
		}
#ifdef NO_ONE_SNAPSHOT
	:: d_step { pc[p] == READ_TAIL ->
		computed[p] = computed[p] + OWN_EVENT(0, p) + OWN_EVENT(1, p);
		pc[p] = READ_HOLDS;
		printf("%d: and the tail: %d\n", p, computed[p]) }
	:: d_step { pc[p] == READ_HOLDS ->
		computed[p] = computed[p] + OWN_HOLD(0, p) + OWN_HOLD(1, p);
		pc[p] = PUBLISH;
		printf("%d: and the holds: %d\n", p, computed[p]) }
#endif
	:: d_step { pc[p] == PUBLISH ->
		printf("%d: publishes counter %d: %d\n", p, COUNTER, computed[p]);
		value[COUNTER] = computed[p];
		loaded[COUNTER] = present[COUNTER];
		loading[OWN_EFFECT] = 0;
		load_lock = 0;
		after_pin(p) }
	:: d_step { pc[p] == CLAIM ->
		CHECK_WORKING(TRUTH, IS_TRUE(p, COUNTER));
		if
		:: doing[p] == LOOK_UP ->
			printf("%d: reads counter %d: %d\n", p, COUNTER, value[COUNTER]);
			end_statement(p)
		:: doing[p] != LOOK_UP && value[COUNTER] - giveback[OWN_EFFECT] + 1 > LIMIT ->
			printf("%d: is refused, counter %d is at %d\n", p, COUNTER, value[COUNTER]);
			CHECK(ONCE, doing[p] == RESERVE || !KEY_IS_COMMITTED);
			end_statement(p)
		:: else ->
			printf("%d: claims on counter %d, which was at %d\n", p, COUNTER, value[COUNTER]);
			if
			:: giveback[OWN_EFFECT] > 0 ->
				giveback[OWN_EFFECT]--;
				REACHES(PROBE_REUSE, true)
			:: else ->
				applied[OWN_EFFECT] = applied[OWN_EFFECT] + 1;
				value[COUNTER] = value[COUNTER] + 1
			fi;
#ifdef NO_KEYS_BEFORE_COUNTERS
			pc[p] = (doing[p] == RESERVE_KEY -> FIND_KEY : WRITE)
#else
			pc[p] = WRITE
#endif
		fi }

	/* Rows. The key of quota.keys is unique, and of two deletes one fails. */
	:: d_step { pc[p] == WRITE && doing[p] != CLOSE &&
			!(doing[p] == RESERVE_KEY && KEY_IS_IN_FLIGHT(p)) ->
		CHECK_WORKING(PINNED, pinned[OWN_EFFECT]);
		CHECK_WORKING(STILL, COUNTER == CHOSEN(p));
		CHECK(ONCE, doing[p] == RESERVE || !KEY_IS_COMMITTED);
		HOLD = ((hold[0] == FREE && !made_by[0]) -> 0 : 1);
		if
		:: hold[HOLD] == FREE && !made_by[HOLD] ->
			printf("%d: writes hold %d\n", p, HOLD);
			assign_xid(p);
			made_by[HOLD] = p + 1;
			keyed[HOLD] = (doing[p] == RESERVE_KEY);
			CHECK(SAFETY, IS_SAFE);
			end_statement(p)
		:: else -> pc[p] = UNDO /* beyond what is modelled */
		fi }
	:: d_step { pc[p] == WRITE && doing[p] == CLOSE &&
			(closed_by[HOLD] == 0 || closed_by[HOLD] == p + 1) ->
#ifndef NO_PIN_BEFORE_WRITE
		CHECK_WORKING(PINNED, pinned[OWN_EFFECT]);
#endif
		CHECK_WORKING(STILL, COUNTER == CHOSEN(p));
		CHECK(ONCE, hold[HOLD] != CLOSED);
		printf("%d: deletes hold %d and writes its event\n", p, HOLD);
		assign_xid(p);
		closed_by[HOLD] = p + 1;
		charged[HOLD] = charge[p];
		xid[HOLD] = own_xid[p];
		CHECK(SAFETY, IS_SAFE);
#ifdef NO_PIN_BEFORE_WRITE
		pc[p] = PIN
#else
		pc[p] = RECORD
#endif
		}
	:: d_step { pc[p] == RECORD ->
		printf("%d: records %d on counter %d, which is at %d\n", p, charge[p], COUNTER,
			value[COUNTER]);
		if
		:: charge[p] > 1 ->
			applied[OWN_EFFECT] = applied[OWN_EFFECT] + charge[p] - 1;
			value[COUNTER] = value[COUNTER] + charge[p] - 1
		:: charge[p] == 1
		:: else ->
#ifdef NO_DEFERRED_DECREASES
			applied[OWN_EFFECT] = applied[OWN_EFFECT] - 1;
			value[COUNTER] = value[COUNTER] - 1
#else
			giveback[OWN_EFFECT]++
#endif
		fi;
		end_statement(p) }

	/* The end: commit in three steps, or abort in three. */
	:: d_step { pc[p] == READY && changed[p] && MAY_COMMIT(p) ->
#ifndef NO_LOCK_AT_PRECOMMIT
		root_mode[p] = EXCLUSIVE;
#endif
		printf("%d: locks the root exclusively, to commit\n", p);
		pc[p] = COMMIT }
#ifdef NO_CALLBACK_AFTER_VISIBILITY
	:: d_step { pc[p] == COMMIT || pc[p] == READY && !changed[p] ->
		printf("%d: callback of the commit\n", p);
		commit_effects(p);
		publish_definitions(p);
		pc[p] = CALLBACK }
	:: d_step { pc[p] == CALLBACK ->
		show_rows(p);
		printf("%d: rows are visible\n", p);
		CHECK(SAFETY, IS_SAFE);
		pc[p] = UNLOCK }
#else
	:: d_step { pc[p] == COMMIT || (pc[p] == READY && !changed[p]) ->
		CHECK_WORKING(STILL, !changed[p] || ALL(NOT_OPERATING));
		show_rows(p);
#ifdef NO_UNPIN_AFTER_CALLBACK
		pinned[3 * p] = 0;
		pinned[3 * p + 1] = 0;
#endif
		printf("%d: commits, rows are visible\n", p);
		CHECK(SAFETY, IS_SAFE);
		CHECK(ONCE, IS_ONCE);
		pc[p] = CALLBACK }
	:: d_step { pc[p] == CALLBACK ->
		printf("%d: callback of the commit\n", p);
		commit_effects(p);
		pc[p] = (changed[p] -> BUMP : UNLOCK) }
	:: d_step { pc[p] == BUMP ->
		printf("%d: the root has a new epoch\n", p);
		publish_definitions(p);
		pc[p] = UNLOCK }
#endif
	:: d_step { pc[p] >= READY && pc[p] <= RECORD ->
		printf("%d: aborts\n", p);
		drop_rows(p);
		pc[p] = UNDO }
	:: d_step { pc[p] == UNDO ->
		printf("%d: callback of the abort\n", p);
		drop_rows(p);
		undo_effects(p);
		pc[p] = UNLOCK }
	:: d_step { pc[p] == UNLOCK ->
		printf("%d: unlocks\n", p);
		end_transaction(p);
		CHECK(TRUTH, !ALL(IS_IDLE) || IS_TRUE_AT_REST(definition));
		CHECK_WORKING(TRUTH, !ALL(IS_IDLE) || (IS_TRUE_AT_REST(0) && IS_TRUE_AT_REST(1))) }
	od
}

/* The server ---------------------------------------------------------------- */

#define XMIN(p) (own_xid[p] == 0 -> next_xid : own_xid[p])
#define LESS(a, b) ((a) < (b) -> (a) : (b))
#if BACKENDS == 2
#define HORIZON LESS(XMIN(0), XMIN(1))
#else
#define HORIZON LESS(XMIN(0), LESS(XMIN(1), XMIN(2)))
#endif

inline lose_backend(p)
{
	drop_rows(p);
	forget_effects(3 * p);
	forget_effects(3 * p + 1);
	renew_private_counter(p);
	end_transaction(p)
}

proctype Server()
{
end:
	do
	:: d_step { present[0] && !PINS(0) ->
		printf("counter 0 is evicted\n");
		remove_counter(0) }
	:: d_step { present[1] && !PINS(1) ->
		printf("counter 1 is evicted\n");
		remove_counter(1) }
	:: d_step { !folding && folds < FOLDS && (EVENT(0) + EVENT(1) > 0) ->
		printf("a fold reads the tail\n");
		folds++;
		folding = 1;
#ifdef NO_FOLD_HORIZON
		fold_mark = next_xid;
#else
		fold_mark = HORIZON;
#endif
		fold_sum = EVENT_BELOW(0, fold_mark) + EVENT_BELOW(1, fold_mark) }
	:: d_step { folding ->
		printf("the fold commits: %d below %d\n", fold_sum, fold_mark);
		REACHES(PROBE_FOLD, pc[0] == PUBLISH);
		rollup = rollup + fold_sum;
		mark = (fold_mark > mark -> fold_mark : mark);
		folding = 0;
		fold_sum = 0;
		fold_mark = 0 }
	:: d_step { crashes < CRASHES ->
		printf("the server crashes and recovers\n");
		REACHES(PROBE_CRASH, pc[0] == CALLBACK && made_by[1] != 0);
		crashes++;
		lose_backend(0);
		lose_backend(1);
#if BACKENDS == 3
		lose_backend(2);
#endif
		remove_counter(0);
		remove_counter(1);
		folding = 0;
		fold_sum = 0;
		fold_mark = 0;
		CHECK(SAFETY, IS_SAFE);
		CHECK(ONCE, IS_ONCE) }
	od
}

init
{
	atomic {
		/* Memory is empty, as at the start of a server; a hold may be open. */
		if
		:: true
		:: hold[0] = OPEN
		fi;
		run Backend(0);
		run Backend(1);
#if BACKENDS == 3
		run Backend(2);
#endif
		run Server()
	}
}
