#!/usr/bin/env bash
# Step 38: remove the old definitions
#
#   needs   step 37
#   leaves  they are archived in the journal and gone
#   proves  nothing that runs is touched
#   undo    rs-cleanup recreate NAME: the definition with its inputs, not the machine (rs-cleanup archive lists them)
step_38() {
  local plan
  plan=$(mktemp)
  rs-cleanup plan --as old --as warm --as temp --include-warm --allow-none >"$plan"
  rs-cleanup retire --plan "$plan" --delete
  rm -f "$plan"
}
proof_38() {
  none --as old --as warm --as temp
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 38 "$@"; }
