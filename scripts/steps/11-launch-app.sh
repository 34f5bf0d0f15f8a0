#!/usr/bin/env bash
# Step 11: launch it with the old code and test it through the temporary balancer
#
#   needs   steps 8 to 10
#   leaves  it serves the test pool with the old code
#   proves  the old release answers through the test balancer
#   undo    rs-lbctl disconnect --pool TEST_POOL; rs-cleanup plan --as new >plan && rs-cleanup retire --plan plan
step_11() {
  stranded_anew --as new --role server
  rs-server list --as new --role server | rs-server launch | rs-lbctl connect --pool "$TEST_POOL"
  rs-check site --pool "$TEST_POOL" ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"}
}
proof_11() {
  asked rs-check site --pool "$TEST_POOL"
  rs-server list --as new --role server | rs-lbctl connect --pool "$TEST_POOL" --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 11 "$@"; }
