# shellcheck shell=sh
# Copies the data folder of a stopped server. Without binary and relay logs, replication's files and the server's
# own id: what is restored from it is no copy of the server, only of its data.
#   data: the folder
: "${data:?}" "${work:?}"
in_use=
for index in "$data"/*.index; do
  [ -e "$index" ] || continue
  last=$(tail -n 1 "$index")
  case $last in /*) ;; *) last=$data/$last ;; esac
  [ -e "$last" ] || continue
  # the first flag of a binary log's head says that it is open, or that its server was killed
  [ "$(od -An -tu1 -j21 -N1 "$last" | tr -d ' ')" != 1 ] || in_use=$last
  [ ! -e "${index%.index}.state" ] ||
    printf 'fact:binlog:%s\t%s\t%s\n' "${last##*/}" "$(stat -c %s "$last")" \
      "$(tr '\n' ',' <"${index%.index}.state" | sed 's/,$//')"
done
if [ -n "$in_use" ]; then
  echo "$in_use was not closed: the server was killed, or it runs"
  exit 78
fi
for info in "$data"/master*.info; do [ ! -s "$info" ] || echo "fact:replica:yes"; done
echo "phase: copy"
cp -a --reflink=auto "$data" "$work/data"
for index in "$work"/data/*.index; do
  [ -e "$index" ] || continue
  while IFS= read -r log; do rm -f "$work/data/${log##*/}"; done <"$index"
  rm -f "$index" "${index%.index}.state"
done
rm -f "$work/data/auto.cnf" "$work/data/server_uuid" "$work"/data/*.pid "$work"/data/*.sock "$work"/data/*.err
rm -f "$work"/data/master*.info "$work"/data/relay-log*.info "$work/data/multi-master.info"
printf 'fact:bytes:%s\n' "$(du -s --bytes "$work/data" | cut -f1)"
