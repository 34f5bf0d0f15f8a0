#!/usr/bin/env bash
# Step 23: migrate the schema
#
#   needs   MIGRATION_SQL or MIGRATION_SCRIPT; writes off, the rollback copy of each set held, their positions a pair
#   leaves  the new schema; from here back only by the rollback copy
#   proves  the pair holds; the migration ended; it runs once under a token in the database
#   undo    scripts/rollback.sh: promotes the warm slave
step_23() {
  migrations
}
migrations() { # migrations [--dry-run]
  local set entry sets masters files
  mapfile -t sets < <(sets_of "${MIGRATION_SQL[@]}")
  for set in "${sets[@]}"; do
    masters=(--role master) files=()
    [[ -z $set ]] || masters+=(--tag "database:master_active=$set")
    for entry in "${MIGRATION_SQL[@]}"; do
      [[ $(set_of "$entry") != "$set" ]] || files+=("${entry#* => }")
    done
    rs-dbsync migrate "${masters[@]}" --sql "${files[@]}" --token "$UPGRADE" "$@"
  done
  for entry in "${MIGRATION_SCRIPT[@]}"; do
    set=$(set_of "$entry")
    rs-dbsync migrate --as new --role server --first --script "${entry#* => }" --token "$UPGRADE" ${set:+--set "$set"} \
      "${MIGRATE_AGAIN[@]}" "$@"
  done
}
proof_23() {
  migrations --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 23 "$@"; }
