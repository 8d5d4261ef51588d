-- Verifies that:
-- 1. settle, release and extend do to an open, settled, released or expired hold what the table says:
--        settle:  settles, replays, charges late once, charges late once
--        release: releases, XQ101, replays, replays
--        extend:  extends, XQ101, XQ102, holds anew or is refused;
-- 2. what was used is recorded in full, also above the hold and above the limit, and flagged;
-- 3. outcome unknown keeps the hold, and the other outcomes close it;
-- 4. use is priced by the rate card of the time of the hold, whatever came after;
-- 5. limits that change between hold and settlement count both;
-- 6. charge and adjust record facts, once for each key;
-- 7. the ledger has a row for each closing, late charge, charge and adjustment, and none for a replay.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.card('clo-a');
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY[
    'company:clo_acme', 'company:clo_acme/project:clo_apollo', 'company:clo_late', 'company:clo_late/project:clo_late']) AS s;
SELECT quota.put_member('company:clo_acme', 'clo_ann'), quota.put_member('company:clo_late', 'clo_ann');
SELECT count(quota.set_limit(s::quota.scope, 'credit', 100)) AS limits FROM unnest(ARRAY[
    'company:clo_acme', 'company:clo_acme/user:clo_ann', 'company:clo_late']) AS s;

-- Holds so many credits, under a label.
CREATE FUNCTION pg_temp.hold(label text, credits numeric, ttl interval DEFAULT '15 minutes') RETURNS text
LANGUAGE sql AS $$
    SELECT pg_temp.keep(label, quota.reserve('clo_ann', 'clo_apollo', 'clo-a',
        jsonb_build_object('input_tokens', 1000 * credits, 'max_output_tokens', 0), ttl => ttl))
$$;
-- Usage that costs so many credits.
CREATE FUNCTION pg_temp.used(credits numeric) RETURNS jsonb
LANGUAGE sql AS $$ SELECT jsonb_build_object('input_tokens', 1000 * credits, 'output_tokens', 0) $$;
-- What the ledger says of a hold.
CREATE FUNCTION pg_temp.events(VARIADIC labels text[])
RETURNS TABLE (label text, seq smallint, kind text, outcome text, held text, charged text, cost_usd numeric, held_at time, recorded_at time, reason text)
LANGUAGE sql AS $$
    SELECT k.label, e.seq, e.kind, e.outcome, e.held::text, e.charged::text, e.cost_usd, e.held_at::time, e.recorded_at::time, e.reason
    FROM pg_temp.kept k JOIN quota.events e ON e.hold_id = (k.document ->> 'hold_id')::uuid
    WHERE k.label = ANY (labels) ORDER BY k.label COLLATE "C", e.seq
$$;

-- 1. Open ---------------------------------------------------------------------------------------

SELECT pg_temp.hold('less', 10), pg_temp.hold('same', 10), pg_temp.hold('more', 10), pg_temp.hold('none', 10), pg_temp.hold('released', 10), pg_temp.hold('expired', 10, '1 minute');
SELECT scope, used, held FROM pg_temp.counters('company:clo_acme');
SET xavier_quota.clock = '2026-03-10 12:01:30+00';
SELECT pg_temp.brief(quota.settle(pg_temp.id('less'), pg_temp.used(9.5))), pg_temp.brief(quota.settle(pg_temp.id('same'), pg_temp.used(10))),
       pg_temp.brief(quota.settle(pg_temp.id('more'), pg_temp.used(12.5))), pg_temp.brief(quota.settle(pg_temp.id('none'), pg_temp.used(0), 'failed')),
       pg_temp.brief(quota.release(pg_temp.id('released'), 'never started'));
SELECT quota._run_step('expire', a.root_id, a.scope) AS expired FROM quota.accounts a WHERE a.scope = 'company:clo_acme';
SELECT scope, used, held FROM pg_temp.counters('company:clo_acme');
SELECT * FROM pg_temp.events('less', 'same', 'more', 'none', 'released', 'expired');
-- Open and closed, as quota.hold() tells it.
SELECT pg_temp.hold('open', 1);
SELECT label, h ->> 'state' AS state, pg_temp.amount(h -> 'held') AS held, h ->> 'held_at' AS held_at, h ->> 'expires_at' AS expires_at, h -> 'request' AS request,
       pg_temp.brief(nullif(h -> 'receipt', 'null')) AS receipt
    FROM pg_temp.kept, quota.hold((document ->> 'hold_id')::uuid) AS h ORDER BY label COLLATE "C";
-- A receipt in full, and the same again from the ledger.
SELECT pg_temp.masked(quota.settle(pg_temp.id('open'), '{"input_tokens": 1000, "output_tokens": 250}'));
SELECT pg_temp.masked(quota.hold(pg_temp.id('open')) -> 'receipt');

-- 2. Settled ------------------------------------------------------------------------------------

-- The first receipt, whatever is said now; what differs is flagged.
SELECT pg_temp.brief(quota.settle(pg_temp.id('more'), pg_temp.used(12.5))), pg_temp.brief(quota.settle(pg_temp.id('more'), pg_temp.used(1))),
       pg_temp.brief(quota.settle_amount(pg_temp.id('more'), 'credit=1')), pg_temp.brief(quota.settle(pg_temp.id('more'), pg_temp.used(1), 'unknown'));
SELECT r.* FROM pg_temp.refused($$SELECT quota.release(pg_temp.id('more'))$$) AS r;  -- fails
SELECT r.* FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('more'), ttl => '1 hour')$$) AS r;  -- fails
SELECT scope, used, held FROM pg_temp.counters('company:clo_acme');

-- 3. Released -----------------------------------------------------------------------------------

SELECT pg_temp.brief(quota.release(pg_temp.id('released'), 'again')), quota.release(pg_temp.id('released'), 'again') ->> 'reason' AS reason;
SELECT r.* FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('released'), ttl => '1 hour')$$) AS r;  -- fails
SELECT pg_temp.brief(quota.settle(pg_temp.id('released'), pg_temp.used(3), 'unknown'));
-- A late charge, once; from then on the hold is settled.
SELECT pg_temp.brief(quota.settle(pg_temp.id('released'), pg_temp.used(3)));
SELECT pg_temp.brief(quota.settle(pg_temp.id('released'), pg_temp.used(3))), pg_temp.brief(quota.settle(pg_temp.id('released'), pg_temp.used(4)));
SELECT r.* FROM pg_temp.refused($$SELECT quota.release(pg_temp.id('released'))$$) AS r;  -- fails
SELECT r.* FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('released'), ttl => '1 hour')$$) AS r;  -- fails
SELECT * FROM pg_temp.events('released');
SELECT scope, used, held FROM pg_temp.counters('company:clo_acme');

-- 4. Expired ------------------------------------------------------------------------------------

SELECT pg_temp.brief(quota.release(pg_temp.id('expired'), 'too late'));
-- Held anew under its id, which closes like any other.
SELECT pg_temp.brief(quota.extend(pg_temp.id('expired'), ttl => '2 minutes'));
SELECT quota.hold(pg_temp.id('expired')) ->> 'state' AS state, quota.hold(pg_temp.id('expired')) ->> 'expires_at' AS expires_at;
SELECT scope, used, held FROM pg_temp.counters('company:clo_acme');
SET xavier_quota.clock = '2026-03-10 12:03:30+00';
SELECT quota._run_step('expire', a.root_id, a.scope) AS expired FROM quota.accounts a WHERE a.scope = 'company:clo_acme';
SELECT pg_temp.brief(quota.extend(pg_temp.id('expired'), '{"input_tokens": 20000, "max_output_tokens": 0}'));
SELECT quota.hold(pg_temp.id('expired')) ->> 'expires_at' AS expires_at;
SELECT pg_temp.brief(quota.settle(pg_temp.id('expired'), pg_temp.used(15)));
SELECT pg_temp.brief(quota.settle(pg_temp.id('expired'), pg_temp.used(15)));
SELECT * FROM pg_temp.events('expired');
-- Refused, when others have taken what it had given back: 51.5 are used.
SELECT used FROM pg_temp.counters('company:clo_acme') WHERE scope = 'company:clo_acme';
SELECT pg_temp.hold('gone', 30, '1 second');
SET xavier_quota.clock = '2026-03-10 12:03:31+00';
SELECT quota._run_step('expire', a.root_id, a.scope) AS expired FROM quota.accounts a WHERE a.scope = 'company:clo_acme';
SELECT pg_temp.hold('other', 20);
SELECT pg_temp.keep('refused', quota.extend(pg_temp.id('gone'), ttl => '1 hour'));
-- It would count in the period in which it was first held: to wait for the next one does not help.
SELECT document ->> 'message' AS message, document -> 'retry_at' AS retry_at, document -> 'hold_id' <> 'null' AS hold, document -> 'expires_at' AS expires_at FROM pg_temp.kept WHERE label = 'refused';
SELECT scope, held, requested, passed, short FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'refused';
-- It is still expired: what it has used is charged late, once.
SELECT pg_temp.brief(quota.release(pg_temp.id('gone'))), pg_temp.brief(quota.settle(pg_temp.id('gone'), pg_temp.used(25)));
SELECT pg_temp.brief(quota.settle(pg_temp.id('gone'), pg_temp.used(25))), pg_temp.brief(quota.settle(pg_temp.id('gone'), pg_temp.used(24)));
SELECT r.* FROM pg_temp.refused($$SELECT quota.release(pg_temp.id('gone'))$$) AS r;  -- fails
SELECT r.* FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('gone'), ttl => '1 hour')$$) AS r;  -- fails
SELECT * FROM pg_temp.events('gone');
SELECT scope, used, held, remaining FROM pg_temp.counters('company:clo_acme');
SELECT pg_temp.brief(quota.release(pg_temp.id('other')));

-- 5. Extending an open hold ---------------------------------------------------------------------

SELECT count(quota.set_limit(s::quota.scope, 'credit', 110)) AS limits FROM unnest(ARRAY['company:clo_acme', 'company:clo_acme/user:clo_ann']) AS s;
SELECT pg_temp.hold('grows', 5);
-- 76.5 of 110 are used, 33.5 are left for it; longer, more, not less, not too much.
SELECT pg_temp.brief(quota.extend(pg_temp.id('grows'), ttl => '1 hour')), quota.hold(pg_temp.id('grows')) ->> 'expires_at' AS expires_at;
SELECT pg_temp.brief(quota.extend(pg_temp.id('grows'), ttl => '1 minute')), quota.hold(pg_temp.id('grows')) ->> 'expires_at' AS expires_at;
SELECT pg_temp.keep('grown', quota.extend(pg_temp.id('grows'), '{"input_tokens": 12000, "max_output_tokens": 0}'));
SELECT scope, held, requested, remaining, after, passed FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'grown';
SELECT pg_temp.brief(quota.extend(pg_temp.id('grows'), '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT pg_temp.keep('refused', quota.extend(pg_temp.id('grows'), '{"input_tokens": 33501, "max_output_tokens": 0}', '2 hours'));
SELECT scope, held, requested, remaining, after, passed, short FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'refused';
SELECT quota.hold(pg_temp.id('grows')) ->> 'state' AS state, pg_temp.amount(quota.hold(pg_temp.id('grows')) -> 'held') AS held, quota.hold(pg_temp.id('grows')) ->> 'expires_at' AS expires_at;
SELECT pg_temp.brief(quota.extend(pg_temp.id('grows'), '{"input_tokens": 33500, "max_output_tokens": 0}', '2 hours'));
-- The hold has been granted: neither a lock-out nor a model rule takes it back.
SELECT quota.put_member('company:clo_acme', 'clo_ann', false), quota.deny_model('company:clo_acme', 'clo-a');
SELECT pg_temp.brief(quota.extend(pg_temp.id('grows'), ttl => '3 hours')), pg_temp.brief(quota.settle(pg_temp.id('grows'), pg_temp.used(2.75)));
SELECT quota.put_member('company:clo_acme', 'clo_ann'), quota.drop_model_rule('company:clo_acme', 'clo-a');
SELECT * FROM pg_temp.events('grows');
-- An amount cannot grow by a request, nor be settled by usage.
SELECT pg_temp.keep('amount', quota.reserve_amount('clo_ann', 'clo_apollo', 'credit=1'));
SELECT r.* FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('amount'), '{"input_tokens": 1, "max_output_tokens": 0}')$$) AS r;  -- fails
SELECT r.* FROM pg_temp.refused($$SELECT quota.settle(pg_temp.id('amount'), '{"input_tokens": 1, "output_tokens": 0}')$$) AS r;  -- fails
SELECT r.code, r.message FROM unnest(ARRAY['0', '8 days']) AS ttl, pg_temp.refused(format($$SELECT quota.extend(pg_temp.id('amount'), ttl => %L)$$, ttl)) AS r;  -- fails
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('amount'), 'credit=0.5,storage=2'));

-- 6. Above the limit ----------------------------------------------------------------------------

SELECT pg_temp.keep('v', quota.reserve_amount('clo_ann', 'clo_late', 'credit=100'));
SELECT pg_temp.keep('r', quota.settle_amount(pg_temp.id('v'), 'credit=130'));
SELECT scope, "limit", used, held, requested, remaining, exceeded FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'r';
SELECT pg_temp.brief(quota.check_amount('clo_ann', 'clo_late', 'credit=0.000001'));
SELECT pg_temp.brief(quota.adjust('company:clo_late', 'credit=-130', 'refund'));

-- 7. Outcomes -----------------------------------------------------------------------------------

SELECT pg_temp.keep('u', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10')), pg_temp.keep('long', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10', ttl => '1 day')),
       pg_temp.keep('failed', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10')), pg_temp.keep('cancelled', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10'));
-- Unknown: nothing is charged, and all is held for an hour at least.
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('u'), 'credit=99', 'unknown')), pg_temp.brief(quota.settle_amount(pg_temp.id('long'), '', 'unknown'));
SELECT label, quota.hold(pg_temp.id(label)) ->> 'state' AS state, quota.hold(pg_temp.id(label)) ->> 'expires_at' AS expires_at FROM unnest(ARRAY['u', 'long']) AS label;
SELECT used, held FROM pg_temp.counters('company:clo_late');
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('u'), 'credit=4')), pg_temp.brief(quota.settle_amount(pg_temp.id('failed'), 'credit=1', 'failed')),
       pg_temp.brief(quota.settle_amount(pg_temp.id('cancelled'), 'credit=2', outcome => 'cancelled')), pg_temp.brief(quota.release(pg_temp.id('long')));
SELECT r.* FROM pg_temp.refused($$SELECT quota.settle_amount(pg_temp.id('u'), 'credit=1', 'lost')$$) AS r;  -- fails
SELECT used, held FROM pg_temp.counters('company:clo_late');
SELECT * FROM pg_temp.events('u', 'long', 'failed', 'cancelled');

-- 8. Rate cards ---------------------------------------------------------------------------------

SELECT pg_temp.keep('before', quota.reserve('clo_ann', 'clo_late', 'clo-a', '{"input_tokens": 1000, "max_output_tokens": 1000}'));
SET xavier_quota.clock = '2026-03-10 12:05+00';
SELECT quota.set_rate_card('clo-a', '{"lines": [{"meter": "input_tokens", "price": "0.0001"}, {"meter": "output_tokens", "price": "0.0002"}]}') IS NOT NULL AS ten_times;
SELECT pg_temp.keep('after', quota.reserve('clo_ann', 'clo_late', 'clo-a', '{"input_tokens": 1000, "max_output_tokens": 1000}'));
-- The hold before: 1 + 2 credits, its extension and its settlement by the same prices.
SELECT pg_temp.brief(quota.extend(pg_temp.id('before'), '{"input_tokens": 1000, "max_output_tokens": 2000}'));
SELECT pg_temp.brief(quota.settle(pg_temp.id('before'), '{"input_tokens": 1000, "output_tokens": 1500}')), pg_temp.brief(quota.release(pg_temp.id('after')));
SELECT pg_temp.brief(quota.settle(pg_temp.id('before'), '{"input_tokens": 1000, "output_tokens": 1500}'));
-- Usage that cannot be priced closes nothing.
SELECT pg_temp.keep('odd', quota.reserve('clo_ann', 'clo_late', 'clo-a', '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT r.code, r.message FROM unnest(ARRAY['{}', '{"input_tokens": -1, "output_tokens": 0}', '{"input_tokens": 1, "output_tokens": 0, "no_such_key": 1}', '[1]', '"all"']) WITH ORDINALITY AS u (usage, n),
    pg_temp.refused(format($$SELECT quota.settle(pg_temp.id('odd'), %L)$$, u.usage)) AS r ORDER BY u.n;  -- fails
SELECT quota.hold(pg_temp.id('odd')) ->> 'state' AS state;
SELECT pg_temp.brief(quota.release(pg_temp.id('odd')));

-- 9. Limits that change between hold and settlement ---------------------------------------------

SELECT pg_temp.keep('h', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10'));
SELECT quota.set_limit('company:clo_late/project:clo_late', 'credit', 200, 'day') AS new_limit \gset
SELECT scope, period_start, "limit", used, held FROM pg_temp.counters('company:clo_late');
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('h'), 'credit=8'));
SELECT scope, period_start, "limit", used, held FROM pg_temp.counters('company:clo_late');
SELECT pg_temp.keep('h', quota.reserve_amount('clo_ann', 'clo_late', 'credit=10'));
SELECT quota.drop_limit(:new_limit);
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('h'), 'credit=9'));
SELECT scope, period_start, "limit", used, held FROM pg_temp.counters('company:clo_late');
SELECT quota.set_limit('company:clo_late/project:clo_late', 'credit', 200, 'day') > :new_limit AS new_limit;
SELECT scope, period_start, "limit", used, held FROM pg_temp.counters('company:clo_late');

-- 10. Charges and adjustments -------------------------------------------------------------------

-- Use that was never held is recorded, whatever the limits and the access say.
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:clo_fact', 'company:clo_fact/project:clo_fact']) AS s;
SELECT count(quota.set_limit('company:clo_fact', 'credit', 1)) + count(quota.set_limit('company:clo_fact/user:clo_ann', 'credit', 100)) AS limits;
SELECT quota.put_account('company:clo_fact/project:clo_fact', false) IS NOT NULL AS inactive;
SELECT pg_temp.keep('c', quota.charge('clo_ann', 'clo_fact', 'clo-a', '{"input_tokens": 100, "output_tokens": 100}', 'c1'));
SELECT scope, "limit", used, requested, remaining, exceeded FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'c';
SELECT pg_temp.keep('c again', quota.charge('clo_ann', 'clo_fact', 'clo-a', '{"output_tokens": 100, "input_tokens": 100}', idempotency_key => 'c1'));
SELECT pg_temp.id('c') = pg_temp.id('c again') AS same;
SELECT pg_temp.brief(quota.charge('clo_ann', 'clo_fact', 'clo-a', '{"input_tokens": 100, "output_tokens": 101}', 'c1'));  -- fails
SELECT pg_temp.brief(quota.reserve('clo_ann', 'clo_fact', 'clo-a', '{"input_tokens": 100, "max_output_tokens": 100}', 'c1'));  -- fails
-- A charge can be looked up and settled again like a hold that is settled.
SELECT quota.hold(pg_temp.id('c')) ->> 'state' AS state;
SELECT pg_temp.brief(quota.settle(pg_temp.id('c'), '{"input_tokens": 1, "output_tokens": 1}'));
SELECT r.* FROM pg_temp.refused($$SELECT quota.release(pg_temp.id('c'))$$) AS r;  -- fails
-- Up, down, and below nothing; of an account, or of somebody's share in it.
SELECT pg_temp.keep('a', quota.adjust('company:clo_fact', 'credit=0.5,calls=1', 'forgotten', 'a1'));
SELECT pg_temp.keep('a again', quota.adjust('company:clo_fact', 'calls=1,credit=0.500000', 'forgotten', idempotency_key => 'a1'));
SELECT pg_temp.id('a') = pg_temp.id('a again') AS same;
SELECT pg_temp.brief(quota.adjust('company:clo_fact', 'credit=0.5', 'forgotten', 'a1'));  -- fails
SELECT pg_temp.brief(quota.adjust('company:clo_fact', 'credit=0.5,calls=1', 'remembered', 'a1'));  -- fails
SELECT pg_temp.brief(quota.adjust('company:clo_fact/user:clo_ann', 'credit=-4', 'refund'));
SELECT scope, "limit", used, remaining FROM pg_temp.counters('company:clo_fact');
SELECT pg_temp.brief(quota.adjust('company:clo_fact/project:clo_fact', '', 'nothing'));
SELECT * FROM pg_temp.events('c', 'a');

-- 11. What was never held -------------------------------------------------------------------------

SELECT r.* FROM unnest(ARRAY['quota.settle(%L, %L)', 'quota.settle_amount(%L, %L::text::quota.amount)', 'quota.release(%L, %L)', 'quota.extend(%L, %L)', 'quota.hold(%L)']) WITH ORDINALITY AS c (call, n),
    pg_temp.refused('SELECT ' || format(replace(c.call, '%L::text::quota.amount', '''credit=1'''), '00000000-0000-8000-8000-000000000000', '{"input_tokens": 1}')) AS r ORDER BY c.n;  -- fails
SELECT r.code, r.message FROM pg_temp.refused($$SELECT quota.settle(gen_random_uuid(), '{}')$$) AS r;  -- fails

SELECT v.* FROM unnest(ARRAY['company:clo_acme', 'company:clo_late', 'company:clo_fact']) AS root, quota.verify(root::quota.scope) AS v;
SELECT quota.reload('company:clo_acme'), quota.reload('company:clo_late'), quota.reload('company:clo_fact');
SELECT scope, period_start, "limit", used, held FROM unnest(ARRAY['company:clo_acme', 'company:clo_late', 'company:clo_fact']) AS root, pg_temp.counters(root::quota.scope);
