#!/usr/bin/env bash
# Step 06: launch the warm slave and let it catch up; its backups stay off
#
#   needs   a backup (step 1)
#   leaves  a slave that replicates and serves nobody; its schedule is off (a debt)
#   proves  both threads run, lag is gone
#   undo    rs-cleanup plan --as warm >plan && rs-cleanup retire --plan plan --delete
step_06() {
  stranded_anew --as warm
  rs-server list --as warm |
    rs-server launch --set INIT_SLAVE_AT_BOOT=text:true |
    rs-dbsync init |
    rs-snapshot schedule off
}
proof_06() {
  rs-dbsync status --as warm --require replicating
  rs-snapshot schedule off --as warm --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 06 "$@"; }
