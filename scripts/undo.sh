#!/usr/bin/env bash
# What `rollback.sh --undo` does: a rollback after the migration is taken back. The migrated master was fenced and kept; it is
# made the master again, at the price of what was written since, and the steps that had been done then are done again: they
# change what the rollback undid.
# So it is with a way back that was cut off before it promoted anything: it is given up.
# Sourced by rollback.sh, never run.
# shellcheck disable=SC2154 # mode, yes, accept, losing, overrides, price are rollback.sh's

# Masters that the rollback of this run fenced: none of its warm slaves, which are fenced in their turn.
kept_masters() {
  local name
  { command rs-cleanup audit --json 2>/dev/null || true; } |
    sed -n "/\"run\":\"$UPGRADE\"/s/.*\"key\":\"fenced:\([^\"]*\)\".*/\1/p" |
    while IFS= read -r name; do
      [[ -n $(command rs-server list "$name" --as warm --allow-none --json 2>/dev/null) ]] || printf '%s\n' "$name"
    done
}
# All that can be asked: that every server that is needed answers and takes what it will be told, and that the fenced master
# may be the master again.
may_undo() {
  local allowed=()
  mapfile -t allowed < <(allow)
  try 'a balancer whose page cannot be asked' command rs-maintenance status --pool "$POOL"
  try 'a balancer whose pool cannot be asked' command rs-lbctl status --pool "$POOL"
  if ((${#masters[@]})); then
    # one that was cut off in the middle of its promotion may have none
    ! warm_is_master ||
      try 'the masters of the old release' command rs-dbsync writes off --role master "${allowed[@]}" --dry-run
    try 'the promotion of the migrated master' may_promote "${masters[@]}"
  fi
  try 'the old processes' takes "$APP_STOP" --as old --role server
  try 'the new processes' takes "$APP_START" --as new --role server
  [[ -z $WORKER_START || $before_back != *' 29w '* ]] ||
    try 'the new workers' takes_work "$WORKER_START" --as new --role server
  [[ -z $OLD_ARRAY ]] || try 'the old array' command rs-server disable "$OLD_ARRAY" --dry-run
  [[ -z $NEW_ARRAY ]] || try 'the new array' command rs-server enable "$NEW_ARRAY" --dry-run
  none_refused "mend what the lines above name, then rollback.sh --undo; the data that the migrated master had: rs-snapshot list (abandoned-…)"
}
# given_up: the way back was cut off. Where it promoted nothing the migrated master is what it was, and stays the master.
given_up() {
  if warm_is_master; then
    ! promotion_left --as warm --role master ||
      die 5 "the promotion of the warm slave was cut off in its middle: it has to come to its end first" \
        "rollback.sh goes on with it; then rollback.sh --undo"
    return 0
  fi
  did rs-dbsync migrate ||
    die 5 "the way back of $UPGRADE was cut off, and it is free: there is nothing to take back" \
      "rollback.sh goes on with it; upgrade.sh goes on with step 15"
  [[ -n $(command rs-server list --role master --not-as warm --allow-none --json 2>/dev/null) ]] ||
    die 5 "the way back of $UPGRADE was cut off in the middle of its promotion: there is no master" "rollback.sh goes on with it"
  masters=()
  part "the way back promoted nothing yet: the migrated master stays the master, and nothing is lost"
}
undo() {
  local label masters=() kept schema
  mapfile -t masters < <(kept_masters)
  if [[ $turned == yes ]]; then given_up; fi
  [[ $mode == plan || $at == 'way back' || $at == undo || $turned == yes ]] ||
    die 5 "the run $UPGRADE was not rolled back: there is nothing to take back" "upgrade.sh goes on, rollback.sh goes back"
  [[ $mode == plan || $at == undo || $turned == yes ]] || warm_is_master ||
    die 5 "the run $UPGRADE was rolled back before its migration, which was free" "upgrade.sh goes on with step 15"
  ! warm_is_master || ((${#masters[@]})) ||
    die 5 "no master is fenced and kept any more: it was rebuilt or retired" \
      "the data that it had: rs-snapshot list (abandoned-…); or a new run, with another UPGRADE and another name in WARM"
  for label in "$scripts"/steps/[0-9]*.sh; do
    # shellcheck disable=SC1090 # they are checked by themselves
    . "$label"
  done
  read_marks

  # one that was cut off in the middle of a promotion has a master no more: its price is paid
  if ((${#masters[@]})) && warm_is_master; then
    count "${masters[@]}"
    part "the migrated master becomes the master again: ${masters[*]}. The price until now: $price"
  fi
  # before anything is touched
  [[ $mode == plan ]] || may_undo
  if ((${#masters[@]})) && warm_is_master; then
    if [[ $mode == run && $yes == no && -z $accept ]]; then
      ask 'take the rollback back now?' || die 5 "not confirmed" "rollback.sh --undo again"
    fi
  fi
  [[ $mode != run || $at == undo ]] || command rs-journal mark undo >/dev/null
  part "page on"
  page_on >/dev/null
  if ((${#masters[@]})) && warm_is_master; then
    part "writes off on the masters of the old release"
    mapfile -t kept < <(allow)
    rs-dbsync writes off --role master "${kept[@]}" >/dev/null
    [[ $mode != run ]] || price_taken "${masters[@]}"
  fi
  part "old processes stop, their array is off"
  step_19_processes >/dev/null
  step_27 >/dev/null
  if ((${#masters[@]})); then
    ! warm_is_master || rs-dbsync writes off --role master --sessions "${kept[@]}" >/dev/null
    rs-server list --role db | rs-snapshot schedule off >/dev/null
    part "the migrated master becomes the master again"
    rs-dbsync promote "${masters[@]}" "${losing[@]}" "${overrides[@]}" >/dev/null
  fi
  if [[ $before_back != *' 30 '* ]]; then # nobody wrote yet where the run stood, and its migration may not be done
    mapfile -t kept < <(allow)
    rs-dbsync writes off --role master "${kept[@]}" >/dev/null
  else
    rs-dbsync writes on --role master >/dev/null
  fi
  # what the promotion of the inputs had taken from the new servers: an array that is on again launches the new release
  rs-server list --as new | rs-inputs set --next "${RELEASE[@]}" >/dev/null
  # what the rollback undid, in the order of the run
  for label in 29f 29a 25 28 26 30 31 29w 25i 34 35 36; do
    [[ $before_back == *" $label "* ]] || continue
    part "step $label again: $(title "$label")"
    "step_${part_of[$label]:-$label}" >/dev/null
  done
  say ""
  if [[ $mode == dry ]]; then
    say "Nothing was changed. What needs an earlier act can be tried only after that one."
  elif [[ $before_back == *' 31 '* ]]; then
    say "The new release serves on the migrated data again. The warm slave is read-only and kept: rollback.sh goes back to it."
  else
    schema=$(command rs-dbsync status --role master --json 2>/dev/null) || true
    case $schema in
    *'"schema_state":"half"'*)
      say "The master is the master again, and its migration is half, as it was when that was cut off: neither release can live"
      say "with it. The page is up, as it was. On: upgrade.sh, with --again once you looked at what a script left. Back: rollback.sh."
      ;;
    *) say "The migrated master is the master again; the page is up, as it was. On: upgrade.sh. Back: rollback.sh." ;;
    esac
  fi
  [[ $mode == run ]] || return 0
  command rs-journal mark 'step forth' --took-ms $(((${EPOCHREALTIME/[.,]/} - began) / 1000)) >/dev/null
  command rs-cleanup audit --settle >/dev/null || true
  [[ $before_back != *' 31 '* ]] || command rs-cleanup audit --due window >/dev/null 2>&1 ||
    die 3 "something of the window is left open" "the lines above say what settles it"
}
