# shellcheck shell=sh
# Whether a database runs on a data folder: InnoDB keeps its first file locked. Sets $holder.
#   data: the folder
: "${data:?}"
holder=
if [ -e "$data/ibdata1" ]; then
  holder=$(sed -n "s/^.* \([0-9]*\) [0-9a-f]*:[0-9a-f]*:$(stat -c %i "$data/ibdata1") .*/\1/p" /proc/locks | head -n 1)
fi
if [ -n "$holder" ]; then
  echo "process $holder has $data open"
  exit 77
fi
