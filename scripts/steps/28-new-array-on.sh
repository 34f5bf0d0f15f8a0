#!/usr/bin/env bash
# Step 28: enable the new array
#
#   needs   its minimum runs (step 14)
#   leaves  the array enabled
#   proves  its inputs are complete; operational instances reach the minimum
#   undo    rs-server disable NEW_ARRAY
step_28() {
  [[ -n $NEW_ARRAY ]] || {
    nothing "no NEW_ARRAY is set: there is no array"
    return 0
  }
  rs-server enable "$NEW_ARRAY"
}
proof_28() {
  if [[ -z $NEW_ARRAY ]]; then declared; else rs-server enable "$NEW_ARRAY" --dry-run | unchanged; fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 28 "$@"; }
