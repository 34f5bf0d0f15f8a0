# shellcheck shell=sh
# Starts a database on a copy of data: without network, accounts, replication, logs and events of its own. Every path
# of the option file that the engine writes to is overridden: the server's own data stays out of reach. Sets $pid, and
# ask() for questions.
#   beside DATA SCRATCH RUN OPTIONS SECONDS: RUN is a short path for the socket
beside() {
  beside_socket=$3/db.sock
  defaults=--no-defaults
  [ ! -e "$4" ] || defaults=--defaults-file=$4
  set -- "$@" "$defaults" --datadir="$1" --socket="$beside_socket" --pid-file="$3/db.pid" --log-error="$2/error.log" \
    --tmpdir="$2" --innodb-data-home-dir="$1" --innodb-log-group-home-dir="$1" --innodb-undo-directory="$1" \
    --skip-networking --skip-log-bin --skip-grant-tables --slow-query-log=0 --general-log=0 \
    --innodb-buffer-pool-size=64M --event-scheduler=DISABLED --innodb-buffer-pool-load-at-startup=0 \
    --innodb-buffer-pool-dump-at-shutdown=0
  left=$(($5 * 10))
  if [ -e "$1/mysql.ibd" ]; then
    beside_client=mysql
    set -- "$@" --skip-replica-start --mysqlx=OFF --super-read-only=0 --read-only=0
    shift 5
    mysqld "$@" </dev/null >/dev/null 2>&1 9>&- &
  else
    beside_client=mariadb
    set -- "$@" --skip-slave-start --aria-log-dir-path="$1"
    shift 5
    mariadbd "$@" </dev/null >/dev/null 2>&1 9>&- &
  fi
  pid=$!
  until ask "SELECT 1" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || {
      echo "it did not start"
      return 1
    }
    left=$((left - 1))
    [ "$left" -gt 0 ] || {
      echo "it did not answer in time"
      return 1
    }
    sleep 0.1
  done
}

# Ends what was started, with its last words when we fail, and removes folders.
#   beside_over STATUS FOLDER-OF-ITS-LOG FOLDER...
beside_over() {
  trap '' INT TERM HUP
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
  fi
  [ "$1" -eq 0 ] || tail -n 20 "$2/error.log" 2>/dev/null || :
  shift 2
  rm -rf "$@"
}

ask() {
  "$beside_client" --no-defaults --user=root --socket="$beside_socket" --batch --skip-column-names --execute "$1"
}
