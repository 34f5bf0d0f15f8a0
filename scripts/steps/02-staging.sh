#!/usr/bin/env bash
# Step 02: a staging deployment went through this upgrade
#
#   needs   STAGING, or somebody who says so
#   leaves  nothing changed
#   proves  the rehearsal's journal ends without an open act
#   undo    nothing to undo
step_02() {
  [[ -n $STAGING ]] || {
    say "      no STAGING is set: nothing was rehearsed that we know of"
    return 0
  }
  rs-journal verify --deployment "$STAGING"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 02 "$@"; }
