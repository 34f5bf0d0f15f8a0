#!/usr/bin/env bash
# Step 27: disable the old array, quench the old servers
#
#   needs   OLD_ARRAY
#   leaves  the array disabled: no instance with old code is launched in the dark (a debt)
#   proves  it reads disabled; none of its instances is booting
#   undo    rs-server enable OLD_ARRAY; rs-server unquench --as old
step_27() {
  [[ -z $OLD_ARRAY ]] || rs-server disable "$OLD_ARRAY"
  rs-server list --as old --role server --allow-none | rs-server quench --allow-none
}
proof_27() {
  asked rs-server quench
  [[ -z $OLD_ARRAY ]] || rs-server disable "$OLD_ARRAY" --dry-run | unchanged
  rs-server list --as old --role server --allow-none | rs-server quench --allow-none --dry-run | unchanged_if_any
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 27 "$@"; }
