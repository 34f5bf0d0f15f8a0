#!/usr/bin/env bash
# Step 02: a staging deployment went through this upgrade
#
#   needs   STAGING, or somebody who says so
#   leaves  nothing changed
#   proves  a rehearsal of this run came to its last step, and its journal has no open act
#   undo    nothing to undo
step_02() {
  [[ -n $STAGING ]] || {
    nothing "no STAGING is set: nothing was rehearsed that we know of"
    return 0
  }
  rs-journal verify --no-world --deployment "$STAGING" --run "$UPGRADE-rehearsal-*" --marked 'step 38'
}
proof_02() {
  if [[ -z $STAGING ]]; then declared; else asked rs-journal verify --no-world --deployment "$STAGING"; fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 02 "$@"; }
