#!/usr/bin/env bash
# Step 12: stop it and give it the new code
#
#   needs   RELEASE, WAIT_AT_BOOT
#   leaves  the new release on disk and in both input sets, nothing of it running: it cannot write to the old schema
#   proves  the working copy is at the wanted revision
#   undo    the old values by rs-inputs set, then the script again
step_12() {
  rs-server list --as new --role server |
    rs-run "$APP_STOP" --stay |
    rs-inputs set --next --current --temporary "${RELEASE[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"} |
    rs-run "$CODE_UPDATE"
}
proof_12() {
  rs-server list --as new --role server |
    rs-inputs set --next --current --temporary "${RELEASE[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"} --dry-run | unchanged
  ran "$CODE_UPDATE" --as new --role server
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 12 "$@"; }
