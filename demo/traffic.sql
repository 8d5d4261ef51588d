-- Whose requests the trace's are: who asks, in which project, for which model, and
-- how each one ends. Plain SQL over plain tables: the replay and the recount read it.
--
-- The trace is production traffic of two services (data/README.md): per request its
-- input tokens and the tokens generated.

CREATE SCHEMA demo;

CREATE TABLE demo.trace (
    line             integer GENERATED ALWAYS AS IDENTITY,
    arrived_at       text,
    context_tokens   integer,
    generated_tokens integer
);

\copy demo.trace (arrived_at, context_tokens, generated_tokens) FROM 'data/azure_llm_2023_conversation.csv' (FORMAT csv, HEADER)
SELECT max(line) AS conversations FROM demo.trace \gset
\copy demo.trace (arrived_at, context_tokens, generated_tokens) FROM 'data/azure_llm_2023_code.csv' (FORMAT csv, HEADER)

-- Each service's requests are dealt out in rounds; a share is one seat of a round.
CREATE TABLE demo.seats (
    service    text,
    seat       integer,
    root       text,
    project_id text,
    user_id    text,
    model      text,
    PRIMARY KEY (service, seat)
);
INSERT INTO demo.seats VALUES
    ('conversation',  0, 'company:acme',     'apollo',   'ann',    'gpt-4o-mini'),
    ('conversation',  1, 'company:acme',     'apollo',   'ann',    'gpt-4o'),
    ('conversation',  2, 'company:acme',     'apollo',   'bob',    'gpt-4o-mini'),
    ('conversation',  3, 'company:acme',     'apollo',   'bob',    'gpt-4o'),
    ('conversation',  4, 'company:acme',     'hermes',   'cleo',   'deepseek-v4-pro'),
    ('conversation',  5, 'company:globex',   'helpdesk', 'gus',    'claude-haiku-4-5'),
    ('conversation',  6, 'company:globex',   'helpdesk', 'gus',    'claude-haiku-4-5'),
    ('conversation',  7, 'company:globex',   'helpdesk', 'hana',   'claude-haiku-4-5'),
    ('conversation',  8, 'company:globex',   'helpdesk', 'hana',   'gemini-2.5-flash'),
    ('conversation',  9, 'company:umbrella', 'genome',   'ivy',    'gpt-4o'),
    ('conversation', 10, 'company:umbrella', 'genome',   'ivy',    'databricks/databricks-claude-sonnet-4-5'),
    ('conversation', 11, 'company:umbrella', 'genome',   'jon',    'o3-mini'),
    ('conversation', 12, 'company:initech',  'tps',      'milton', 'gemini-2.5-flash'),
    ('conversation', 13, 'company:initech',  'tps',      'peter',  'gemini-2.5-flash'),
    ('conversation', 14, 'company:initech',  'tps',      'peter',  'gemini-2.0-flash-lite'),
    ('conversation', 15, 'company:acme',     'hermes',   'ann',    'mistral/mistral-small-latest'),
    ('conversation', 16, 'company:acme',     'hermes',   'bob',    'deepseek-chat'),
    ('conversation', 17, 'user:dora',        'user:dora/project:diary', 'dora', 'gpt-4.1-mini'),
    ('conversation', 18, 'user:dora',        'user:dora/project:diary', 'dora', 'gpt-4.1-mini'),
    ('conversation', 19, 'user:emil',        'user:emil/project:novel', 'emil', 'claude-sonnet-4-5'),
    ('code',          0, 'company:acme',     'compiler', 'ann',    'mistral/codestral-latest'),
    ('code',          1, 'company:acme',     'compiler', 'ann',    'mistral/codestral-latest'),
    ('code',          2, 'company:acme',     'compiler', 'carl',   'gpt-4.1'),
    ('code',          3, 'company:acme',     'compiler', 'carl',   'gpt-4.1'),
    ('code',          4, 'company:globex',   'ide',      'gus',    'gpt-4.1'),
    ('code',          5, 'company:globex',   'ide',      'hana',   'gpt-4.1-mini'),
    ('code',          6, 'company:globex',   'ide',      'hana',   'mistral/codestral-latest'),
    ('code',          7, 'company:umbrella', 'lint',     'jon',    'o3-mini'),
    ('code',          8, 'company:umbrella', 'lint',     'jon',    'gpt-4.1-mini'),
    ('code',          9, 'user:emil',        'user:emil/project:novel', 'emil', 'groq/openai/gpt-oss-20b');

-- One request in 47 fails at the provider and is released; of one in 199 nobody ever
-- hears again: it expires. The rest are settled with what was generated.
CREATE TABLE demo.requests AS
SELECT t.line AS n, s.root, s.project_id, s.user_id, s.model,
       t.context_tokens, t.generated_tokens,
       CASE s.service WHEN 'conversation' THEN 1000 ELSE 2000 END AS max_output_tokens,
       CASE WHEN t.line % 199 = 150 THEN 'lost'
            WHEN t.line % 47 = 17 THEN 'failed'
            ELSE 'settled'
       END AS fate
FROM demo.trace AS t
JOIN demo.seats AS s
  ON (s.service, s.seat) = (CASE WHEN t.line <= :conversations THEN 'conversation' ELSE 'code' END,
                            t.line % CASE WHEN t.line <= :conversations THEN 20 ELSE 10 END);
ALTER TABLE demo.requests ADD PRIMARY KEY (n);
ANALYZE demo.requests;
