#!/usr/bin/env bash
# ---
# RightScript Name: app restart
# Description: Stops and starts the application, so that it forgets schema, connections and addresses; starts one that
#   was stopped. Workers and jobs that run are restarted, stopped ones stay stopped.
# Inputs: {}
# ...
set -euo pipefail

mapfile -t names < <("$HOME/bin/svc" status |
  awk '$1 == "app" || ($1 ~ /^(worker|job)-/ && $2 != "down" && $2 != "masked") { print $1 }')
if [ "${#names[@]}" -eq 0 ]; then
  echo "app restart: no application here; run 'code update' first" >&2
  exit 1
fi
"$HOME/bin/svc" restart "${names[@]}"
