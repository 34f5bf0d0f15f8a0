#!/usr/bin/env bash
# Step 31: the page down: users write from here on
#
#   needs   step 30
#   leaves  the site open on the new release
#   proves  an own request through every listening address gets the site
#   undo    scripts/rollback.sh: costs every write since now
step_31() {
  rs-maintenance stop --pool "$POOL"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 31 "$@"; }
