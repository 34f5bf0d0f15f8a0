#!/usr/bin/env bash
# Step 19: nobody writes: writes off, old processes stopped to stay stopped
#
#   needs   the page is up; it is asked for again
#   leaves  the masters read-only, sessions that could write ended (a debt); old applications, workers and cron jobs stopped
#   proves  who could write is listed, and it is nobody
#   undo    rs-dbsync writes on --role master; rs-run APP_START --as old
step_19() {
  step_19_writes
  step_19_processes
}
step_19_writes() {
  local allow
  mapfile -t allow < <(allow)
  page_up
  rs-dbsync writes off --role master "${allow[@]}"
}
step_19_processes() {
  rs-server list --as old --role server --state operational --allow-none | rs-run "$APP_STOP" --stay --allow-none
}
proof_19() {
  proof_19_writes
  proof_19_processes
}
proof_19_writes() {
  local allow
  mapfile -t allow < <(allow)
  rs-dbsync writes off --role master "${allow[@]}" --dry-run | unchanged
}
proof_19_processes() {
  ran "$APP_STOP" --as old --role server --state operational
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 19 "$@"; }
