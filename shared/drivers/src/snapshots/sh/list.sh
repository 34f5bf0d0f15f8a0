#!/bin/sh
# Prints a line for each folder of a lineage: snapshot TAB STATE TAB FOLDER TAB METADATA.
#   $1  folder of the lineage
# STATE is there, taking (somebody works on it) or broken (nobody does).
set -eu
[ -d "$1" ] || exit 0
cd "$1"
# The lock dies with who took it. Between mkdir and the lock, and between the copy's end and its way to its place, nobody
# has it for a moment: whoever stays away for ten seconds is gone.
taken() { # taken FOLDER
  # shared: looks are in nobody's way
  if [ -e "$1/lock" ] && ! flock --shared --nonblock "$1/lock" true; then return 0; fi
  if [ -e "$1/ended" ]; then
    [ -n "$(find "$1/ended" -newermt '-10 seconds' 2>/dev/null)" ]
  else
    [ ! -e "$1/metadata.json" ] && [ -n "$(find "$1" -maxdepth 0 -newermt '-10 seconds' 2>/dev/null)" ]
  fi
}
told() { # told STATE FOLDER
  # it may come to its place, or go, while we look
  metadata=$( (tr -d '\n\t' <"$2/metadata.json") 2>/dev/null) || [ -d "$2" ] || return 0
  printf 'snapshot\t%s\t%s\t%s\n' "$1" "$2" "$metadata"
}
# these first: one that comes to its place meanwhile is there among the others
for name in .*.taking; do
  [ -d "$name" ] || continue
  state=broken
  if taken "$name"; then state=taking; fi
  [ ! -d "$name" ] || told "$state" "$name"
done
for name in *; do
  [ ! -d "$name" ] || told there "$name"
done
