#!/usr/bin/env bash
# Step 21: the warm slave has every write
#
#   needs   writes are off
#   leaves  nothing changed
#   proves  every conjunct of the proof of sync, by name
#   undo    nothing to undo
step_21() {
  rs-dbsync status --as warm --proof
}
proof_21() {
  asked rs-dbsync status --as warm --proof
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 21 "$@"; }
