#!/usr/bin/env bash
# Step 10: define the first new application server, isolated by inputs
#
#   needs   APP_LIKE, APP_NAME, ISOLATION
#   leaves  the definition, tagged new
#   proves  no required input is missing, nothing production-only is shared
#   undo    rs-cleanup plan --as new >plan && rs-cleanup retire --plan plan --delete
step_10() {
  local set=() pair
  for pair in "${ISOLATION[@]}"; do set+=(--set "$pair"); done
  rs-clone server "$APP_LIKE" --name "$APP_NAME" --to 1 --as new \
    --drop-tag "application:active_$POOL=true" "${set[@]}" | rs-inputs check --phase boot --require
}
proof_10() {
  rs-server list --as new --role server
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 10 "$@"; }
