#!/usr/bin/env bash
# Step 31: the page down: users write from here on
#
#   needs   step 30
#   leaves  the site open on the new release; noted where each master was then, from which users' writes are counted
#   proves  the balancers are configured as step 17 found them; an own request through every listening address gets the site
#   undo    scripts/rollback.sh: costs every write since now
step_31() {
  local drift members
  rs-check drift --allow-none >/dev/null &
  drift=$!
  members_are_new &
  members=$!
  rs-dbsync writes opened --role master --allow-none >/dev/null
  wait "$drift"
  wait "$members"
  rs-maintenance stop --pool "$POOL"
}
proof_31() {
  rs-maintenance status --pool "$POOL" --require off
  asked rs-check drift
  rs-dbsync writes opened --role master --allow-none --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 31 "$@"; }
