#!/usr/bin/env bash
# Step 33: end of the window: nothing temporary of the window is left
#
#   needs   step 31
#   leaves  nothing changed
#   proves  no debt of the window is open
#   undo    nothing to undo
step_33() {
  rs-cleanup audit --due window
}
proof_33() {
  asked rs-cleanup audit --due window
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 33 "$@"; }
