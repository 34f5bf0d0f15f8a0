#!/usr/bin/env bash
# ---
# RightScript Name: worker start
# Description: Starts all workers and jobs, also those that were stopped to stay.
# Inputs: {}
# ...
set -euo pipefail

mapfile -t names < <("$HOME/bin/svc" status | awk '$1 ~ /^(worker|job)-/ { print $1 }')
if [ "${#names[@]}" -eq 0 ]; then
  echo "nothing of that kind here"
  exit 0
fi
"$HOME/bin/svc" start "${names[@]}"
