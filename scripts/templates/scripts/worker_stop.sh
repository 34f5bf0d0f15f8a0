#!/usr/bin/env bash
# ---
# RightScript Name: worker stop
# Description: Stops all workers and jobs. With `rs-run --stay` neither the init nor a reboot starts them again.
# Inputs: {}
# ...
set -euo pipefail

mapfile -t names < <("$HOME/bin/svc" status | awk '$1 ~ /^(worker|job)-/ { print $1 }')
if [ "${#names[@]}" -eq 0 ]; then
  echo "nothing of that kind here"
  exit 0
fi
"$HOME/bin/svc" stop "${names[@]}"
