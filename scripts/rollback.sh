#!/usr/bin/env bash
# rollback.sh: the old release on the old data, from any step of the run.
#
#   rollback.sh [--conf FILE] [--yes] [--accept-loss N] [--override CONDITION] [--dry-run] [--plan]
#   rollback.sh --undo …
#
#   --undo            take a rollback back: the migrated master, fenced and kept since, is the master again, and the run
#                     stands where it stood, in the middle of its migration too. What users wrote since the rollback is lost:
#                     said, and counted, in the same way
#                     A rollback that was cut off before it promoted anything is given up by it: forward again, nothing is lost
#   --yes             do not ask; what is lost is lost, if it can be counted. A run of this upgrade that goes on is ended
#   --accept-loss N   lose at most so many transactions of users: counted when nobody writes any more. More, or unknown:
#                     declined, and the site is as it was found, so that one can go on in either direction. So it is with a
#                     no, or Ctrl-C, at the question what to lose.
#                     `any`: however many, counted or not
#   --override CONDITION  promote although this condition does not hold, by the name that the refusal gave it; may be repeated
#
# Before the migration a rollback is free: nothing is lost. After it the warm slave, held since step 22, becomes the master:
# what users wrote since the page went down is lost. From step 37 on there is no warm slave: it says what remains.
# It can be taken back, and that again, until one of the two is rebuilt or retired.
# Order: what can be asked (a no that nobody overrides: not begun), page on, writes off, database, processes, wires, test,
# page off. Started again it goes on; once it is back, and the world says so, it does nothing. What it says is kept in
# upgrade-RUN.log beside the settings.
#
# Exit codes are those of the tools; 5: declined, the last line says which condition.
set -e # without what stands there nothing may run
here=$(readlink -f -- "${BASH_SOURCE[0]}")
. "${here%/*}/lib.sh"
. "$scripts/undo.sh"

yes=no mode=run accept='' undo=no overrides=()
began=${EPOCHREALTIME/[.,]/}
while (($#)); do
  case $1 in
  --accept-loss)
    [[ ${2:-} =~ ^([0-9]+|any)$ ]] || die 2 "--accept-loss wants a number, or any" "rollback.sh --accept-loss 0"
    accept=$2
    shift
    ;;
  --override)
    [[ -n ${2:-} ]] || die 2 "--override wants the name of a condition" "rollback.sh --override 'application sessions gone'"
    overrides+=(--override "$2")
    shift
    ;;
  --undo) undo=yes ;;
  --dry-run) mode=dry && export RS_MODE=dry ;;
  --plan) mode=plan && export RS_MODE=plan ;;
  *)
    option "$@"
    shift $((words - 1))
    ;;
  esac
  shift
done
terminal() { # somebody can be asked
  [[ -t 0 ]] || die 5 "a decision is wanted and there is no terminal to ask on" "rollback.sh --yes, or --accept-loss N"
}
ask() { # ask WHAT: go on, or declined
  local answer
  terminal
  answer_to "          $1 [yes/no] "
  [[ $answer == y* ]]
}
load
# a name that no condition has is told before anything is touched
((${#overrides[@]} == 0)) || command rs-dbsync promote "${overrides[@]}" --dry-run --allow-none </dev/null >/dev/null || exit
[[ $mode == plan ]] || known_run
[[ $mode == run ]] || exec 2>&1 # what it would do is what was asked for
if [[ $mode == run && -z ${RS_LOCK_FD:-} ]]; then
  again=()
  [[ $yes == no ]] || again+=(--yes)
  [[ -z $accept ]] || again+=(--accept-loss "$accept")
  [[ $undo == no ]] || again+=(--undo)
  again+=("${overrides[@]}")
  # who lives may be at work: his run is ended only when somebody said yes
  if [[ $yes == no && -z $accept ]]; then
    rc=0
    held=$(rs-journal lock -- true 2>&1) || rc=$?
    ((rc == 0)) || say "$held"
    ((rc == 0 || rc == 5)) || exit "$rc"
    ((rc == 0)) || ask 'end that run first?' || die 5 "not confirmed; that run was not touched" "rollback.sh again"
  fi
  exec rs-journal lock --take-over -- "$scripts/rollback.sh" "${again[@]}"
fi
trap '' HUP
[[ $mode != run ]] || keep_log
now='' # the part at which it is; none was begun
self=rollback.sh
[[ $undo == no ]] || self='rollback.sh --undo'
# shellcheck disable=SC2317 # called by the trap
ended() { # ended CODE: where one stands
  trap '' EXIT INT TERM
  (($1 == 0)) || [[ -z $now ]] || {
    say ""
    say "The way back of $UPGRADE stopped at: $now"
    say "  go on:        $(with_conf rollback.sh)${self#rollback.sh}"
    say "  what is open: rs-cleanup audit"
    (($1 != 6 && $1 != 7)) || {
      say "  who does not answer: bring it back. A master that is dead for good: end its machine, so that it does not come back"
      say "  beside the new one, and go on without it: $self --accept-loss any --override 'master fenced' \\"
      say "    --override 'application sessions gone' --override 'other slaves declared' --override 'abandoned data kept'"
    }
    if [[ $mode != run ]]; then
      :
    elif [[ $undo == no ]] && warm_is_master; then
      promotion_left --as warm --role master ||
        say "  forth again:  $scripts/rollback.sh --undo: the migrated master is kept"
    elif [[ $undo == no && $(newest_mark) == 'step back' ]] && did rs-dbsync migrate; then
      say "  forth again:  $scripts/rollback.sh --undo: nothing was promoted yet"
    elif [[ $undo == yes && $(newest_mark) == undo ]] && ! warm_is_master; then
      promotion_left --role master || say "  back again:   $scripts/rollback.sh: the warm slave is kept"
    fi
    [[ -z $log ]] || say "  what was said: $log"
  }
  [[ $1 != 130 ]] || say "rollback.sh: interrupted (try: $self again, it goes on)"
  close_log
  exit "$1"
}
untried() { # untried STATUS...: under --dry-run a no is often that what stands before it was dry too
  local status
  for status in "$@"; do
    case $status in
    0 | 141) continue ;;
    2 | 3 | 4 | 5) say "          not tried further (exit $status: it needs what is done before it)" ;;
    *) exit "$status" ;;
    esac
    return 0
  done
}
trap 'leftmost "${PIPESTATUS[@]}"' ERR
[[ $mode != dry ]] || { set +e && trap 'untried "${PIPESTATUS[@]}"' ERR; }
trap 'exit 130' INT TERM
trap 'ended $?' EXIT

# Asked into a variable: a gate's no is no failure here, and no reader goes away before all was said.
did() { # did TOOL VERB [OUTCOME]: whether this run has such an act, since it last came back; or before, if that was taken back
  local acts line seen=1 before=1 there=1 back=no ended=no
  acts=$(command rs-journal show --run "$UPGRADE" --allow-none --json 2>/dev/null) || true
  while IFS= read -r line; do
    case $line in
    *'"subject":"way back"'*)
      there=$seen ended=yes
      seen=1
      ;;
    *'"subject":"undo"'*) # of one that was cut off nothing is forgotten yet
      [[ $ended == no ]] || seen=$there
      ended=no
      ;;
    *'"subject":"step forth"'*)
      seen=$before
      back=no
      ;;
    *'"subject":"step back"'*)
      [[ $back == yes ]] || before=$seen
      back=yes
      ;;
    *'"subject":"step '[0-4]*) back=no ;;
    *"\"outcome\":\"${3:-}"*"\"tool\":\"$1\""*"\"verb\":\"$2\""*) seen=0 ;;
    esac
  done <<<"$acts"
  [[ $turned == no || $undo == yes ]] || seen=$before
  return "$seen"
}
owed() { # owed KIND: the same, where the world shows it too
  { command rs-cleanup audit --json 2>/dev/null || true; } | sed '/"world":"settled"/d' | debts "$1"
}
open() { [[ -n $(owed "$1") ]]; } # open KIND
old() { rs-server list --as old --role app --state operational "$@"; }
part() {
  now=$1
  say "$(printf '%8s  %s' "" "$*")"
}
# What users lose: `lost` is their transactions in all sets, `unknown`, or 0 where there is nothing to lose; `price` says it.
# `unpaid` are those of these servers whose set has a master still: where a promotion that was cut off has fenced that already,
# nobody wrote since, and the price is paid.
unpaid=() paid=no
count() { # count SELECTOR...: of the servers that shall become masters
  local server record n rc
  lost=0 price='' unpaid=() paid=no
  while IFS= read -r server; do
    rc=0
    record=$(command rs-dbsync price --json 2>/dev/null <<<"$server") || rc=$?
    if ((rc == 4)) && [[ $promoting == yes ]]; then
      paid=yes
      continue
    fi
    unpaid+=("$server")
    n=$(sed -n 's/.*"transactions":\([0-9]*\),.*/\1/p' <<<"$record")
    if [[ -z $n || $lost == unknown ]]; then lost=unknown; else lost=$((lost + n)); fi
    record=$(sed -nE 's/.*"words":"(([^"\\]|\\.)*)".*/\1/p' <<<"$record")
    record=${record//\\\"/\"}
    price+=${price:+; }${record:-unknown: its master does not answer}
  done < <(command rs-server list "$@" --allow-none --json 2>/dev/null || true)
  if [[ -z $price && $paid == yes ]]; then
    price='paid, its promotion was begun'
  elif ((${#unpaid[@]} == 0)); then
    lost=unknown price='unknown: there is no warm slave any more'
  fi
}
price_taken() { # price_taken SELECTOR...: nobody writes any more: what is lost is accepted, or all is put back
  count "$@"
  part "nobody writes; the price: $price"
  if [[ $accept == any ]]; then
    :
  elif [[ $lost == unknown ]]; then
    give_up "what would be lost is unknown, which is not nothing: $price" "$self --accept-loss any"
  elif [[ -n $accept ]] && ((lost > accept)); then
    local plural=s
    [[ $lost != 1 ]] || plural=''
    give_up "$lost transaction$plural of users would be lost, $accept accepted" "$self --accept-loss $lost"
  elif [[ -z $accept && $yes == no ]] && ((lost)); then
    trap 'say "" && give_up "interrupted at the question: $price" "$self again"' INT
    ask "lose them?" || give_up "not confirmed: $price" "$self again"
    trap 'exit 130' INT
  fi
  losing=(--accept-loss "$lost")
  [[ $lost != unknown ]] || losing=(--lose-writes)
}
give_up() { # give_up WHAT HINT: nothing is lost, and the site is as it was found
  local mark='step forth' on='upgrade.sh to go on' left='the site is as it was'
  [[ $undo == no ]] || mark='way back' on='nothing to stay with the old release'
  [[ $undo == no || $turned == no ]] || mark='step back' on='rollback.sh to go on to the old release'
  # a start that was cut off may have stopped them
  read_marks
  [[ $undo == yes || $before_back != *' 29a '* ]] ||
    rs-server list --as new --role server --state operational --allow-none | rs-run "$APP_START" --allow-none >/dev/null ||
    left='not every new application started (rs-run says why), all else is as it was'
  [[ $writes == off ]] || rs-dbsync writes on --role master >/dev/null
  [[ $page == on ]] || {
    # the last verdict on the site may be the answer to somebody's other question
    rs-check site --pool "$POOL" --bypass --each-member --wait 10s >/dev/null || true
    rs-maintenance stop --pool "$POOL" >/dev/null || left="the PAGE STAYS UP (rs-maintenance stop --pool $POOL says why), all else is as it was"
  }
  command rs-journal mark "$mark" >/dev/null
  die 5 "$1; $left" "$on; $2"
}
promotion_left() { # promotion_left SELECTOR...: whether one of these is a master whose promotion has still to come to its end
  local said
  said=$(command rs-server list "$@" --allow-none --json 2>/dev/null |
    command rs-dbsync promote --dry-run --lose-writes --allow-none --timeout 10s "${overrides[@]}" 2>&1) || true
  [[ $said == *'"changed":true'* || (-n $said && $said != *'"changed":false'*) ]]
}
left_to_promote() { # whether a warm slave is no master yet
  local warm masters
  warm=$(command rs-server list --as warm --allow-none --json)
  masters=$(command rs-server list --as warm --role master --allow-none --json)
  [[ $warm != "$masters" ]]
}
as_first_found() { # page and writes as the journal has them for when this way back was begun first
  local line at='' shown=off written=on
  while IFS= read -r line; do
    case $line in
    *'"subject":"step back"'* | *'"subject":"undo"'*)
      [[ $at == back ]] || page=$shown writes=$written
      at=back
      ;;
    *'"tool":"rs-journal"'*) at='' ;;
    *'"outcome":"done"'*'"tool":"rs-maintenance","verb":"start"'*) shown=on ;;
    *'"outcome":"done"'*'"tool":"rs-maintenance","verb":"stop"'*) shown=off ;;
    *'"outcome":"done"'*'"tool":"rs-dbsync","verb":"writes off"'*) written=off ;;
    *'"outcome":"done"'*'"tool":"rs-dbsync","verb":"writes on"'*) written=on ;;
    esac
  done < <(command rs-journal show --json 2>/dev/null)
}
is_back() { # whether the last that the run did was this, and the old release serves everybody
  local site=(rs-check site --pool "$POOL" --each-member)
  [[ $(newest_mark) == 'way back' ]] && ! open page && ! open writes &&
    command "${site[@]}" ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null 2>&1
}

# A master that does not answer is not off. Who says so by --override goes on without it.
silent=no allowed=()
migrated_masters_off() { # migrated_masters_off [--sessions]
  local rc=0
  if [[ " ${overrides[*]} " != *' master fenced '* ]]; then
    migrated_masters | rs-dbsync writes off --allow-none "$@" "${allowed[@]}" >/dev/null
    return
  fi
  migrated_masters | rs-dbsync writes off --allow-none "$@" "${allowed[@]}" >/dev/null || rc=$?
  ((rc == 0)) && return
  ((rc == 6 || rc == 7)) || exit "$rc"
  silent=yes
  part "it does not answer, and is not fenced: accepted, 'master fenced'"
}
migrated_masters() { rs-server list --role master --not-as warm --state operational --allow-none; }

# try WHAT COMMAND...: one of the questions before anything is touched; each no is shown, and named in $refused
refused=() worst=0
try() {
  local said rc=0
  said=$("${@:2}" 2>&1 >/dev/null) || rc=$?
  ((rc)) || return 0
  say "$said"
  refused+=("$1")
  # who does not answer may answer soon
  if ((rc != 6 && rc != 7 && rc != 8)); then worst=5; elif ((worst == 0)); then worst=7; fi
}
none_refused() { # none_refused HINT: nothing is begun that is known not to come to its end
  local IFS=';'
  ((${#refused[@]} == 0)) || die "$worst" "not begun, for ${refused[*]}; nothing was changed" "$1"
}
# may_promote SERVER...: every condition of the promotion, but for those that this very way brings about before it
may_promote() {
  command rs-dbsync promote "$@" --dry-run --lose-writes --override 'page active' --override 'master fenced' \
    --override 'application sessions gone' --override 'backups off' "${overrides[@]}"
}
# Before anything is touched: the balancers answer, and every condition of the promotion that is not this way's own to bring
# about. What can be known only when nobody writes is asked then.
may_go_back() {
  local pair=()
  [[ $SNAPSHOT != held ]] || ! begun held || pair=(--override 'rollback pair')
  promotion() { command rs-server list --as warm | may_promote "${pair[@]}"; }
  try 'a balancer whose page cannot be asked' command rs-maintenance status --pool "$POOL"
  try 'the promotion of the warm slave' promotion
  if ((${#refused[@]} == 0)); then
    part "asked before anything is touched: the balancers answer, and the warm slave may become the master"
  elif [[ $mode == dry ]]; then
    part "it would not be begun, for ${refused[*]}"
  else
    none_refused "mend what the lines above name, or $self --override CONDITION; a master that is dead for good: end its machine first"
  fi
}
takes() { # takes SCRIPT SELECTOR...: each of these answers, and has it
  command rs-server list "${@:2}" --state operational --allow-none | command rs-run "$1" --allow-none --dry-run
}
takes_work() { command rs-server list "${@:2}" --state operational --allow-none | working | command rs-run "$1" --allow-none --dry-run; }

# Who turns round in the middle of a way back, or of taking one back: what has been promoted since is the master.
turned=no
at=$([[ $mode == plan ]] || newest_mark)
if [[ $mode != plan ]]; then
  if [[ $undo == yes && $at == 'step back' ]] || { [[ $undo == no && $at == undo ]] && ! warm_is_master; }; then turned=yes; fi
fi

promoting=no promoted=no
page=off writes=on # as they were found
open page && page=on
open writes && writes=off
# one that was cut off left its own page and its own silence
[[ $mode != run || $turned == yes ]] || ! [[ $at =~ ^(step back|undo)$ ]] || as_first_found
if [[ $undo == yes ]]; then
  undo
  exit 0
fi
if [[ $mode == run ]] && is_back; then
  say "The run $UPGRADE is rolled back already, and the old release serves. Nothing was changed."
  exit 0
fi

migrated=no
did rs-dbsync migrate && migrated=yes
# whoever migrates past the tools leaves no act: the schema says it, and the copy would replay it
if [[ $migrated == no && $mode != plan ]] && begun held; then
  rc=0
  held=$(command rs-server list --as warm --json | command rs-dbsync resume --dry-run 2>&1 >/dev/null) || rc=$?
  [[ $rc != 5 || $held != *schema-unchanged* ]] || {
    say "$held"
    say "rollback.sh: the journal has no migration of this run, and the schema is not the one of the hold: it counts as migrated"
    migrated=yes
  }
fi
dark=no
[[ $page == off && $writes == on && $migrated == no ]] || dark=yes

did rs-dbsync promote && promoting=yes
# of each set: one of several may have been promoted alone
[[ $promoting == no ]] || left_to_promote || promoted=yes
lost=0 price=''
[[ $migrated == no || $promoted == yes ]] || count --as warm
case $migrated in
yes) part "the migration has begun: the warm slave becomes the master. The price until now: ${price:-paid, its promotion is done}" ;;
*) part "the migration has not begun: going back is free" ;;
esac
# Before anything is touched: a copy that somebody thawed would bring back the migration, or nothing.
if [[ $migrated == yes && $promoting == no && $mode != plan ]]; then
  rc=0
  held=$(command rs-dbsync status --as warm --require held 2>&1 >/dev/null) || rc=$?
  ((rc == 0)) || say "$held"
  forward=''
  [[ $at != 'step back' ]] || forward='; or rollback.sh --undo: forward again, nothing was promoted'
  # 4: there is none
  ((rc == 0 || rc == 3 || rc == 4)) || die "$rc" "whether the warm slave is still the way back could not be asked; nothing was changed" \
    "the lines above say who does not answer: bring it back, or end its machine when it is dead for good; then rollback.sh again$forward"
  ((rc == 0)) || {
    [[ $turned == no ]] || ! promotion_left --role master ||
      die 5 "the promotion that takes the rollback back was cut off in its middle: it has to come to its end first" \
        "rollback.sh --undo goes on with it; then rollback.sh"
    [[ $at != 'step back' ]] ||
      die 5 "the warm slave is no way back any more; nothing was promoted, and this start changed nothing" \
        "rollback.sh --undo: forward again; the data of step 20: rs-snapshot list"
    die 5 "the warm slave is no way back any more; nothing was changed" \
      "what remains: forward (upgrade.sh), or the data of step 20: rs-snapshot list, a new server, rs-dbsync init --snapshot"
  }
  [[ $mode != run || $yes == yes || -n $accept ]] || terminal
  may_go_back
fi
if [[ $mode == run && $yes == no && -z $accept ]]; then
  ask 'go back now?' || die 5 "not confirmed" "rollback.sh again"
fi

losing=(--lose-writes)
# upgrade.sh begins with step 15 again after this
[[ $mode != run || $turned == no ]] || command rs-journal mark 'step forth' >/dev/null
[[ $mode != run ]] || command rs-journal mark 'step back' >/dev/null
if [[ $dark == yes ]]; then
  part "page on"
  page_on >/dev/null
fi
if [[ $migrated == yes && $promoted == no ]]; then
  part "writes off on the migrated masters"
  mapfile -t allowed < <(allow)
  # one that was cut off in the middle of a promotion may have none
  migrated_masters_off
  [[ $mode != run ]] || price_taken --as warm
fi
if [[ $dark == yes ]]; then
  part "new processes stop"
  rs-server list --as new --role server --state operational --allow-none |
    rs-run "$APP_STOP" --stay --allow-none >/dev/null
fi
if [[ $migrated == yes && $promoted == no ]]; then
  part "old processes stop where they still run" # those of a step 19 that was cut off would hold the master that is abandoned
  rs-server list --as old --role server --state operational --allow-none |
    rs-run "$APP_STOP" --stay --allow-none >/dev/null
  # what they left open, and whoever else is on that master
  [[ $silent == yes ]] || migrated_masters_off --sessions
fi
if [[ $migrated == yes ]]; then
  rs-server list --role db | rs-snapshot schedule off >/dev/null
  if [[ $promoting == no && $SNAPSHOT == held ]] && begun held; then
    part "the rollback copy has its backup" # step 20 runs beside the migration: both may have been cut off
    rs-snapshot take --as warm --label "$(pre_upgrade)" --pin >/dev/null
  fi
  part "the warm slave becomes the master"
  ((${#unpaid[@]} == 0)) || [[ $mode != run ]] || printf '%s\n' "${unpaid[@]}" | rs-dbsync promote "${losing[@]}" "${overrides[@]}" >/dev/null
  [[ $paid == no && ${#unpaid[@]} -gt 0 && $mode == run ]] || rs-server list --as warm | rs-dbsync promote --lose-writes "${overrides[@]}" >/dev/null
else
  attempt_ends part
fi
if did rs-inputs promote; then
  part "the inputs of the deployment are those of the old release again"
  rs-inputs promote --undo >/dev/null
fi
part "old processes start"
none=(--allow-none) # before step 4 nobody is marked as old, and nothing was done to anybody
[[ $dark == no ]] || none=()
old "${none[@]}" | rs-run "$APP_START" "${none[@]}" >/dev/null
if begun standby; then
  part "nobody stands by in the pool any more"
  rs-server list --as new --role server --allow-none | rs-lbctl disconnect --pool "$POOL" --allow-none >/dev/null
fi
if [[ $dark == yes ]]; then
  if [[ $migrated == no ]] || open writes; then
    part "writes on"
    rs-dbsync writes on --role master >/dev/null
  fi
  part "the pool becomes exactly the old members"
  old | rs-lbctl connect --pool "$POOL" --only ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
  part "test behind the page"
  rs-check site --pool "$POOL" --bypass --each-member --wait 30s ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
elif [[ $mode == run ]]; then # users saw no page of this run; somebody may have been at the pool all the same
  olds=$(old "${none[@]}")
  if [[ -n $olds && $(rs-lbctl connect --pool "$POOL" --only --dry-run <<<"$olds") == *'"changed":true'* ]]; then
    part "the pool becomes exactly the old members"
    rs-lbctl connect --pool "$POOL" --only ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} <<<"$olds" >/dev/null
  fi
  part "test what users get"
  rs-check site --pool "$POOL" --each-member --wait 30s ${OLD_RELEASE:+--expect-release "$OLD_RELEASE"} >/dev/null
fi
if [[ -n $NEW_ARRAY ]]; then
  rs-server list --as new --role array --allow-none | rs-server disable --allow-none >/dev/null
fi
if [[ $dark == yes ]]; then
  [[ $migrated == no ]] || rs-dbsync writes opened --role master >/dev/null
  part "page off"
  rs-maintenance stop --pool "$POOL" >/dev/null
fi
part "arrays, workers, backups, alerts as before"
# what was off before the run stays off: nobody owes it
[[ -z $OLD_ARRAY || $mode == plan || $'\n'$(noted array)$'\n' != *$'\n'"$OLD_ARRAY"$'\n'* ]] ||
  rs-server enable "$OLD_ARRAY" >/dev/null
[[ -z $WORKER_START ]] || old "${none[@]}" | working | rs-run "$WORKER_START" --allow-none >/dev/null
if [[ $migrated == yes ]]; then
  rs-server list --role master | rs-snapshot schedule on >/dev/null
else
  mapfile -t quiet < <(noted backups)
  ((${#quiet[@]} == 0)) || rs-snapshot schedule on -- "${quiet[@]}" >/dev/null
fi
rs-server list --as old --role server --allow-none | rs-server unquench --allow-none >/dev/null
say ""
[[ $mode != dry ]] || { say "Nothing was changed. What needs an earlier act can be tried only after that one." && exit 0; }
say "The old release serves on the old data. Left for you:"
if [[ $migrated == yes ]]; then
  mapfile -t masters < <(kept_masters)
  if [[ $silent == yes ]]; then
    say "  the migrated master did not answer: nobody switched its writes off, and what users wrote is there only. Before anybody"
    say "  sees it again: rs-dbsync writes off -- ${masters[*]@Q}. Do not rebuild it before you have what you want of it."
    say "  The slaves again from the data of the old release: rs-dbsync init --role slave --allow-none"
  else
    say "  the migrated master is read-only and kept: rollback.sh --undo takes all this back, at the price of what is written from now on"
    say "  once you stay here, the slaves and that master again from the data of the old release:"
    say "    rs-dbsync init --role slave --allow-none; rs-dbsync init --rebuild -- ${masters[*]@Q}"
  fi
fi
say "  what was made for the upgrade, and no longer wanted:"
say "    rs-lbctl point ${TEST_HOST@Q} --remove; rs-server list --as new --as temp --allow-none --role server | rs-server unlock --allow-none"
say "    rs-cleanup plan --as new --as temp --allow-none >plan && rs-cleanup retire --plan plan --delete"
[[ $mode == run ]] || exit 0
command rs-journal mark 'way back' --took-ms $(((${EPOCHREALTIME/[.,]/} - began) / 1000)) >/dev/null
command rs-cleanup audit --settle >/dev/null || true
command rs-cleanup audit --due window >/dev/null 2>&1 || die 3 "something of the window is left open" "the lines above say what settles it"
