# shellcheck shell=sh
# Puts a snapshot's data in the place of the server's. The old data goes when the new is in place.
#   $1 the snapshot's folder   data: the server's data folder
: "${data:?}"
fresh=$data.restoring
old=$data.before-restore
rm -rf "$fresh"
mkdir -p "${data%/*}"
if mountpoint -q "$data"; then
  find "$data" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
  cp -a --reflink=auto "$1/data/." "$data/"
  fresh=$data
else
  cp -a --reflink=auto "$1/data" "$fresh"
fi
# a server's own id must not stand in two places
rm -f "$fresh/auto.cnf" "$fresh/server_uuid" "$fresh"/xtrabackup_* "$fresh"/mariadb_backup_* "$fresh/backup-my.cnf"
# a replica's password stands in one of its files
chmod -R go-rwx "$fresh"
sync -f "$fresh"
if [ "$fresh" != "$data" ]; then
  if [ -e "$data" ]; then
    rm -rf "$old"
    mv -T "$data" "$old"
  fi
  mv -T "$fresh" "$data"
  rm -rf "$old"
fi
sync "${data%/*}"
