#!/usr/bin/env bash
# Step 36: make the release the inputs of the deployment
#
#   needs   decision point 5: the cheap way back for old servers ends here
#   leaves  the release inputs at the deployment, no override left on the new servers and array
#   proves  every new server resolves to what it runs with
#   undo    rs-inputs set --deployment-level, with the values before that the journal has
step_36() {
  local release isolation
  mapfile -t release < <(names "${RELEASE[@]}")
  mapfile -t isolation < <(names "${ISOLATION[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"})
  rs-server list --as new |
    rs-inputs promote --promote "$(joined "${release[@]}")" \
      --drop "$(joined "${isolation[@]}")" ${KEEP[0]:+--keep "$(joined "${KEEP[@]}")"} \
      --also-affects-old
}
proof_36() {
  local release
  mapfile -t release < <(names "${RELEASE[@]}")
  rs-server list --as new | rs-inputs unset --next "${release[@]}" --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 36 "$@"; }
