#!/usr/bin/env bash
# Step 17: begin: everything that the window needs is there
#
#   needs   steps 1 to 16
#   leaves  nothing changed, but the note what the balancers' configuration is
#   proves  preflight: every check is ok; unknown is not ok
#   undo    nothing to undo
step_17() {
  local allow
  mapfile -t allow < <(allow)
  [[ -n $STAGING || $UNREHEARSED == decline ]] || allow+=(--accept 'rehearsal fits the window')
  rs-check preflight --window "$WINDOW" --record ${STAGING:+--rehearsal "$STAGING"} "${allow[@]}"
}
proof_17() {
  asked rs-check preflight
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 17 "$@"; }
