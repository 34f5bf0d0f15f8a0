#!/usr/bin/env bash
# Step 32: the snapshot after the migration, pinned
#
#   needs   the migration is done
#   leaves  a pinned snapshot, post-upgrade, that new slaves can start from
#   proves  it is complete
#   undo    rs-snapshot prune, once it is unpinned
step_32() {
  rs-snapshot take --role master --label "post-upgrade-$UPGRADE" --once --pin
}
proof_32() {
  rs-snapshot take --role master --label "post-upgrade-$UPGRADE" --once --pin --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 32 "$@"; }
