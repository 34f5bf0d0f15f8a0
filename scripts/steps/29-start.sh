#!/usr/bin/env bash
# Step 29: start the new processes: the application in the window, workers after the page is down
#
#   needs   the new code is in place
#   leaves  applications that answer; workers and cron jobs of the new release
#   proves  the processes run
#   undo    rs-run APP_STOP --stay --as new
step_29() {
  step_29_first
  step_29_app
  step_29_workers
}
step_29_app() {
  rs-server list --as new --role server | others | rs-run "$APP_START" --allow-none
}
others() { # all but the server on which step 23 runs its script: step_29_first starts that one
  if ((${#MIGRATION_SCRIPT[@]})); then sed 1d; else cat; fi
}
step_29_first() {
  ((${#MIGRATION_SCRIPT[@]})) || {
    nothing "no MIGRATION_SCRIPT is set: no server migrates"
    return 0
  }
  rs-server list --as new --role server --first | rs-run "$APP_START"
}
step_29_workers() {
  [[ -n $WORKER_START ]] || {
    nothing "WORKER_START is empty: there are no workers"
    return 0
  }
  # an instance that the array has just begun is waited for
  rs-server list --as new --role server | rs-server launch | working | rs-run "$WORKER_START" --allow-none
}
step_writes_on() {
  page_up # somebody may have lifted it since step 22: users would write before anybody tested
  rs-dbsync writes on --role master
}
proof_29() {
  ran "$APP_START" --as new --role server
  proof_29_workers
}
proof_29_app() {
  LESS=$((${#MIGRATION_SCRIPT[@]} > 0)) ran "$APP_START" --as new --role server
}
proof_29_first() {
  if ((${#MIGRATION_SCRIPT[@]})); then ran "$APP_START" --as new --role server --first; else declared; fi
}
proof_29_workers() {
  if [[ -z $WORKER_START ]]; then
    declared
  else
    LESS=$(rs-server list --as new --role server | but_working) ran "$WORKER_START" --as new --role server
  fi
}
proof_writes_on() {
  rs-maintenance status --pool "$POOL" --require on
  rs-dbsync writes on --role master --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 29 "$@"; }
