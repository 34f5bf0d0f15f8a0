#!/usr/bin/env bash
# ---
# RightScript Name: database schema
# Description: On a server that begins as master (DB_CREATE), makes the schema and its accounts, the schema of the
#   heartbeat, and loads the first data where the schema is empty. Elsewhere it does nothing.
# Inputs:
#   DB_CREATE:
#     Category: Database
#     Default: text:false
#     Possible Values: ["text:true", "text:false"]
#   DB_SCHEMA_NAME:
#     Category: Database
#     Required: true
#   DB_SCHEMA_FILE:
#     Category: Database
#     Description: SQL that is run once in the new schema (absolute path). Blank for an empty schema.
#     Default: blank
#   DBAPPLICATION_USER:
#     Category: Database
#     Required: true
#   DBAPPLICATION_PASSWORD:
#     Category: Database
#     Required: true
#   DBMIGRATION_USER:
#     Category: Database
#     Required: true
#   DBMIGRATION_PASSWORD:
#     Category: Database
#     Required: true
#   DBHEARTBEAT_USER:
#     Category: Database
#     Default: text:heartbeat
#   DBHEARTBEAT_PASSWORD:
#     Category: Database
#     Required: true
# ...
set -euo pipefail
umask 077

fail() {
  echo "database schema: $*" >&2
  exit 1
}
quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\\\'}"
}
admin() { "$HOME/bin/sql" "$@"; }

if [ "$DB_CREATE" != true ]; then
  echo "not a first master: schema and accounts come with the data"
  exit 0
fi
case $(admin <<<'SELECT VERSION()') in
*MariaDB*) channels='SHOW ALL SLAVES STATUS' writes_anyway='READ ONLY ADMIN' ;;
*) channels='SHOW REPLICA STATUS' writes_anyway='CONNECTION_ADMIN' ;; # once rs-dbsync migrate has lowered the lock
esac
if [ "$(admin <<<"$channels")" != "" ] || [ "$(admin <<<'SELECT @@read_only')" != 0 ]; then
  echo "a slave or read-only by now: left alone"
  exit 0
fi
# In a grant _ and % are wildcards, in a name they are not.
schema="\`${DB_SCHEMA_NAME//\`/\`\`}\`"
pattern=${DB_SCHEMA_NAME//\\/\\\\}
pattern=${pattern//_/\\_}
pattern="\`${pattern//%/\\%}\`"
application="$(quoted "$DBAPPLICATION_USER")@'%'"
migration="$(quoted "$DBMIGRATION_USER")@'%'"
heartbeat="$(quoted "$DBHEARTBEAT_USER")@'%'"

admin <<SQL
CREATE DATABASE IF NOT EXISTS $schema;
CREATE DATABASE IF NOT EXISTS heartbeat;
CREATE TABLE IF NOT EXISTS heartbeat.beat (
  server_id INT UNSIGNED NOT NULL PRIMARY KEY,
  beaten_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  beats BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE=InnoDB;
CREATE USER IF NOT EXISTS $application IDENTIFIED BY $(quoted "$DBAPPLICATION_PASSWORD");
GRANT SELECT, INSERT, UPDATE, DELETE ON $pattern.* TO $application;
CREATE USER IF NOT EXISTS $migration IDENTIFIED BY $(quoted "$DBMIGRATION_PASSWORD");
GRANT ALL PRIVILEGES ON $pattern.* TO $migration;
GRANT $writes_anyway, PROCESS ON *.* TO $migration;
GRANT ALL PRIVILEGES ON rs_tools.* TO $migration;
CREATE USER IF NOT EXISTS $heartbeat IDENTIFIED BY $(quoted "$DBHEARTBEAT_PASSWORD");
GRANT SELECT, INSERT, UPDATE ON heartbeat.* TO $heartbeat;
SQL

tables=$(admin <<<"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = $(quoted "$DB_SCHEMA_NAME")")
# The marker goes before the load and comes off after it: a load that was killed half way is not taken for done.
begun="$HOME/run/schema-load"
if [ -z "${DB_SCHEMA_FILE:-}" ]; then
  echo "schema is there ($tables tables)"
elif [ "$tables" != 0 ] && [ ! -e "$begun" ]; then
  echo "schema is there ($tables tables)"
  echo "changed=false"
else
  [ -r "$DB_SCHEMA_FILE" ] || fail "cannot read DB_SCHEMA_FILE $DB_SCHEMA_FILE"
  if [ -e "$begun" ]; then
    admin <<<"DROP DATABASE $schema; CREATE DATABASE $schema;"
  fi
  : >"$begun"
  admin "--database=$DB_SCHEMA_NAME" <"$DB_SCHEMA_FILE" || fail "$DB_SCHEMA_FILE was not loaded"
  rm -f "$begun"
  echo "loaded $DB_SCHEMA_FILE"
  echo "changed=true"
fi
