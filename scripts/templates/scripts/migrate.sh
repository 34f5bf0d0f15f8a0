#!/usr/bin/env bash
# ---
# RightScript Name: migrate
# Description: Runs the migration of the release that lies here on the master database, once, through the account that
#   may write while the database is read-only. (`rs-dbsync migrate` does the same with proofs before and after.)
# Inputs:
#   MIGRATION_FILE:
#     Category: Migration
#     Description: SQL file in the release.
#     Default: text:db/migrate.sql
#   MIGRATED_FILE:
#     Category: Migration
#     Description: SQL query in the release that gives a row once the migration is done. Not needed.
#     Default: text:db/migrated.sql
#   DNS_SERVER:
#     Category: Application
#     Default: blank
#   DB_HOST_NAME:
#     Category: Application
#     Required: true
#   DB_PORT:
#     Category: Application
#     Default: text:3306
#   DB_SCHEMA_NAME:
#     Category: Application
#     Required: true
#   DBMIGRATION_USER:
#     Category: Migration
#     Required: true
#   DBMIGRATION_PASSWORD:
#     Category: Migration
#     Required: true
# ...
set -euo pipefail
umask 077

fail() {
  echo "migrate: $*" >&2
  exit 1
}
for name in MIGRATION_FILE MIGRATED_FILE; do
  case ${!name} in /* | *..*) fail "$name leaves the release: ${!name@Q}" ;; esac
done
file="$HOME/app/current/$MIGRATION_FILE"
[ -r "$file" ] || fail "this release has no $MIGRATION_FILE"
if [ -n "${DNS_SERVER:-}" ]; then
  address=$(dig +short +time=2 +tries=2 "@${DNS_SERVER%:*}" -p "${DNS_SERVER##*:}" "$DB_HOST_NAME" A | grep -E '^[0-9.]+$' || true)
else
  address=$(getent ahostsv4 "$DB_HOST_NAME" | awk 'NR == 1 { print $1 }')
fi
[[ $address =~ ^[0-9.]+$ ]] || fail "$DB_HOST_NAME has not exactly one address: ${address:-none}"
{
  echo "[client]"
  echo "protocol=TCP"
  echo "host=$address"
  echo "port=$DB_PORT"
  printf 'user="%s"\n' "$DBMIGRATION_USER"
  password=${DBMIGRATION_PASSWORD//\\/\\\\}
  printf 'password="%s"\n' "${password//\"/\\\"}"
} >"$PWD/client.cnf"
# first_client: the first client in PATH, as the databases take the first server.
first_client() {
  local folder folders name
  IFS=: read -r -a folders <<<"$PATH"
  for folder in "${folders[@]}"; do
    for name in mariadb mysql; do
      if [ -x "$folder/$name" ]; then
        printf '%s' "$folder/$name"
        return
      fi
    done
  done
  fail "no mariadb and no mysql in PATH ($PATH)"
}
client=$(first_client)
sql() { "$client" --defaults-file="$PWD/client.cnf" "--database=$DB_SCHEMA_NAME" --batch --skip-column-names "$@"; }

done="$HOME/app/current/$MIGRATED_FILE"
if [ -r "$done" ]; then
  said=$(sql <"$done") || fail "$MIGRATED_FILE stopped at the error above"
  if [ -n "$said" ]; then
    echo "the schema is there already"
    echo "changed=false"
    exit 0
  fi
fi
begun=$(date +%s%3N)
sql --init-command="SET SESSION lock_wait_timeout=10" <"$file" || fail "$MIGRATION_FILE stopped at the error above"
echo "migrated in $(($(date +%s%3N) - begun)) ms"
echo "changed=true"
