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

-- In parts: a slave works on each part while the master is at the next. The last ones are small, so that it is hardly later.
SET @top = (SELECT COALESCE(MAX(id), 0) FROM orders);
SET @change = IF(@old = 1,
  'UPDATE orders SET
    first_name = SUBSTRING_INDEX(customer_name, '' '', 1),
    last_name = SUBSTR(customer_name, CHAR_LENGTH(SUBSTRING_INDEX(customer_name, '' '', 1)) + 2),
    amount_cents = amount * 100
  WHERE id > @top * ? DIV 64 AND id <= @top * ? DIV 64', 'DO ? + ?');
PREPARE fill_part FROM @change;
SET @above = 0, @to = 4;
EXECUTE fill_part USING @above, @to;
SET @above = 4, @to = 8;
EXECUTE fill_part USING @above, @to;
SET @above = 8, @to = 12;
EXECUTE fill_part USING @above, @to;
SET @above = 12, @to = 16;
EXECUTE fill_part USING @above, @to;
SET @above = 16, @to = 20;
EXECUTE fill_part USING @above, @to;
SET @above = 20, @to = 24;
EXECUTE fill_part USING @above, @to;
SET @above = 24, @to = 28;
EXECUTE fill_part USING @above, @to;
SET @above = 28, @to = 32;
EXECUTE fill_part USING @above, @to;
SET @above = 32, @to = 36;
EXECUTE fill_part USING @above, @to;
SET @above = 36, @to = 40;
EXECUTE fill_part USING @above, @to;
SET @above = 40, @to = 44;
EXECUTE fill_part USING @above, @to;
SET @above = 44, @to = 48;
EXECUTE fill_part USING @above, @to;

-- An index is built at once faster than row by row, and before the last parts: a slave builds it meanwhile.
SET @change = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE()
    AND table_name = 'orders' AND index_name = 'by_last_name') = 0,
  'ALTER TABLE orders ADD INDEX by_last_name (last_name)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;

SET @above = 48, @to = 52;
EXECUTE fill_part USING @above, @to;
SET @above = 52, @to = 56;
EXECUTE fill_part USING @above, @to;
SET @above = 56, @to = 58;
EXECUTE fill_part USING @above, @to;
SET @above = 58, @to = 60;
EXECUTE fill_part USING @above, @to;
SET @above = 60, @to = 61;
EXECUTE fill_part USING @above, @to;
SET @above = 61, @to = 62;
EXECUTE fill_part USING @above, @to;
SET @above = 62, @to = 63;
EXECUTE fill_part USING @above, @to;
SET @above = 63, @to = 64;
EXECUTE fill_part USING @above, @to;

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
