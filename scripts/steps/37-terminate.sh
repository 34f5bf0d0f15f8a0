#!/usr/bin/env bash
# Step 37: terminate the old servers, the warm slave and the temporary balancer
#
#   needs   decision point 6: the way back ends here
#   leaves  they are terminated; the test record is gone; the masters throw old binary logs away again
#   proves  each was unlocked, in no pool, no master, and as the plan says
#   undo    scripts/rollback.sh says what remains: the pinned snapshot and the archived definitions
step_37() {
  local plan
  plan=$(mktemp)
  rs-server list --as old --as warm --as temp --role server --allow-none | rs-server unlock --allow-none >/dev/null
  rs-cleanup plan --as old --as warm --as temp --include-warm --allow-none >"$plan"
  rs-cleanup retire --plan "$plan"
  rm -f "$plan"
  rs-lbctl point "$TEST_HOST" --remove # when nothing declines any more
  rs-server list --role master | rs-dbsync settings restore binlogs
}
proof_37() {
  none --as old --as warm --as temp --state operational
  rs-lbctl point "$TEST_HOST" --remove --dry-run | unchanged
  rs-server list --role master | rs-dbsync settings restore binlogs --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 37 "$@"; }
