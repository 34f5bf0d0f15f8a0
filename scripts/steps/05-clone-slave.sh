#!/usr/bin/env bash
# Step 05: define the warm slave in the likeness of the slave
#
#   needs   WARM
#   leaves  the definition, tagged warm in this run; a second run finds it
#   proves  the definition differs from its original in name and tags only
#   undo    rs-cleanup plan --as warm >plan && rs-cleanup retire --plan plan --delete
step_05() {
  local pair
  for pair in "${WARM[@]}"; do
    rs-clone server "${pair%% => *}" --name "${pair#* => }" --as warm --drop-tag database:reads=true
  done
}
proof_05() {
  rs-server list --as warm "${WARM[@]#* => }"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 05 "$@"; }
