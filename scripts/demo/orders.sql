-- Orders of the past, so that a migration has something to do. Runs in the schema of release 1.0.
INSERT INTO orders (number, customer_name, amount, state, created_at, created_by, processed_by)
WITH digits (d) AS (
  SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
  UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
), past (seq) AS (
  SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d
  FROM digits a, digits b, digits c, digits d, digits e, digits f WHERE f.d < 2
)
SELECT
  CONCAT('past-', LPAD(seq, 7, '0')),
  CONCAT(ELT(1 + seq % 7, 'Ada', 'Grace', 'Edsger', 'Barbara', 'Alan', 'Radia', 'Ken'), ' ',
    ELT(1 + seq % 5, 'Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'van der Turing'), ' ', seq),
  1 + seq % 500,
  'done',
  NOW(3) - INTERVAL (200000 - seq) SECOND,
  'import',
  'import'
FROM past ORDER BY seq;
