#!/bin/sh
# Stands before bash on the servers' PATH. The first script of the name in `script` fails: before it did anything, or
# after it did all.
place=${0%/*/*}
if [ -r "$place/script" ] && [ -f "$1" ] && grep -qxF "# RightScript Name: $(sed 1d "$place/script")" "$1" &&
  mkdir "$place/struck" 2>/dev/null; then
  [ "$(sed -n 1p "$place/script")" = before ] || /bin/bash "$@"
  echo "the fault struck: this script fails"
  exit 1
fi
exec /bin/bash "$@"
