#!/usr/bin/env bash
# ---
# RightScript Name: app start
# Description: Starts the application, also one that was stopped to stay. Workers and jobs are left as they are.
# Inputs: {}
# ...
set -euo pipefail

mapfile -t names < <("$HOME/bin/svc" status | awk '$1 == "app" { print $1 }')
if [ "${#names[@]}" -eq 0 ]; then
  echo "nothing of that kind here"
  exit 1
fi
"$HOME/bin/svc" start "${names[@]}"
