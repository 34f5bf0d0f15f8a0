#!/usr/bin/env bash
# Step 07: define the temporary balancer, isolated by inputs
#
#   needs   TEST_LB_LIKE, TEST_LB, TEST_POOL, TEST_HOST
#   leaves  the definition, tagged temp
#   proves  no production-only value is shared (the isolation lint)
#   undo    rs-cleanup plan --as temp >plan && rs-cleanup retire --plan plan --delete
step_07() {
  rs-clone server "$TEST_LB_LIKE" --name "$TEST_LB" --as temp \
    --tag "load_balancer:active_$TEST_POOL=true" --drop-tag "load_balancer:active_$POOL=true" \
    --set "LB_HOSTNAME=text:$TEST_HOST" --set "LB_APPLISTENER_NAME=text:$TEST_POOL"
}
proof_07() {
  rs-server list --as temp "$TEST_LB"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 07 "$@"; }
