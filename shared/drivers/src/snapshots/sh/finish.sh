#!/bin/sh
# Puts a finished snapshot into its place: metadata last, everything on the disk, then one rename.
#   $1 work folder   $2 its place   stdin: metadata
set -eu
umask 077
exec 9>>"$1/lock"
flock 9
cat >"$1/metadata.new"
mv -f "$1/metadata.new" "$1/metadata.json"
sync -f "$1/metadata.json"
mv -T "$1" "$2"
rm -f "$2/lock" "$2/ended"
sync "${2%/*}"
