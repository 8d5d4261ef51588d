-- Verifies that the tables of words in docs/cost.md say what the functions do:
-- 1. every word is a meter, a key and whole as the table says, and no more;
-- 2. what is missing is an error, one, or nothing, as the table says;
-- 3. parts are parts of what the table says;
-- 4. parameters and other names are known;
-- 5. many words in one request count as they do alone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never

\getenv abs_srcdir PG_ABS_SRCDIR
\set docs_file :abs_srcdir '/docs/cost.md'

BEGIN;

CREATE TEMP TABLE cell ON COMMIT DROP AS
SELECT i, regexp_split_to_array(trim(both '| ' from line), ' *\| *') AS c
FROM regexp_split_to_table(pg_read_file(:'docs_file'), E'\n') WITH ORDINALITY AS l (line, i)
WHERE line ~ '^\| `';
CREATE TEMP TABLE word ON COMMIT DROP AS
SELECT i, trim(c[1], '`') AS word, c[2] ~ 'key' AS is_key, c[2] ~ 'meter' AS is_meter, c[3] = 'whole' AS is_whole,
       NULLIF(trim(c[4], '`'), '') AS part_of, c[5] AS absent
FROM cell WHERE cardinality(c) = 6 AND c[2] ~ '^(key|meter)';
SELECT count(*) AS words FROM word;

-- Whether a statement of pricing is accepted: the key that its error names, or 'none'.
CREATE FUNCTION pg_temp.culprit(card jsonb, usage jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quota.set_rate_card('cost_words', card, '-infinity');
    IF usage IS NOT NULL THEN
        PERFORM quota.price('cost_words', usage);
    END IF;
    RETURN 'none';
EXCEPTION WHEN SQLSTATE 'XQ201' OR SQLSTATE 'XQ202' THEN
    RETURN substring(SQLERRM FROM '"([^"]*)"');
END
$$;
CREATE FUNCTION pg_temp.card(meters text[], rest jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT rest || jsonb_build_object('lines', (
        SELECT jsonb_agg(jsonb_build_object('meter', m, 'price', '1', 'required', false)) FROM unnest(meters) AS m))
$$;

-- 1. All of these are empty ---------------------------------------------------------------
SELECT word FROM word WHERE is_meter <> (pg_temp.culprit(pg_temp.card(ARRAY[word])) = 'none') ORDER BY i;
SELECT word FROM word
WHERE is_key <> (pg_temp.culprit(pg_temp.card('{requests}'), jsonb_build_object(word, 0)) = 'none') ORDER BY i;
SELECT word FROM word
WHERE is_key AND is_whole <> (pg_temp.culprit(pg_temp.card('{requests}'), jsonb_build_object(word, 1.5)) = word) ORDER BY i;

-- 2. A card of one meter, and of "requests", which are one, so that something is given --------
SELECT word, absent, culprit
FROM word, pg_temp.culprit(jsonb_build_object('lines', jsonb_build_array(
        jsonb_build_object('meter', word, 'price', '1'), jsonb_build_object('meter', 'requests', 'price', '1',
        'when', jsonb_build_object('style', NULL)))), '{}') AS culprit
WHERE is_meter AND word <> 'requests' AND (absent = 'error where priced') = (culprit = 'none')
ORDER BY i;
SELECT quota.set_rate_card('cost_words/one', '{"lines": [{"meter": "requests", "price": "1"}, {"meter": "images", "price": "10"}]}', '-infinity') > 0 AS set;
SELECT quota.price('cost_words/one', '{}') ->> 'cost_usd' AS "11";

-- 3. A part beyond its total, and the total alone ---------------------------------------------
SELECT word, culprit
FROM word, pg_temp.culprit(pg_temp.card(ARRAY[part_of, word]), jsonb_build_object('input_tokens', 9, 'output_tokens', 9, word, 10)) AS culprit
WHERE part_of IS NOT NULL AND culprit = 'none' ORDER BY i;

-- 4. Parameters and other names ---------------------------------------------------------------
SELECT trim(c[1], '`') AS parameter
FROM cell
WHERE cardinality(c) = 3 AND c[2] ~ '^`' AND i > (SELECT max(i) FROM word) AND i < (SELECT min(i) FROM cell WHERE c[1] = '`lines`' AND i > (SELECT max(i) FROM word))
  AND pg_temp.culprit(pg_temp.card('{requests}'), jsonb_build_object(trim(c[1], '`'), trim(c[2], '`'))) <> 'none';
SELECT a AS other_name
FROM cell, regexp_split_to_table(c[1], ', ') AS a
WHERE cardinality(c) = 2 AND c[2] ~ '^`' AND i > (SELECT max(i) FROM word)
  AND pg_temp.culprit(pg_temp.card('{requests}'), jsonb_build_object(trim(a, '`'), 1)) <> 'none';
SELECT count(*) FILTER (WHERE cardinality(c) = 3 AND c[2] ~ '^`') AS parameters,
       count(*) FILTER (WHERE cardinality(c) = 2 AND c[2] ~ '^`') AS rows_of_other_names
FROM cell WHERE i > (SELECT max(i) FROM word);

-- 5. All words at once, with values of every type between them; parts are 0 -------------------
SELECT pg_temp.culprit(pg_temp.card(array_agg(word))) AS culprit FROM word WHERE is_key AND is_meter;
SELECT (SELECT count(*) FROM jsonb_object_keys(usage)) AS words, count(*) AS lines, bool_and((l ->> 'quantity')::int = i) AS as_given
FROM (SELECT jsonb_object_agg(word, CASE WHEN part_of IS NULL THEN i ELSE 0 END)
             || '{"metadata": {"a": [1, "b", null]}, "style": "vivid", "audio": true, "speed": false, "steps": 20, "size": null}'
      FROM word WHERE is_key) AS u (usage),
     jsonb_array_elements(quota.price('cost_words', usage) -> 'lines') AS l JOIN word ON word = l ->> 'meter'
GROUP BY usage;

ROLLBACK;
