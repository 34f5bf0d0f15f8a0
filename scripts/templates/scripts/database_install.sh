#!/usr/bin/env bash
# ---
# RightScript Name: database install
# Description: Writes the option file of MariaDB or MySQL, whichever server comes first in PATH, and, where there is no
#   data yet, makes an empty database with the administrator and the replication account. Data that is there stays as
#   it is. Starts nothing.
# Inputs:
#   DB_BIND_ADDRESS:
#     Category: Database
#     Description: Address to listen on; the server id is derived from it.
#     Default: env:PRIVATE_IP
#   DB_PORT:
#     Category: Database
#     Default: text:3306
#   DB_SOCKET:
#     Category: Database
#     Description: Unix socket, below the server's home unless absolute.
#     Default: text:run/mysqld.sock
#   DB_DATA_DIR:
#     Category: Database
#     Default: text:data
#   DB_OPTION_FILE:
#     Category: Database
#     Description: Option file. What stands below its include line is kept over boots.
#     Default: text:etc/my.cnf
#   DB_BUFFER_POOL:
#     Category: Database
#     Description: Memory for data, as the server writes sizes.
#     Default: text:128M
#   DB_CREATE:
#     Category: Database
#     Description: Whether this server begins as a master. Others begin read-only and wait for a backup.
#     Default: text:false
#     Possible Values: ["text:true", "text:false"]
#   DBADMIN_USER:
#     Category: Database
#     Required: true
#   DBADMIN_PASSWORD:
#     Category: Database
#     Required: true
#   DBREPLICATION_USER:
#     Category: Database
#     Required: true
#   DBREPLICATION_PASSWORD:
#     Category: Database
#     Required: true
# ...
set -euo pipefail
umask 077

fail() {
  echo "database install: $*" >&2
  exit 1
}
below_home() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$HOME" "$1" ;; esac }
# A value between quotes of an SQL string.
quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\\\'}"
}

data=$(below_home "$DB_DATA_DIR")
socket=$(below_home "$DB_SOCKET")
options=$(below_home "$DB_OPTION_FILE")
base="$HOME/etc/my.base.cnf"
[ "${#socket}" -le 107 ] || fail "socket path of ${#socket} bytes, the system takes 107: $socket"
[[ $DB_PORT =~ ^[0-9]{1,5}$ ]] || fail "DB_PORT is not a port: $DB_PORT"
[[ $DB_BUFFER_POOL =~ ^[0-9]+[KMG]?$ ]] || fail "DB_BUFFER_POOL is not a size such as 128M: $DB_BUFFER_POOL"
[[ $DB_BIND_ADDRESS =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})$ ]] ||
  fail "DB_BIND_ADDRESS is not an IPv4 address: $DB_BIND_ADDRESS"
# Two databases with the same server id ignore each other's changes. Addresses are unique, so ids are.
server_id=$(((BASH_REMATCH[1] << 24) | (BASH_REMATCH[2] << 16) | (BASH_REMATCH[3] << 8) | BASH_REMATCH[4]))

# first_server: the first server in PATH. A mysqld may be a MariaDB's, so it is asked what it is.
first_server() {
  local folder folders name
  IFS=: read -r -a folders <<<"$PATH"
  for folder in "${folders[@]}"; do
    for name in mariadbd mysqld; do
      if [ -x "$folder/$name" ]; then
        printf '%s' "$folder/$name"
        return
      fi
    done
  done
  fail "no mariadbd and no mysqld in PATH ($PATH)"
}
program=$(first_server)
version=$("$program" --no-defaults --version) || fail "$program does not say its version"
case $version in
*MariaDB*) engine=mariadb client=mariadb pings=mariadb-admin ;;
*) engine=mysql client=mysql pings=mysqladmin ;;
esac
echo "$version"

basedir=$(readlink -f "$program")
basedir=${basedir%/*/*}
# Where the program is only a link or a wrapper to an unpacked one, that knows its places itself.
places=
for messages in "$basedir/share/mariadb" "$basedir/share/mysql"; do
  if [ -e "$messages/english/errmsg.sys" ]; then
    places="basedir=$basedir"$'\n'"lc-messages-dir=$messages"
    break
  fi
done

# What each engine is told in its own words.
if [ "$engine" = mariadb ]; then
  own='log-slave-updates=1
slave-parallel-threads=4
gtid-strict-mode=1
binlog-format=ROW
innodb-log-file-size=96M
slave-net-timeout=10
performance-schema=OFF'
  no_writes='read-only=1'
else
  own='gtid-mode=ON
enforce-gtid-consistency=ON
innodb-redo-log-capacity=96M
replica-net-timeout=10
plugin-load-add=mysql_clone.so
secure-file-priv=NULL
mysqlx=OFF'
  no_writes='super-read-only=1'
fi

export UMASK=0600 UMASK_DIR=0700
mkdir -p "$data" "${socket%/*}" "${options%/*}" "$HOME/log" "$HOME/tmp"
cat >"$base.new" <<CNF
# Written at each boot. What must last belongs into $options, below its include line.
[client]
socket=$socket

[mysqld]
$places
datadir=$data
tmpdir=$HOME/tmp
socket=$socket
pid-file=$HOME/run/mysqld.pid
port=$DB_PORT
bind-address=$DB_BIND_ADDRESS
report-host=$DB_BIND_ADDRESS
report-port=$DB_PORT
skip-name-resolve
server-id=$server_id
log-bin=bin
log-bin-index=bin.index
relay-log=relay
relay-log-index=relay.index
relay-log-recovery=1
binlog-row-image=MINIMAL
sync-binlog=1
innodb-flush-log-at-trx-commit=1
innodb-buffer-pool-size=$DB_BUFFER_POOL
innodb-buffer-pool-dump-at-shutdown=OFF
innodb-fast-shutdown=1
max-connections=300
character-set-server=utf8mb4
$own
CNF
mv "$base.new" "$base"

# Hands and tools hold things here (read-only, replication that must not start), so it is written once.
if [ ! -e "$options" ]; then
  {
    echo "!include $base"
    echo
    echo "[mysqld]"
    [ "$DB_CREATE" = true ] || echo "$no_writes"
  } >"$options.new"
  mv "$options.new" "$options"
fi

# The command line of the administrator: the password stands in a file, never in an argument.
{
  echo "[client]"
  echo "socket=$socket"
  printf 'user="%s"\n' "$DBADMIN_USER"
  password=${DBADMIN_PASSWORD//\\/\\\\}
  printf 'password="%s"\n' "${password//\"/\\\"}"
} >"$HOME/etc/admin.cnf.new"
chmod 0600 "$HOME/etc/admin.cnf.new"
mv "$HOME/etc/admin.cnf.new" "$HOME/etc/admin.cnf"
cat >"$HOME/bin/sql.new" <<SQL
#!/bin/sh
# SQL from stdin, as the administrator, by the engine's own client.
exec $client --defaults-file="\$HOME/etc/admin.cnf" --batch --skip-column-names "\$@"
SQL
chmod 0755 "$HOME/bin/sql.new"
mv "$HOME/bin/sql.new" "$HOME/bin/sql"

"$HOME/bin/svc" install database --order 10 --grace 60 \
  --ready "exec $pings --defaults-file='$HOME/etc/admin.cnf' --connect-timeout=2 ping" <<RUN
#!/bin/sh
# Its files are its own: in master.info stands the password of the replication account.
export UMASK=0600 UMASK_DIR=0700
exec '$program' --defaults-file='$options'
RUN

if [ -d "$data/mysql" ]; then
  # As of an earlier release of this script, or of a copy by hand.
  chmod 0700 "$data"
  echo "data is there: $data"
  echo "changed=false"
  exit 0
fi

# Built beside and moved in whole: a kill half way leaves nothing that looks like a database.
fresh="$data.fresh"
rm -rf "$fresh"
log="$HOME/log/install.log"
admin=$(quoted "$DBADMIN_USER")
replication=$(quoted "$DBREPLICATION_USER")
# Accounts do not enter the binlog: every database of the set makes its own, and an empty one has no position.
accounts() { # accounts RIGHTS: of the replication account
  cat <<SQL
CREATE USER $admin@'%' IDENTIFIED BY $(quoted "$DBADMIN_PASSWORD");
GRANT ALL PRIVILEGES ON *.* TO $admin@'%' WITH GRANT OPTION;
CREATE USER $replication@'%' IDENTIFIED BY $(quoted "$DBREPLICATION_PASSWORD");
GRANT $1 ON *.* TO $replication@'%';
SQL
}
if [ "$engine" = mariadb ]; then
  mariadb-install-db --defaults-file="$options" ${places:+"--basedir=$basedir"} --datadir="$fresh" \
    --auth-root-authentication-method=normal --skip-test-db --force >"$log" 2>&1 ||
    fail "mariadb-install-db failed: $(tail -n 3 "$log")"
  {
    cat <<SQL
FLUSH PRIVILEGES;
DROP USER IF EXISTS ''@'localhost';
DROP USER IF EXISTS 'root'@'localhost';
DROP USER IF EXISTS 'mysql'@'localhost';
DELETE FROM mysql.global_priv WHERE User IN ('', 'root', 'mysql');
FLUSH PRIVILEGES;
SQL
    accounts 'REPLICATION SLAVE, BINLOG MONITOR'
  } | "$program" --defaults-file="$options" --datadir="$fresh" --bootstrap --skip-log-bin --log-error="$log" ||
    fail "accounts: $(tail -n 3 "$log")"
else
  # Read by the server itself while it makes the data, and gone with this run's folder.
  (
    umask 077
    accounts 'REPLICATION SLAVE, REPLICATION CLIENT' >"$PWD/accounts.sql"
    echo "DROP USER 'root'@'localhost';" >>"$PWD/accounts.sql"
  )
  "$program" --defaults-file="$options" --datadir="$fresh" --initialize-insecure --skip-log-bin --super-read-only=0 \
    --read-only=0 --init-file="$PWD/accounts.sql" --log-error="$log" >/dev/null 2>&1 ||
    fail "mysqld --initialize-insecure failed: $(grep -F '[ERROR]' "$log" | tail -n 3)"
  rm -f "$PWD/accounts.sql" "$fresh/auto.cnf"
fi

rmdir "$data" 2>/dev/null || fail "$data holds files but no database: move them away"
mv "$fresh" "$data"
echo "new empty database, server id $server_id"
echo "changed=true"
