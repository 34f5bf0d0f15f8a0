#!/usr/bin/env bash
# Step 01: prove the backups
#
#   needs   BACKUP_MAX_AGE
#   leaves  nothing changed, but the note that the newest backup was restored and answered
#   proves  the newest backup is young and whole, and a database started from it answers
#   undo    nothing to undo
step_01() {
  rs-snapshot list --role master --require "age<$BACKUP_MAX_AGE,perfect" >/dev/null
  rs-snapshot prove --role slave --first
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 01 "$@"; }
