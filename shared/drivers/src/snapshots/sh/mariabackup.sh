# shellcheck shell=sh
# Reads a running server and makes the copy startable. stdin: the option file with the account.
: "${options:?}" "${work:?}"
cat >"$options"
# a backup is never more urgent than what runs beside it: the site, or its migration
renice -n 10 -p $$ >/dev/null 2>&1 || true
echo "phase: backup"
mariadb-backup --defaults-file="$options" --backup --slave-info --target-dir="$work/data"
rm -f "$options"
echo "phase: prepare"
mariadb-backup --prepare --target-dir="$work/data"
for name in xtrabackup mariadb_backup; do
  [ ! -e "$work/data/${name}_binlog_info" ] ||
    printf 'fact:binlog:%s\n' "$(tr '\n' ' ' <"$work/data/${name}_binlog_info")"
  [ ! -e "$work/data/${name}_slave_info" ] ||
    printf 'fact:slave:%s\n' "$(tr '\n' ' ' <"$work/data/${name}_slave_info")"
  [ ! -e "$work/data/${name}_info" ] ||
    sed -n 's/^server_version = /fact:engine:/p' "$work/data/${name}_info"
done
printf 'fact:bytes:%s\n' "$(du -s --bytes "$work/data" | cut -f1)"
