-- How far a replay is.
SELECT format('   %s of %s answered, %s refused', count(*), :'last', count(*) FILTER (WHERE NOT allowed))
FROM demo.answers
WHERE pass = :pass;
