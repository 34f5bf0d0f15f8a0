#!/usr/bin/env bash
# Step 35: alerts on for the new servers; nothing fires
#
#   needs   the site runs; ALERTS=no where there is no alert system
#   leaves  quenches ended
#   proves  no alert fires, no new server is blind
#   undo    rs-server quench --as new
step_35() {
  [[ $ALERTS == yes ]] || {
    nothing "ALERTS=no: the site has no alert system"
    return 0
  }
  rs-server list --as new --role server | rs-server unquench
  rs-check alerts --as new
}
proof_35() {
  if [[ $ALERTS == no ]]; then
    declared
  else
    asked rs-check alerts --as new
    rs-server list --as new --role server | rs-server unquench --dry-run | unchanged
  fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 35 "$@"; }
