#!/usr/bin/env bash
# Step 16: new members stand by in the production pool
#
#   needs   the new servers are operational
#   leaves  every new member present in maint on every production balancer; they stay behind the test balancer too
#   proves  read back from the runtime and from what survives a reload
#   undo    rs-lbctl disconnect --pool POOL --as new
step_16() {
  rs-server list --as new --role server | rs-lbctl connect --pool "$POOL" --standby
}
proof_16() {
  rs-server list --as new --role server | rs-lbctl connect --pool "$POOL" --standby --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 16 "$@"; }
