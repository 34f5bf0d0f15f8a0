#!/usr/bin/env bash
# Step 30: test the site behind the page
#
#   needs   writes are on, the new members are ready
#   leaves  nothing changed but what the test wrote
#   proves  users still see the page; the new release answers on every balancer and every member, through the bypass
#   undo    scripts/rollback.sh: the last moment without loss for users
step_30() {
  rs-maintenance status --pool "$POOL" --require on >/dev/null &
  local page=$!
  rs-check site --pool "$POOL" --bypass --each-member --wait 30s ${EXPECT_RELEASE:+--expect-release "$EXPECT_RELEASE"}
  wait "$page"
}
proof_30() {
  asked rs-check site --pool "$POOL" --bypass --each-member
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 30 "$@"; }
