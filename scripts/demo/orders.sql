-- Orders of the past, so that a migration has something to do. Runs in the schema of release 1.0.
INSERT INTO orders (number, customer_name, amount, state, created_at, created_by, processed_by)
SELECT
  CONCAT('past-', LPAD(seq, 7, '0')),
  CONCAT(ELT(1 + seq % 7, 'Ada', 'Grace', 'Edsger', 'Barbara', 'Alan', 'Radia', 'Ken'), ' ',
    ELT(1 + seq % 5, 'Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'van der Turing'), ' ', seq),
  1 + seq % 500,
  'done',
  NOW(3) - INTERVAL (200000 - seq) SECOND,
  'import',
  'import'
FROM seq_1_to_200000;
