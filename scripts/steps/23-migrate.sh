#!/usr/bin/env bash
# Step 23: migrate the schema
#
#   needs   writes off, the rollback copy held, their positions a pair
#   leaves  the new schema; from here back only by the rollback copy
#   proves  the pair holds; the migration ended; it runs once under a token in the database
#   undo    scripts/rollback.sh: promotes the warm slave
step_23() {
  if ((${#MIGRATION_SQL[@]})); then
    rs-dbsync migrate --role master --sql "${MIGRATION_SQL[@]}" --token "$UPGRADE"
  else
    rs-dbsync migrate --as new --role app --first --script "$MIGRATION_SCRIPT" --token "$UPGRADE"
  fi
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { . "${BASH_SOURCE%/*}/../lib.sh" && run_step 23 "$@"; }
