#!/usr/bin/env bash
# Step 18: the maintenance page on all production balancers
#
#   needs   step 17
#   leaves  the page up on all, or on none (a debt of the window); requests in flight, websockets among them, have ended
#   proves  the balancers are configured as step 17 found them; own requests to every address get 503, Retry-After, no-store; what was ended is counted
#   undo    rs-maintenance stop --pool POOL
step_18() {
  rs-check drift --allow-none >/dev/null
  page_on
}
proof_18() {
  local kill=()
  [[ $PAGE_KILL == no ]] || kill=(--kill)
  rs-maintenance status --pool "$POOL" --require on
  asked rs-check drift
  asked rs-maintenance start --pool "$POOL" --wait "$PAGE_WAIT" "${kill[@]}"
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 18 "$@"; }
