-- A row when the schema is there already.
SELECT version FROM schema_version WHERE version >= 2 LIMIT 1;
