#!/usr/bin/env bash
# Step 25: the pool becomes exactly the new members
#
#   needs   the new applications answer
#   leaves  old members gone and new ones ready on every balancer, in one act each; isolation dropped from both input sets
#   proves  the balancers are configured as step 17 found them; each member answered our own request with the new release; read back
#   undo    rs-lbctl connect --pool POOL --only --as old
step_25() {
  step_25_members
  step_25_inputs
}
step_25_members() {
  rs-check drift --allow-none >/dev/null
  rs-server list --as new --role server |
    rs-lbctl connect --pool "$POOL" --only --answer-within "${ANSWER_WITHIN:-1m}" \
      ${EXPECT_RELEASE:+--expect-release "$EXPECT_RELEASE"}
}
step_25_inputs() {
  local isolation
  mapfile -t isolation < <(names "${ISOLATION[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"})
  rs-server list --as new |
    rs-inputs unset --next "${isolation[@]}" |
    rs-inputs copy --from next --to current "${isolation[@]}"
}
proof_25() {
  proof_25_members
  proof_25_inputs
}
proof_25_members() {
  asked rs-check drift
  rs-server list --as new --role server | rs-lbctl connect --pool "$POOL" --only --dry-run | unchanged
}
proof_25_inputs() {
  local isolation
  mapfile -t isolation < <(names "${ISOLATION[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"})
  rs-server list --as new |
    rs-inputs unset --next "${isolation[@]}" --dry-run |
    rs-inputs copy --from next --to current "${isolation[@]}" --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 25 "$@"; }
