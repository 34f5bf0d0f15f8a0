#!/usr/bin/env bash
# Step 08: point the test name at the temporary balancer
#
#   needs   step 9: the address is known only then
#   leaves  the A record, a debt until the old servers are retired
#   proves  the authoritative server answers with the address
#   undo    rs-lbctl point TEST_HOST --remove
step_08() {
  rs-lbctl point "$TEST_HOST" --at "$TEST_LB" --temp
}
proof_08() {
  rs-lbctl point "$TEST_HOST" --at "$TEST_LB" --temp --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 08 "$@"; }
