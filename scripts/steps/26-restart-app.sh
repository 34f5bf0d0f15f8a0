#!/usr/bin/env bash
# Step 26: restart the new applications if they need it
#
#   needs   the schema is new; RESTART_APP=yes, or to be run by --only 26
#   leaves  applications that have dropped what they remembered of the old schema and address
#   proves  they answer after it
#   undo    nothing to undo
step_26() {
  if [[ $RESTART_APP == no ]]; then
    nothing "not necessary: step 29 started the applications with the new code (RESTART_APP=yes, or --only 26)"
    return 0
  fi
  rs-server list --as new --role server | rs-run "$APP_RESTART"
}
proof_26() {
  if [[ $RESTART_APP == no ]]; then declared; else ran "$APP_RESTART" --as new --role server; fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 26 "$@"; }
