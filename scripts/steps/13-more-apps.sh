#!/usr/bin/env bash
# Step 13: clone it until the numbers are equal, launch, test the boot, lock
#
#   needs   NEW_APPS
#   leaves  all new application servers, locked (a debt), alerts quenched
#   proves  every boot script ended well
#   undo    rs-server unlock --as new; rs-cleanup plan --as new >plan && rs-cleanup retire --plan plan
step_13() {
  stranded_anew --as new --role server
  rs-server list --as new --role server --first |
    rs-clone server --name "$APP_NAME" --to "$NEW_APPS" --as new --with-original |
    rs-server launch |
    rs-server quench |
    rs-server lock
}
proof_13() {
  at_least "$NEW_APPS" --as new --role server --state operational
  rs-server list --as new --role server | rs-server quench --dry-run | rs-server lock --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 13 "$@"; }
