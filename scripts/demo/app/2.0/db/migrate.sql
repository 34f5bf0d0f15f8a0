-- From the schema of release 1.0 to that of 2.0. After a cut it goes on with the statement that was cut off.

ALTER TABLE orders
  ADD COLUMN IF NOT EXISTS first_name VARCHAR(60) NOT NULL DEFAULT '' AFTER number,
  ADD COLUMN IF NOT EXISTS last_name VARCHAR(60) NOT NULL DEFAULT '' AFTER first_name,
  ADD COLUMN IF NOT EXISTS amount_cents BIGINT NOT NULL DEFAULT 0 AFTER last_name,
  RENAME COLUMN IF EXISTS state TO status;

ALTER TABLE orders ADD INDEX IF NOT EXISTS by_last_name (last_name);

ALTER TABLE reports CHANGE COLUMN IF EXISTS amount amount_cents BIGINT NOT NULL;

-- In parts: a slave works on each part while the master is at the next, and is hardly later with the last one.
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 0;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 1;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 2;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 3;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 4;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 5;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 6;
UPDATE orders SET
  first_name = SUBSTRING_INDEX(customer_name, ' ', 1),
  last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, ' ', 1)) + 2),
  amount_cents = amount * 100
WHERE id % 8 = 7;

-- Without the defaults a release that does not know these columns cannot insert.
ALTER TABLE orders
  DROP COLUMN IF EXISTS customer_name,
  DROP COLUMN IF EXISTS amount,
  ALTER COLUMN first_name DROP DEFAULT,
  ALTER COLUMN last_name DROP DEFAULT,
  ALTER COLUMN amount_cents DROP DEFAULT;

INSERT IGNORE INTO schema_version (version) VALUES (2);
