#!/usr/bin/env bash
# Step 04: the database is as it should be, and what serves now is marked old
#
#   needs   a master and a slave
#   leaves  the tags of the old servers and the old array in this run
#   proves  every slave of every set replicates from its master, without errors, filters or delay
#   undo    rs-server mark none --as old
step_04() {
  arrays_named
  # the warm one is judged where it is made: in step 6
  rs-dbsync status --role slave --not-as warm --require replicating
  # the marked ones too: what was cut off behind its work is closed by the next one that finds it done
  rs-server list --role app --as none --as old --allow-none | rs-server mark old --allow-none
  [[ -z $OLD_ARRAY ]] || rs-server mark old "$OLD_ARRAY"
}
proof_04() {
  asked rs-dbsync status --role slave --not-as warm --require replicating
  none --role app --as none
  [[ -z $OLD_ARRAY ]] || rs-server mark old "$OLD_ARRAY" --dry-run | unchanged
}
[[ ${BASH_SOURCE[0]} != "$0" ]] || { here=$(readlink -f -- "$0") && . "${here%/*}/../lib.sh" && run_step 04 "$@"; }
