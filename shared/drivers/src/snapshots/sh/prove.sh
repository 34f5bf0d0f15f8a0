# shellcheck shell=sh
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
  beside_over "$status" "$scratch" "$scratch" "$run"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' INT TERM HUP
# locked before it bears the name by which others look whether somebody is here
exec 9>"$scratch/lock.new"
flock 9
mv "$scratch/lock.new" "$scratch/lock"
echo "phase: copy"
cp -a --reflink=auto "$1/data" "$scratch/data"
rm -f "$scratch/data/auto.cnf"
echo "phase: start"
beside "$scratch/data" "$scratch" "$run" "$2" "$3"
echo "phase: check"
printf 'fact:tables:%s\n' "$(ask "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE'")"
printf 'fact:engine:%s\n' "$(ask "SELECT VERSION()")"
if [ -e "$scratch/data/mysql.ibd" ]; then
  checks=$(ask "SELECT CONCAT('CHECK TABLE \`', REPLACE(table_schema, '\`', '\`\`'), '\`.\`', REPLACE(table_name, '\`', '\`\`'),
    '\` QUICK;') FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND engine = 'InnoDB'")
  checked=$(ask "$checks" | awk -F '\t' '$3 != "status" || $4 != "OK" { print $3 ": " $1 " " $4 }')
else
  checked=$(mariadb-check --no-defaults --socket="$run/db.sock" --all-databases --check --quick)
fi
bad=$(printf '%s\n' "$checked" | grep -iE '^(error|warning) *:|corrupt' || :)
[ -z "$bad" ] || {
  printf '%s\n' "$bad"
  exit 1
}
