#!/usr/bin/env bash
# rollback.sh: the old release on the old data, from any step of the run.
#
#   rollback.sh [--conf FILE] [--yes] [--dry-run] [--plan]
#
# Before the migration this is free: nothing is lost. After it the warm slave, held since step 22, becomes the master:
# what was written since the page went down is lost, and the amount is said before anything is done.
# Order: page on, writes off, database, processes, wires, test, page off. Started again it goes on.
#
# Exit codes are those of the tools; 5: declined, the last line says which condition.
. "${BASH_SOURCE%/*}/lib.sh"

yes=no mode=run
while (($#)); do
  case $1 in
  --conf)
    (($# > 1)) || die 2 "--conf wants a file"
    export RS_UPGRADE_CONF=$2
    shift
    ;;
  --yes | -y) yes=yes ;;
  --dry-run) mode=dry export RS_MODE=dry ;;
  --plan) mode=plan export RS_MODE=plan ;;
  -h | --help)
    sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
  *) die 2 "no option is called $1" "rollback.sh --help" ;;
  esac
  shift
done
load
if [[ $mode == run && -z ${RS_LOCK_FD:-} ]]; then
  again=()
  [[ $yes == no ]] || again+=(--yes)
  exec rs-journal lock --take-over -- "$0" "${again[@]}"
fi
trap '' HUP
trap 'leftmost "${PIPESTATUS[@]}"' ERR
trap 'say "rollback.sh: interrupted (try: rollback.sh again, it goes on; rs-cleanup audit says what is open)"; exit 130' INT TERM

# Asked into a variable: a gate's no is no failure here, and no reader goes away before all was said.
did() { # did TOOL VERB: whether this run has such an act
  local acts line
  acts=$(command rs-journal show --run "$UPGRADE" --json 2>/dev/null) || true
  while IFS= read -r line; do
    [[ $line == *"\"tool\":\"$1\""* && $line == *"\"verb\":\"$2\""* ]] && return
  done <<<"$acts"
  return 1
}
open() { # open KIND: whether a debt of that kind is open, as the world shows it
  local debts
  debts=$(command rs-cleanup audit --json 2>/dev/null) || true
  [[ $debts == *"\"key\":\"$1"* ]]
}
part() { say "$(printf '%8s  %s' "" "$*")"; }
old() { rs-server list --as old --role app --state operational; }

migrated=no
did rs-dbsync migrate && migrated=yes
dark=no
{ open page || open writes || [[ $migrated == yes ]]; } && dark=yes

case $migrated in
yes)
  price=$(command rs-dbsync price --as warm 2>/dev/null) || price='unknown: the masters do not answer'
  part "the migration has begun: the warm slave becomes the master. The price: ${price//$'\n'/; }"
  ;;
*) part "the migration has not begun: going back is free" ;;
esac
# Before anything is touched: a copy that somebody thawed would bring back the migration, or nothing.
if [[ $migrated == yes && $mode != plan ]] && ! did rs-dbsync promote; then
  held=$(command rs-dbsync status --as warm --require held 2>&1 >/dev/null) || {
    say "$held"
    die 5 "the warm slave is no way back any more; nothing was changed" \
      "what remains: forward (upgrade.sh), or the data of step 20: rs-snapshot list, a new server, rs-dbsync init --snapshot"
  }
fi
if [[ $mode == run && $yes == no ]]; then
  [[ -t 0 ]] || die 5 "a decision is wanted and there is no terminal to ask on" "rollback.sh --yes"
  read -r -p "          go back now? [yes/no] " answer
  [[ $answer == y* ]] || die 5 "not confirmed" "rollback.sh again"
fi

# upgrade.sh begins with step 15 again after this
[[ $mode != run ]] || command rs-journal mark 'step back' >/dev/null
if [[ $dark == yes ]]; then
  part "page on"
  rs-maintenance start --pool "$POOL" >/dev/null
fi
if [[ $migrated == yes ]]; then
  part "writes off on the migrated masters"
  mapfile -t allowed < <(allow)
  rs-dbsync writes off --role master "${allowed[@]}" >/dev/null
  [[ $mode != run ]] || part "nobody writes; what is lost: $(command rs-dbsync price --as warm 2>/dev/null || echo unknown)"
fi
if [[ $dark == yes ]]; then
  part "new processes stop"
  rs-server list --as new --role server --state operational --allow-none |
    rs-run "$APP_STOP" --stay --allow-none >/dev/null
fi
if [[ $migrated == yes ]]; then
  rs-server list --role db | rs-snapshot schedule off >/dev/null
  part "the warm slave becomes the master"
  rs-server list --as warm | rs-dbsync promote --lose-writes >/dev/null
else
  if open held; then
    part "the warm slave replicates again"
    rs-server list --as warm | rs-server unlock | rs-dbsync resume >/dev/null
  fi
fi
if did rs-inputs promote; then
  part "the inputs of the deployment are those of the old release again"
  rs-inputs promote --undo >/dev/null
fi
part "old processes start"
old | rs-run "$APP_START" >/dev/null
if [[ $dark == yes ]]; then
  if [[ $migrated == no ]]; then
    part "writes on"
    rs-dbsync writes on --role master >/dev/null
  fi
  part "the pool becomes exactly the old members"
  old | rs-lbctl connect --pool "$POOL" --only ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
  part "test behind the page"
  rs-check site --pool "$POOL" --bypass --each-member ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
fi
if [[ -n $NEW_ARRAY ]]; then
  rs-server list --as new --role array --allow-none | rs-server disable --allow-none >/dev/null
fi
if [[ $dark == yes ]]; then
  part "page off"
  rs-maintenance stop --pool "$POOL" >/dev/null
fi
part "arrays, workers, backups, alerts as before"
[[ -z $OLD_ARRAY ]] || rs-server enable "$OLD_ARRAY" >/dev/null
[[ -z $WORKER_START ]] || old | rs-run "$WORKER_START" >/dev/null
rs-server list --role master | rs-snapshot schedule on >/dev/null
rs-server list --as old --role server --allow-none | rs-server unquench --allow-none >/dev/null
say ""
say "The old release serves on the old data. Left for you:"
say "  end what was made for the upgrade: rs-cleanup plan --as new --as temp >plan; rs-cleanup retire --plan plan"
[[ $migrated == no ]] || say "  the old master is read-only and kept; rebuild the slaves: rs-dbsync init"
command rs-cleanup audit >/dev/null || true
