#!/bin/sh
# Replaces the metadata of a snapshot.
#   $1 its folder   stdin: metadata
set -eu
umask 077
[ -d "$1" ] || exit 74
new=$(mktemp "$1/metadata.XXXXXX")
cat >"$new"
sync "$new"
mv -f "$new" "$1/metadata.json"
sync "$1"
