#!/bin/sh
# Restores a snapshot into a folder of its own, starts its database there without network, checks every table, ends
# it and removes the folder.
#   $1 the snapshot's folder   $2 option file of the server, for the engine's own paths   $3 seconds to start
set -eu
umask 077
# left behind by somebody who is gone
for stale in "$HOME"/.prove.*; do
  [ ! -e "$stale/lock" ] || ! flock --nonblock "$stale/lock" true || rm -rf "$stale"
done
scratch=$(mktemp -d "$HOME/.prove.XXXXXX")
run=$(mktemp -d "${TMPDIR:-/tmp}/rs-prove.XXXXXX")
pid=
ended() {
  status=$?
  trap '' INT TERM HUP
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
  fi
  [ "$status" -eq 0 ] || tail -n 20 "$scratch/error.log" 2>/dev/null || :
  rm -rf "$scratch" "$run"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' INT TERM HUP
exec 9>"$scratch/lock"
flock 9
echo "phase: copy"
cp -a --reflink=auto "$1/data" "$scratch/data"
rm -f "$scratch/data/auto.cnf"
defaults=--no-defaults
[ ! -e "$2" ] || defaults=--defaults-file=$2
echo "phase: start"
# every path of the option file that the engine writes to is overridden: the server's own data stays out of reach
mariadbd "$defaults" --datadir="$scratch/data" --socket="$run/db.sock" --pid-file="$run/db.pid" \
  --log-error="$scratch/error.log" --tmpdir="$scratch" --innodb-data-home-dir="$scratch/data" \
  --innodb-log-group-home-dir="$scratch/data" --innodb-undo-directory="$scratch/data" \
  --aria-log-dir-path="$scratch/data" --skip-networking --skip-slave-start --skip-log-bin --skip-grant-tables \
  --slow-query-log=0 --general-log=0 --innodb-buffer-pool-size=64M --event-scheduler=DISABLED \
  --innodb-buffer-pool-load-at-startup=0 --innodb-buffer-pool-dump-at-shutdown=0 </dev/null >/dev/null 2>&1 9>&- &
pid=$!
left=$(($3 * 10))
until mariadb-admin --no-defaults --socket="$run/db.sock" ping >/dev/null 2>&1; do
  kill -0 "$pid" 2>/dev/null || {
    echo "it did not start"
    exit 1
  }
  left=$((left - 1))
  [ "$left" -gt 0 ] || {
    echo "it did not answer within $3 s"
    exit 1
  }
  sleep 0.1
done
echo "phase: check"
ask() { mariadb --no-defaults --socket="$run/db.sock" --batch --skip-column-names --execute "$1"; }
printf 'fact:tables:%s\n' "$(ask "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE'")"
printf 'fact:engine:%s\n' "$(ask "SELECT VERSION()")"
checked=$(mariadb-check --no-defaults --socket="$run/db.sock" --all-databases --check --quick)
bad=$(printf '%s\n' "$checked" | grep -iE '^(error|warning) *:|corrupt' || :)
[ -z "$bad" ] || {
  printf '%s\n' "$bad"
  exit 1
}
