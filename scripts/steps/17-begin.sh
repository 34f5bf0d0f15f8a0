#!/usr/bin/env bash
# Step 17: begin: everything that the window needs is there
#
#   needs   steps 1 to 16
#   leaves  nothing changed
#   proves  preflight: every check is ok; unknown is not ok
#   undo    nothing to undo
step_17() {
  rs-check preflight --window "$WINDOW"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 17 "$@"; }
