#!/usr/bin/env bash
# Step 01: prove the backups
#
#   needs   BACKUP_MAX_AGE, WARM
#   leaves  nothing changed, but the notes that the newest backups were restored and answered
#   proves  the newest backup of each set is young and whole, and a database started from it answers
#   undo    nothing to undo
step_01() {
  rs-snapshot list --role master --require "age<$BACKUP_MAX_AGE,perfect" >/dev/null
  local slaves
  mapfile -t slaves < <(printf '%s\n' "${WARM[@]%% => *}") # one of each database set
  rs-snapshot prove -- "${slaves[@]}"
}
proof_01() {
  asked rs-snapshot prove
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 01 "$@"; }
