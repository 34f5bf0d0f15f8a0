# shellcheck shell=sh
# Lets a running MySQL clone itself, starts the copy once beside it to end its recovery and to read where it stands,
# and ends it cleanly. stdin: the option file with the account.   $6 option file of the server   $7 seconds to start
: "${options:?}" "${work:?}"
cat >"$options"
# a backup is never more urgent than what runs beside it: the site, or its migration
renice -n 10 -p $$ >/dev/null 2>&1 || true
own() { mysql --defaults-file="$options" --batch --skip-column-names --execute "$1"; }
loaded="SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'clone' AND plugin_status = 'ACTIVE'"
if [ "$(own "$loaded")" != 1 ]; then
  echo "the clone plugin is not loaded: plugin-load-add=mysql_clone.so in the option file"
  exit 1
fi
replica=$(own "SELECT COUNT(*) FROM performance_schema.replication_connection_configuration WHERE HOST <> ''")
echo "phase: clone"
own "CLONE LOCAL DATA DIRECTORY = '$work/data'"
rm -f "$options"
echo "phase: recover"
run=$(mktemp -d "${TMPDIR:-/tmp}/rs-clone.XXXXXX")
pid=
ended() {
  status=$?
  beside_over "$status" "$run" "$run"
  (exit "$status") || failed
}
trap ended EXIT
beside "$work/data" "$run" "$run" "$6" "$7"
# as text without line ends: a set of several sources has them
printf 'fact:gtid:%s\n' "$(ask "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')" | tr -d '[:space:]')"
printf 'fact:engine:%s\n' "$(ask "SELECT VERSION()")"
if [ "$replica" != 0 ]; then
  echo "fact:replica:yes"
  # what is restored is no copy of the server, only of its data
  ask "RESET REPLICA ALL"
fi
ask SHUTDOWN
wait "$pid"
pid=
rm -f "$work/data/auto.cnf" "$work/data/mysqld-auto.cnf"
printf 'fact:bytes:%s\n' "$(du -s --bytes "$work/data" | cut -f1)"
