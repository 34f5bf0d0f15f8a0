#!/usr/bin/env bash
# Step 15: backups off on master and slave
#
#   needs   no backup in flight, or time to wait for it
#   leaves  the schedules off (debts that step 34 settles)
#   proves  the schedules read off, nothing in flight
#   undo    rs-snapshot schedule on --role db
step_15() {
  rs-snapshot schedule off --role db
}
proof_15() {
  rs-snapshot schedule off --role db --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 15 "$@"; }
