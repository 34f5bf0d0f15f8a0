#!/usr/bin/env bash
# Step 24: take the old members out of the production pool
#
#   needs   the page is up
#   leaves  no old member in the pool
#   proves  read back from every balancer
#   undo    rs-lbctl connect --pool POOL --as old
step_24() {
  rs-server list --as old --role server --state operational --allow-none |
    rs-lbctl disconnect --pool "$POOL" --allow-empty --allow-none
}
proof_24() {
  rs-server list --as old --role server --state operational --allow-none |
    rs-lbctl disconnect --pool "$POOL" --allow-empty --allow-none --dry-run | unchanged_if_any
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 24 "$@"; }
