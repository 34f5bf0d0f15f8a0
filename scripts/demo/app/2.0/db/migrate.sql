-- From the schema of release 1.0 to that of 2.0, on MariaDB and on MySQL. After a cut it goes on with the statement that
-- was cut off: each change of a table is there as a whole or not at all, and what is there is left out.

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
    AND table_name = 'orders' AND column_name = 'first_name') = 0,
  'ALTER TABLE orders
    ADD COLUMN first_name VARCHAR(60) NOT NULL DEFAULT '''' AFTER number,
    ADD COLUMN last_name VARCHAR(60) NOT NULL DEFAULT '''' AFTER first_name,
    ADD COLUMN amount_cents BIGINT NOT NULL DEFAULT 0 AFTER last_name,
    RENAME COLUMN state TO status', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
    AND table_name = 'reports' AND column_name = 'amount') = 1,
  'ALTER TABLE reports CHANGE COLUMN amount amount_cents BIGINT NOT NULL', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;

SET @old = (SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
    AND table_name = 'orders' AND column_name = 'amount');

-- In parts: a slave works on each part while the master is at the next, and is hardly later with the last one.
SET @top = (SELECT COALESCE(MAX(id), 0) FROM orders);
SET @change = IF(@old = 1,
  'UPDATE orders SET
    first_name = SUBSTRING_INDEX(customer_name, '' '', 1),
    last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, '' '', 1)) + 2),
    amount_cents = amount * 100
  WHERE id > @top * ? DIV 16 AND id <= @top * (? + 1) DIV 16', 'DO ? + ?');
PREPARE fill_part FROM @change;
SET @part = 0;
EXECUTE fill_part USING @part, @part;
SET @part = 1;
EXECUTE fill_part USING @part, @part;
SET @part = 2;
EXECUTE fill_part USING @part, @part;
SET @part = 3;
EXECUTE fill_part USING @part, @part;
SET @part = 4;
EXECUTE fill_part USING @part, @part;
SET @part = 5;
EXECUTE fill_part USING @part, @part;
SET @part = 6;
EXECUTE fill_part USING @part, @part;
SET @part = 7;
EXECUTE fill_part USING @part, @part;
SET @part = 8;
EXECUTE fill_part USING @part, @part;
SET @part = 9;
EXECUTE fill_part USING @part, @part;
SET @part = 10;
EXECUTE fill_part USING @part, @part;
SET @part = 11;
EXECUTE fill_part USING @part, @part;

-- An index is built at once faster than row by row, and before the last parts: a slave builds it meanwhile.
SET @change = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE()
    AND table_name = 'orders' AND index_name = 'by_last_name') = 0,
  'ALTER TABLE orders ADD INDEX by_last_name (last_name)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;

SET @part = 12;
EXECUTE fill_part USING @part, @part;
SET @part = 13;
EXECUTE fill_part USING @part, @part;
SET @part = 14;
EXECUTE fill_part USING @part, @part;
SET @part = 15;
EXECUTE fill_part USING @part, @part;

-- Without the defaults a release that does not know these columns cannot insert.
SET @change = IF(@old = 1,
  'ALTER TABLE orders
    DROP COLUMN customer_name,
    DROP COLUMN amount,
    ALTER COLUMN first_name DROP DEFAULT,
    ALTER COLUMN last_name DROP DEFAULT,
    ALTER COLUMN amount_cents DROP DEFAULT', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;

INSERT IGNORE INTO schema_version (version) VALUES (2);
