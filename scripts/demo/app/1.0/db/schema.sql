-- The schema of release 1.0.
CREATE TABLE schema_version (
  version INT NOT NULL PRIMARY KEY,
  since TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE=InnoDB;
INSERT INTO schema_version (version) VALUES (1);

CREATE TABLE orders (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  number VARCHAR(64) NOT NULL,
  customer_name VARCHAR(120) NOT NULL,
  amount INT NOT NULL COMMENT 'whole euros',
  state VARCHAR(10) NOT NULL DEFAULT 'new',
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  created_by VARCHAR(120) NOT NULL,
  processed_by VARCHAR(120) NULL,
  UNIQUE KEY by_number (number),
  KEY by_state (state, id)
) ENGINE=InnoDB;

CREATE TABLE reports (
  slot INT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'Unix time by five seconds: one report however many servers make one',
  made_by VARCHAR(120) NOT NULL,
  last_order INT UNSIGNED NOT NULL,
  orders INT NOT NULL,
  amount INT NOT NULL COMMENT 'whole euros'
) ENGINE=InnoDB;
