#!/bin/sh
# Puts a finished snapshot into its place: metadata last, everything on the disk, then one rename.
#   $1 work folder   $2 its place   stdin: metadata
set -eu
umask 077
cat >"$1/metadata.new"
mv -f "$1/metadata.new" "$1/metadata.json"
sync -f "$1/metadata.json"
rm -f "$1/lock"
mv -T "$1" "$2"
sync "${2%/*}"
