#!/usr/bin/env bash
# Step 20: the snapshot before the migration, pinned
#
#   needs   the warm slave is held (SNAPSHOT=held), or writes are off (SNAPSHOT=before)
#   leaves  a pinned snapshot, pre-upgrade (of each attempt its own), at the position of the rollback copy (a debt)
#   proves  it is complete and stands for that position
#   undo    rs-snapshot prune, once it is unpinned
step_20() {
  local whom=(--as warm) label been=''
  label=$(pre_upgrade)
  [[ $SNAPSHOT == held ]] || whom=(--role master --once) # heartbeats move its position
  # one that was the master until that was taken back has moved since; what the way back took of it is of the hold
  [[ ${RS_MODE:-} == plan ]] || been=$(command rs-server list --as warm --tag 'database:fenced=*' --allow-none --json)
  [[ -z $been ]] || whom+=(--once)
  rs-snapshot take "${whom[@]}" --label "$label" --pin
}
proof_20() {
  rs-snapshot take --role master --label "$(pre_upgrade)" --once --pin --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 20 "$@"; }
