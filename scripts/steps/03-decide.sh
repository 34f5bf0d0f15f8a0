#!/usr/bin/env bash
# Step 03: decide that staging is good
#
#   needs   somebody who decides
#   leaves  nothing changed
#   proves  nothing: this is a judgement
#   undo    nothing to undo
step_03() {
  [[ -n $STAGING ]] || {
    nothing "no STAGING is set: you decide"
    return 0
  }
  rs-journal report --deployment "$STAGING" --run "$UPGRADE-rehearsal-*"
}
proof_03() {
  if [[ -z $STAGING ]]; then declared; else asked rs-journal report --deployment "$STAGING"; fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 03 "$@"; }
