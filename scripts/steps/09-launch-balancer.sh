#!/usr/bin/env bash
# Step 09: launch the temporary balancer
#
#   needs   step 7
#   leaves  the balancer, operational, with an empty pool
#   proves  boot scripts ended well; the pool is there
#   undo    rs-cleanup plan --as temp >plan && rs-cleanup retire --plan plan
step_09() {
  stranded_anew --as temp
  rs-server list --as temp | rs-server launch
  rs-lbctl status --pool "$TEST_POOL" --allow-none >/dev/null
}
proof_09() {
  rs-server list --as temp --role lb --state operational "$TEST_LB"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 09 "$@"; }
