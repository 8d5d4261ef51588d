-- A real hold and the event that closes it, as options of pgbench: one word per line.

SELECT quota.reserve('u1', 'p1', 'bench-model', '{"input_tokens": 1200, "max_output_tokens": 1024}') ->> 'hold_id' AS hold_id \gset
SELECT unnest(ARRAY['-D', 'root_id=' || root_id, '-D', 'levels=' || levels::text, '-D', 'scope=' || scope::text,
                    '-D', 'held=' || amount::text, '-D', 'card_id=' || card_id, '-D', 'request=' || request::text])
FROM quota.holds
WHERE hold_id = :'hold_id';

SELECT quota.settle(:'hold_id', '{"input_tokens": 1200, "output_tokens": 300}') IS NULL AS settled \gset
SELECT unnest(ARRAY['-D', 'charged=' || charged::text, '-D', 'cost_usd=' || cost_usd, '-D', 'usage=' || usage::text,
                    '-D', 'origin=' || origin])
FROM quota.events
WHERE hold_id = :'hold_id';
