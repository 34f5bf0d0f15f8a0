#!/usr/bin/env bash
# Step 14: define the new array and start its minimum, isolated
#
#   needs   NEW_ARRAY, NEW_ARRAY_MIN, RELEASE, ISOLATION
#   leaves  the array, disabled, with its minimum running and serving nobody
#   proves  its inputs are complete, its instances booted
#   undo    rs-cleanup plan --as new >plan && rs-cleanup retire --plan plan --delete
step_14() {
  [[ -n $OLD_ARRAY ]] || {
    nothing "no OLD_ARRAY is set: there is no array"
    return 0
  }
  stranded_ended --as new --array "$NEW_ARRAY"
  local set=() pair
  for pair in "${RELEASE[@]}" "${ISOLATION[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"}; do set+=(--set "$pair"); done
  rs-clone array "$OLD_ARRAY" --name "$NEW_ARRAY" --as new --drop-tag "application:active_$POOL=true" "${set[@]}" |
    rs-inputs check --phase boot --require |
    rs-server launch --to "$NEW_ARRAY_MIN"
}
proof_14() {
  if [[ -z $OLD_ARRAY ]]; then declared; else at_least "$NEW_ARRAY_MIN" --array "$NEW_ARRAY" --state operational; fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 14 "$@"; }
