#!/bin/sh
# Prints a line for each folder of a lineage: snapshot TAB STATE TAB FOLDER TAB METADATA.
#   $1  folder of the lineage
# STATE is there, taking (somebody works on it) or broken (nobody does).
set -eu
[ -d "$1" ] || exit 0
cd "$1"
for name in * .*.taking; do
  [ -d "$name" ] || continue
  state=there
  case $name in
  .*)
    state=broken
    # the lock dies with who took it
    if [ -e "$name/lock" ] && ! flock --nonblock "$name/lock" true; then state=taking; fi
    ;;
  esac
  metadata=
  [ ! -e "$name/metadata.json" ] || metadata=$(tr -d '\n\t' <"$name/metadata.json")
  printf 'snapshot\t%s\t%s\t%s\n' "$state" "$name" "$metadata"
done
