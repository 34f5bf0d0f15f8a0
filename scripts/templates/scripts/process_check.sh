#!/usr/bin/env bash
# ---
# RightScript Name: process check
# Description: Says which release lies here and what runs. Fails unless the application's process is as asked. Asks
#   neither the application nor the database, so it can say yes while the schema is not there yet.
# Inputs:
#   PROCESS_STATE:
#     Category: Application
#     Description: up, stopped, or any.
#     Default: text:up
#     Possible Values: ["text:up", "text:stopped", "text:any"]
# ...
set -euo pipefail

if [ ! -e "$HOME/app/current/.revision" ]; then
  echo "process check: no release here; run 'code update' first" >&2
  exit 1
fi
read -r address revision <"$HOME/app/current/.revision"
echo "release $(readlink "$HOME/app/current")"
echo "revision $revision"
echo "from $address"
"$HOME/bin/svc" status

state=$("$HOME/bin/svc" status | awk '$1 == "app" { print $2 }')
case $PROCESS_STATE in
up) [ "$state" = up ] ;;
stopped) [ "$state" = down ] || [ "$state" = masked ] ;;
*) true ;;
esac || {
  echo "process check: the application is $state, not $PROCESS_STATE" >&2
  exit 1
}
