#!/bin/sh
# Removes a snapshot: out of the list first, so that half of one is never seen as whole.
#   $1 its folder
set -eu
[ -d "$1" ] || exit 0
gone=${1%/*}/.${1##*/}.removing
rm -rf "$gone"
mv -T "$1" "$gone"
rm -rf "$gone"
