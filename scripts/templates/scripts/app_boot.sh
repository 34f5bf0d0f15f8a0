#!/usr/bin/env bash
# ---
# RightScript Name: app boot
# Description: Starts the application, and the workers and jobs, unless the inputs say that this server shall wait.
#   At a reboot what was stopped to stay stays stopped.
# Inputs:
#   APP_START_AT_BOOT:
#     Category: Application
#     Description: With false everything waits for `app start` and `worker start`, reboots included.
#     Default: text:true
#     Possible Values: ["text:true", "text:false"]
#   APP_SERVES:
#     Category: Application
#     Description: With false this server has workers and jobs only.
#     Default: text:true
#     Possible Values: ["text:true", "text:false"]
#   WORKERS_AT_BOOT:
#     Category: Application
#     Description: With false workers and jobs wait for `worker start`, reboots included.
#     Default: text:true
#     Possible Values: ["text:true", "text:false"]
# ...
set -euo pipefail

svc="$HOME/bin/svc"
begin() { # begin WANTED NAME...
  local wanted=$1
  shift
  if [ "$#" -eq 0 ]; then
    return
  fi
  if [ "$wanted" = true ]; then
    "$svc" start "$@"
  elif [ "${RS_REBOOT:-}" != true ]; then
    "$svc" stop --stay "$@"
  else
    # Somebody may have started it by hand since: a reboot brings back what was there.
    mapfile -t free < <("$svc" status | awk '$2 != "masked" { print $1 }' | grep -Fx -f <(printf '%s\n' "$@"))
    if [ "${#free[@]}" -gt 0 ]; then
      "$svc" start "${free[@]}"
    fi
  fi
}
mapfile -t app < <("$svc" status | awk '$1 == "app" { print $1 }')
mapfile -t workers < <("$svc" status | awk '$1 ~ /^(worker|job)-/ { print $1 }')
if [ "$APP_START_AT_BOOT" != true ]; then
  APP_SERVES=false WORKERS_AT_BOOT=false
fi
begin "$APP_SERVES" "${app[@]}"
begin "$WORKERS_AT_BOOT" "${workers[@]}"
