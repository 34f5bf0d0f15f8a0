#!/usr/bin/env bash
# Step 22: hold the warm slave
#
#   needs   step 21 and the page; both are proven again here
#   leaves  replication stopped so that neither restart nor START SLAVE resumes it; locked (debts until the old is retired)
#   proves  the position at which it is held is the one of the master
#   undo    rs-dbsync resume --as warm
step_22() {
  # a configuration that somebody rewrote since would let users in just before the migration
  rs-maintenance status --pool "$POOL" --require on >/dev/null &
  local page=$!
  rs-dbsync hold --as warm | rs-server lock
  wait "$page"
}
proof_22() {
  rs-dbsync status --as warm --require held &
  local held=$!
  rs-server lock --as warm --dry-run | unchanged
  wait "$held"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 22 "$@"; }
