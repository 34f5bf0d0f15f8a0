#!/usr/bin/env bash
# Step 17: begin: everything that the window needs is there
#
#   needs   steps 1 to 16
#   leaves  the note what the balancers' configuration is; the relay log of the warm slaves synced at once (a debt)
#   proves  the old release serves; preflight: every check is ok; unknown is not ok
#   undo    rs-dbsync settings restore sync_relay_log; the hold does so too
step_17() {
  local allow
  scripts_known --as new --role server --first
  statements_known
  mapfile -t allow < <(allow)
  [[ -n $STAGING || $UNREHEARSED == decline ]] || allow+=(--accept 'rehearsal fits the window')
  # behind a page, where somebody turned round, there is nothing to ask
  ! rs-maintenance status --pool "$POOL" --require off >/dev/null 2>&1 ||
    rs-check site --pool "$POOL" ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
  rs-check preflight --window "$WINDOW" --record ${STAGING:+--rehearsal "$STAGING"} "${allow[@]}"
  rs-server list --as warm --allow-none | rs-dbsync settings change sync_relay_log --allow-none
}
proof_17() {
  asked rs-check preflight
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 17 "$@"; }
