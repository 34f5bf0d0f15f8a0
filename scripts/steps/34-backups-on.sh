#!/usr/bin/env bash
# Step 34: backups on again, but not on the warm slave
#
#   needs   the site runs
#   leaves  the schedules on; their debts settled
#   proves  the schedules read on
#   undo    rs-snapshot schedule off --role db
step_34() {
  rs-server list --role db --not-as warm | rs-snapshot schedule on
}
proof_34() {
  rs-server list --role db --not-as warm | rs-snapshot schedule on --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 34 "$@"; }
