#!/usr/bin/env bash
# upgrade.sh: the whole major upgrade, step by step, in the guide's numbers.
#
#   upgrade.sh --plan              the steps with their commands; nothing is called
#   upgrade.sh --dry-run           the steps with --dry-run on every changing verb
#   upgrade.sh                     go on where the run stopped (or begin); asks at the decision points
#   upgrade.sh --yes               the same without asking: the gates decide
#   upgrade.sh --from N --until N  a part of it; --only N one step (small repairs at step 30: --only 12, --only 26);
#                                  what runs beside other steps (20, 25, 32) ends where it is waited for
#   upgrade.sh --status            where the run is, and what is open
#   upgrade.sh --abort             go back: the same as rollback.sh
#   upgrade.sh --again             go on although a migration by script was cut off: run it again, once you looked at
#                                  what it left
#
#   --conf FILE       settings [default: $RS_UPGRADE_CONF or upgrade.conf]; see upgrade.conf.example
#   --take-over       end the other operator's run of this upgrade and go on with it
#   --lock-wait TIME  wait for the run lock [default: not at all]
#   --window TIME     the setting WINDOW, for this start: from the page on to the point of no return (31) a step that cannot
#                     end inside it, with the way back behind it, is not begun: exit 5
#
# Before each step it says what coming back from there costs. HOOKS are asked before each step and decision.
#
# What it says is kept in upgrade-RUN.log beside the settings. It survives the loss of the terminal.
#
# Exit codes are those of the tools: 0 done, 2 usage, 3 the answer is no, 5 declined, 6 waited in vain,
# 7 unreachable, 8 partly done, 130 interrupted. Started again it goes on; steps that are done change nothing.
set -e # without what stands there nothing may run
here=$(readlink -f -- "${BASH_SOURCE[0]}")
. "${here%/*}/lib.sh"
. "$scripts/gates.sh"

# The order. `NN&` runs beside what follows and begins right behind it, so that the longest has the machine first; `=NN`
# waits for it, `?TEXT` is a decision point, `?DPn TEXT` one of the guide's six: its facts are shown, then it is asked.
# Step 24 is done by 25 (one `connect --only` takes the old out and the new in, in one act per balancer). It waits for
# applications that answer, so for the migration, and still switches while writes go on.
# The new applications start beside the migration. Scripts of one server run in order, so that a migration by script would
# wait on its server for what was begun there before it: that application is started first (29f), as soon as nobody writes.
order=(01 02 03 '?staging is good' 04 05 06 07 09 08 10 11 12 13 14 15 16 '?begin the window' 17 27 18 19
  '29f&' 21 22 '=29f' '?DP1 migrate: from here back only by the warm slave' '20&' '19p&' '29a&' '25&' 23 '=19p' '=29a' '?DP2 go on with the migrated schema' '28&' 26
  writes_on '=28' '=25' 30 '?DP3 open the site: from here back costs what users write' '=20' '32&' 31 33 29w 25i '=32'
  '?DP4 settle the database: the warm slave ages by the minute, its backups are the old ones' 34 35
  '?DP5 promote the inputs: the cheap way back for the old servers ends' 36
  '?DP6 retire the old servers: the way back ends' 37 38)

mode=run from='' until='' only='' yes=no again=no lock=() window=''
while (($#)); do
  case $1 in
  --plan | --dry-run | --status | --abort)
    [[ $mode == run || $mode == "${1#--}" ]] || die 2 "--$mode and $1 do not go together" "one of the two"
    mode=${1#--}
    ;;
  --from | --until | --only | --lock-wait | --window)
    (($# > 1)) || die 2 "$1 wants a value" "upgrade.sh --help"
    case $1 in
    --from | --until | --only)
      name=${1#--}
      [[ -z ${!name} ]] || die 2 "$1 is given twice: ${!name} and $2" "one start for each part"
      ;;
    esac
    case $1 in
    --from) from=$2 ;; --until) until=$2 ;; --only) only=$2 ;;
    --window) window=$2 ;;
    --lock-wait) lock+=(--lock-wait "$2") ;;
    esac
    shift
    ;;
  --take-over) lock+=(--take-over) ;;
  --again) again=yes ;;
  *)
    option "$@"
    shift $((words - 1))
    ;;
  esac
  shift
done

place() { # place LABEL: where in the order it stands, or where what ran beside is waited for; nothing when it does not
  local at
  for ((at = ${#order[@]} - 1; at >= 0; at--)); do
    [[ ${order[at]} == "$1" || ${order[at]} == "=$1" ]] && {
      printf '%s' "$at"
      return
    }
  done
}
first_place() { # first_place LABEL: where it begins
  local at
  for ((at = 0; at < ${#order[@]}; at++)); do
    [[ ${order[at]%&} == "$1" ]] && {
      printf '%s' "$at"
      return
    }
  done
}
known() { # known N FIRST LAST: the label of a step that somebody named: 9, 09, 19p; FIRST or LAST of one in parts
  local n=$1
  [[ $n =~ ^[0-9]$ ]] && n=0$n
  case $n in
  23) n=$2 ;;
  24) n=25 ;; # one act
  29) n=$3 ;;
  esac
  [[ -n $(place "$n") ]] || die 2 "there is no step $1" "01 to 38, and the parts 19p 25i 29f 29a 29w writes_on: upgrade.sh --plan shows them"
  printf '%s' "$n"
}
[[ -z $only || -z $from$until ]] || die 2 "--only goes with neither --from nor --until" "upgrade.sh --help"
# whoever begins at 23 begins with what runs beside it
[[ -z $from ]] || from=$(known "$from" 29f 29f)
[[ -z $until ]] || until=$(known "$until" 23 29w)
# these begin beside the migration and end behind it: to stop there would be to stop behind step 23
[[ $until != 19p && $until != 29[fa] ]] ||
  die 2 "--until $until: it runs beside step 23, and there is no place behind it and before that" \
    "--until 22, --until 23, or --only $until; of the parts --until knows 25i, 29w and writes_on"
# what runs beside step 23 is waited for wherever one stops
stop_behind=$until
[[ $until != 25 ]] || stop_behind=29a
if [[ -n $only ]]; then
  [[ $only =~ ^[0-9]$ ]] && only=0$only
  [[ $only == 24 || $only == 29 ]] || only=$(known "$only" 23 29w)
fi
[[ -z $from || -z $until || $(first_place "$from") -le $(place "$until") ]] ||
  die 2 "--until $until comes before --from $from" "upgrade.sh --plan shows the order"

load
[[ -z $window ]] || to_ms --window "$window" >/dev/null
WINDOW=${window:-$WINDOW}
# shellcheck disable=SC1090 # they are checked by themselves
for file in "$scripts"/steps/[0-9]*.sh; do . "$file"; done

declare -A titles=()
for label in "${order[@]}"; do
  [[ $label == [=?]* ]] || titles[${label%&}]=$(title "${label%&}")
done
[[ -z $only ]] || titles[$only]=$(title "$only")

case $mode in
abort) exec "$scripts/rollback.sh" ;;
status)
  command rs-journal show --run "$UPGRADE" --allow-none --last 12
  say "--- what is open"
  rc=0
  command rs-cleanup audit || rc=$?
  exit "$rc"
  ;;
plan)
  gates_open
  export RS_MODE=plan
  exec 2>&1 # it is what was asked for
  [[ -z $only ]] || order=("$only")
  for label in "${order[@]}"; do
    plain=${label%&}
    plain=${plain#=}
    [[ -z $from || $plain == "$from" ]] || continue
    from=''
    case $label in
    \?*) say "   -- decision: ${label#\?}?" ;;
    =*) say "   -- wait for $plain" ;;
    *)
      beside=''
      [[ $plain == "$label" ]] || beside=' (beside what follows)'
      say "$(printf '%4s' "$plain")  $(title "$plain")$beside"
      "step_${part_of[$plain]:-$plain}" </dev/null >/dev/null
      ;;
    esac
    [[ $plain != "$stop_behind" || $label == *'&' ]] || break
  done
  exit 0
  ;;
dry-run) export RS_MODE=dry ;;
esac

[[ $mode != run && $mode != dry-run ]] || only_run

# One upgrade per deployment: the lock dies with this process and is not inherited by what we launch.
if [[ $mode == run && -z ${RS_LOCK_FD:-} ]]; then
  same=()
  [[ -z $from ]] || same+=(--from "$from")
  [[ -z $until ]] || same+=(--until "$until")
  [[ -z $only ]] || same+=(--only "$only")
  [[ -z $window ]] || same+=(--window "$window")
  [[ $yes == no ]] || same+=(--yes)
  [[ $again == no ]] || same+=(--again)
  exec rs-journal lock "${lock[@]}" -- "$scripts/upgrade.sh" "${same[@]}"
fi

trap '' HUP # the window survives the loss of the terminal
[[ $mode != run ]] || keep_log
# shellcheck disable=SC2034 # step 23 reads it
[[ $again == no ]] || MIGRATE_AGAIN=(--again)
set -m # each step is a process group of its own, so that Ctrl-C ends it as a whole
results=$(mktemp -d 2>&1) || die 1 "no folder for what the steps say can be made in ${TMPDIR:-/tmp}: $results" "TMPDIR=FOLDER, one that you can write to"
current='' # the step that runs, or that ended last
declare -A pids=()

state_now() { # where one stands after a failure or Ctrl-C
  local owed=0
  say ""
  if [[ -n $current ]]; then
    say "The run $UPGRADE stands in step $current: $(title "$current")"
  else
    say "The run $UPGRADE stands where it stood: this start began no step"
  fi
  if [[ $mode == run ]]; then
    command rs-cleanup audit --due window --timeout 20s >/dev/null || owed=$?
    case $owed in
    0) say "  what is left: nothing of the window; all that is owed: rs-cleanup audit" ;;
    3) say "  what is left: what rs-cleanup named above; all that is owed: rs-cleanup audit" ;;
    *) say "  what is left: the world did not answer: rs-cleanup audit" ;;
    esac
  fi
  say "  go on:        $(with_conf upgrade.sh)"
  [[ $current != 23 ]] || ((${#MIGRATION_SCRIPT[@]} == 0)) ||
    say "                a migration by script that was cut off wants a look at what it left, then: upgrade.sh --again"
  say "  go back:      $(with_conf rollback.sh)"
  [[ -z $log ]] || say "  what was said: $log"
}
in_group() { # in_group PGID: whether a process of that group has not ended
  local file line words
  for file in /proc/[0-9]*/stat; do
    { read -r line <"$file"; } 2>/dev/null || continue
    read -r -a words <<<"${line##*) }" # state, parent, group
    [[ ${words[2]:-} != "$1" || ${words[0]} == Z ]] || return 0
  done
  return 1
}
guard=''      # what ends a step that is late: settle_soon
end_guard() { # by KILL: it has nothing to tell
  [[ -z $guard ]] || kill -KILL -- "-$guard" 2>/dev/null || true
  guard=''
}
end_beside() { # ends what still runs beside
  local pid last=$((SECONDS + 30))
  end_guard
  # The tools of a step say what state they leave, and are waited for, also when the step's shell is gone. What does not
  # end is killed: it would keep our log, and the operator's prompt, and the journal has what it began.
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    while in_group "$pid"; do
      if ((SECONDS < last)); then kill -TERM -- "-$pid" 2>/dev/null || true; else kill -KILL -- "-$pid" 2>/dev/null || true; fi
      read -r -t 0.05 <> <(:) || true
    done
    wait "$pid" 2>/dev/null || true
  done
  hooks_wait
  pids=()
}
finish() {         # finish CODE
  trap '' INT TERM # a second Ctrl-C does not cut this short
  end_beside
  rm -rf "$results"
  close_log
  exit "$1"
}
# shellcheck disable=SC2317 # called by the trap
interrupted() {
  trap '' INT TERM
  end_beside
  state_now
  say "upgrade.sh: interrupted${current:+ in step $current} (try: upgrade.sh to go on, rollback.sh to go back)"
  finish 130
}
trap interrupted INT TERM

# connect waits beside the migration; settle_soon bounds it once that has ended. Alone it waits for nobody's end.
export ANSWER_WITHIN=6h
[[ -z $only ]] || ANSWER_WITHIN=1m
declare -A later=() # labels whose proof runs beside what follows
begin() {           # begin LABEL [later]: the step in a process group of its own
  local label=$1
  current=$label
  later[$label]=${2:-}
  early[$label]=''
  [[ $cost != free ]] || early[$label]=yes
  now_ms
  printf '%s\n' "$now" >"$results/$label.begun"
  (
    set +m
    trap - INT TERM
    trap 'leftmost "${PIPESTATUS[@]}"' ERR
    # a step may have a `label` of its own
    ended_in=$results/$label.ended
    trap 'now_ms && printf "%s\n" "$now" >"$ended_in"' EXIT
    STEP_DID=$results/$label.did
    "step_${part_of[$label]:-$label}"
    [[ -s $STEP_DID ]] || die 1 "step $label called no tool and did not say why" "look at $(step_file "$(number "$label")")"
    [[ $mode != run || -n ${later[$label]} ]] || prove "$label"
  ) </dev/null >"$results/$label.out" &
  pids[$label]=$!
}
prove() { # prove LABEL: the proof that stands behind the step in its file
  # shellcheck disable=SC2034 # lib.sh reads them
  local STEP=$1 STEP_PASSED_ON=$results/$1.out STEP_CALLS=$results/$1.did STEP_DID=''
  : >"$results/$STEP.ended_well"
  "proof_${part_of[$STEP]:-$STEP}" >/dev/null
  rm -f "$results/$STEP.ended_well"
}
in_the_dark() { # in_the_dark LABEL: with the page up, or going up
  [[ $1 == 18 || -n $begun_at ]] && in_window "$1"
}
# In the dark proofs do not stand in the way: each runs beside the next step, and before a decision, and before anything
# outside the window, all are waited for. A step is marked as done when it is proven.
proving=()
prove_beside() { # prove_beside LABEL MS
  (
    set +m
    trap - INT TERM
    trap 'leftmost "${PIPESTATUS[@]}"' ERR
    prove "$1"
    mark "$@"
  ) </dev/null >/dev/null &
  pids["proof of $1"]=$!
  proving+=("$1 $2")
}
proven() { # waits for the proofs that are under way
  local label ms rc
  while ((${#proving[@]})); do
    read -r label ms <<<"${proving[0]}"
    proving=("${proving[@]:1}") rc=0
    wait "${pids["proof of $label"]}" || rc=$?
    unset "pids[proof of $label]"
    ((rc == 0)) || {
      hooks_after step "$label" "$(title "$label")" "$rc"
      failed "$label" "$rc" "$ms"
    }
  done
}
mark() { # mark LABEL MS: it is done. Tried again when it is cut off: the next start would do an early step alone once more
  local _
  [[ $1 != "$alone" ]] || {
    say "      step $1 was done before its turn: it is not marked, and the run does it again when it comes to it"
    return 0
  }
  for _ in 1 2 3; do
    command rs-journal mark "step $1" --took-ms "$2" >/dev/null && return 0
  done
  say "      step $1 is done and could not be noted: rs-journal mark 'step $1', else the next start does it again"
}
marks=()
stood=' '      # labels of the steps that this run has done, as its journal has them and this start added
unfinished() { # those of the order that it has not done, in $unfinished
  local label
  unfinished=''
  for label in "${order[@]}"; do
    label=${label%&}
    [[ $label == [=?]* || $stood == *" $label "* ]] || unfinished+=${unfinished:+, }$label
  done
}
alone=''    # the step that --only does before its turn
in_turn() { # in_turn LABEL: whether all that stands before it is done
  local label
  for label in "${order[@]}"; do
    label=${label%&}
    [[ $label != "$1" ]] || return 0
    [[ $label == [=?]* || $done_before == *" $label "* ]] || return 1
  done
}
failed() { # failed LABEL EXIT MS: where one stands, and the end
  local label=$1 rc=$2 try='mend what its last line says, then upgrade.sh again'
  current=$label
  say "$(printf '%4s  FAILED (exit %s) after %s ms: %s' "$label" "$rc" "$3" "$(title "$label")")"
  end_beside
  [[ ! -e $results/$label.ended_well ]] || say "      step $label itself ended well; what failed is its proof: the world is not as it leaves it"
  state_now
  [[ $label != 23 || $rc != 5 || ${#MIGRATION_SCRIPT[@]} == 0 ]] ||
    try="$try; upgrade.sh --again runs a script that was cut off once more; rollback.sh goes back"
  say "upgrade.sh: step $label failed with exit $rc (try: $try)"
  finish "$rc"
}
apps_later=no       # whether new applications did not start before the migration
declare -A early=() # labels that were begun before it
settle() {          # settle LABEL: waits for it, says how it ended, marks it in the journal
  local label=$1 rc=0 ms changed=0 begun ended record did='as it was'
  current=$label
  wait "${pids[$label]}" || rc=$?
  unset "pids[$label]"
  read -r begun <"$results/$label.begun"
  now_ms
  ended=$now # one that was ended from outside left no time of its own
  [[ ! -s $results/$label.ended ]] || read -r ended <"$results/$label.ended"
  ms=$((ended - begun))
  passed "$label" "$rc" "$ms"
  while IFS= read -r record; do [[ $record != *'"changed":true'* ]] || changed=$((changed + 1)); done <"$results/$label.out"
  if [[ $mode == dry-run ]]; then
    settle_dry "$label" "$rc" "$changed"
    return
  fi
  if ((rc)) && [[ $label == 29[fa] && -n ${early[$label]:-} && -z $only ]]; then
    say "$(printf '%4s  exit %s after %s ms: new applications do not start on the old schema; they are started behind the migration' \
      "$label" "$rc" "$ms")"
    apps_later=yes
    return
  fi
  if ((rc)); then
    proven # what an earlier step left may be why
    failed "$label" "$rc" "$ms"
  fi
  [[ $changed == 0 ]] || did="changed $changed"
  line '%4s  %6s ms  %s  %s' "$label" "$ms" "$did" "${titles[$label]}"
  [[ $mode == run ]] || return 0
  [[ $label == "$alone" ]] || stood+="$label "
  if [[ -n ${later[$label]} ]]; then
    prove_beside "$label" "$ms"
  else
    # beside the next step, but in their order: the newest one says where the run stands
    ((${#marks[@]} == 0)) || wait "${marks[-1]}" || true
    mark "$label" "$ms" &
    marks+=($!)
  fi
}
settle_dry() { # settle_dry LABEL EXIT CHANGES: what a dry step tells; a no is often that an earlier step was dry too, wrong
  # usage never
  local label=$1 rc=$2 changed=$3
  case $rc in
  0) say "$(printf '%4s  would change %s  %s' "$label" "$changed" "$(title "$label")")" ;;
  3 | 4 | 5) say "$(printf '%4s  not tried (exit %s: it needs what earlier steps leave)  %s' "$label" "$rc" "$(title "$label")")" ;;
  *)
    say "$(printf '%4s  FAILED (exit %s)  %s' "$label" "$rc" "$(title "$label")")"
    finish "$rc"
    ;;
  esac
}
behind=() # labels that run beside the next step
begin_behind() {
  local label proof
  for label in "${behind[@]}"; do
    # what ends beside the migration is proven there; 25 ends behind it, in the dark
    proof=''
    [[ $mode != run || $label != 25 ]] || proof=later
    begin "$label" "$proof"
  done
  behind=()
}
settle_soon() { # settle_soon LABEL: what ran beside the migration has a minute from its end, then it is ended
  local label=$1
  (sleep 60 && kill -TERM -- "-${pids[$label]}") </dev/null >/dev/null 2>&1 &
  guard=$!
  disown "$guard" # so that bash does not tell of its end
  settle "$label"
  end_guard
}
settle_beside() { # settle_beside LABEL: if it ran; members wait for applications, so those are settled first
  if [[ $1 == 29f && -n ${pids[$1]:-} ]]; then
    settle "$1" # nothing else has ended that it would be late for
  elif [[ -n ${pids[$1]:-} ]]; then
    settle_soon "$1"
  fi
  [[ $1 != 29a ]] || apps_behind
}
apps_behind() { # what did not start on the old schema starts on the new one
  [[ $apps_later == yes && $cost != free ]] || return 0
  apps_later=now
  local label
  for label in 29f 29a; do
    begin "$label"
    settle "$label"
  done
}
# shellcheck disable=SC2317 # called by name
indented() { say "      $1"; }
[[ $mode != run ]] || not_taken_back
gates_open
done_before=' '
if [[ $mode == run ]]; then
  read_marks
  stood=$done_before
  # a way back that was cut off may not have come to it; the steps begin with 15 again
  [[ $came_back == no ]] || attempt_ends indented </dev/null
  # whoever begins is told before anything is made
  [[ $done_before != ' ' || -n $from$only ]] || names_known
fi
if [[ $mode == dry-run ]]; then
  read_marks
  names_known
  exec 2>&1 # from here on it is what was asked for
fi
if [[ -n $only ]]; then
  [[ $only == 26 ]] && RESTART_APP=yes
  [[ $mode != run ]] || in_turn "$only" || alone=$only
  gate "$only"
  begin "$only"
  settle "$only"
  finish 0
fi

up_again() { # the page that step 31 took down is up again, on all balancers or on some: it is taken down as it was then
  local rc=0
  [[ $mode == run && $done_before == *' 31 '* ]] || return 0
  command rs-maintenance status --pool "$POOL" --require off >"$results/page" 2>&1 || rc=$?
  case $rc in
  0) return 0 ;;
  3) say "      the page is up again behind step 31: it is tested and taken down once more" ;;
  *) cat "$results/page" >&2 && say "      whether the page is down is not known" && return 0 ;;
  esac
  again 31
  ! command rs-maintenance status --pool "$POOL" --require on >/dev/null 2>&1 || again 30
}
again() { # again LABEL: it is to be done once more, however often it was done
  while [[ $done_before == *" $1 "* ]]; do done_before=${done_before/" $1 "/ }; done
}

tested_again() { # what an earlier start tested may have changed since: it is tested once more before users see it
  [[ $mode == run && $cost == migration && $done_before == *' 30 '* && $done_before != *' 31 '* ]] || return 0
  ask_page || refuse 'the page is not up, and step 31 did not take it down: what users write now would count as our tests' \
    "rs-maintenance start --pool '$POOL', then upgrade.sh again; what was written meanwhile then counts as theirs"
  again 30
}

# Where to begin: the first step that the journal does not have. The gates look at the world all the same.
[[ $mode == run && -z $from ]] || done_before=' '
started=no
[[ -z $from ]] && started=yes
decision=''
for label in "${order[@]}"; do
  [[ $label != '20&' || $SNAPSHOT == held ]] || label=20 # the guide's order: the snapshot, then the migration
  plain=${label%&}
  plain=${plain#=}
  if [[ $started == no ]]; then
    [[ $plain == "$from" ]] || continue
    started=yes
  fi
  case $label in
  \?*) decision=${label#?} ;; # asked right before the next step that really begins
  =*)
    begin_behind
    settle_beside "$plain"
    ;;
  *)
    [[ $plain != 30 ]] || { up_again && tested_again; }
    if [[ $done_before != *" $plain "* ]]; then
      [[ -z $decision ]] || proven
      in_window "$plain" || proven
      [[ -z $decision ]] || decide "$decision"
      gate "$plain"
      if [[ $label == *'&' ]]; then
        behind+=("$plain")
      else
        proof=''
        [[ $mode != run ]] || ! in_the_dark "$plain" || proof=later
        begin "$plain" "$proof"
        begin_behind
        settle "$plain"
      fi
    fi
    decision=''
    ;;
  esac
  # what runs beside others ends where it is waited for
  [[ $plain != "$stop_behind" || $label == *'&' ]] || break
done
begin_behind
proven
for label in 29f 29a "${!pids[@]}"; do settle_beside "$label"; done
for pid in "${marks[@]}"; do wait "$pid" || true; done
say ""
if [[ $mode == dry-run ]]; then
  say "Nothing was changed. A step that needs what an earlier one makes can be tried only after that one."
  finish 0
fi
if [[ -n $until && $until != 38 ]]; then
  say "The run $UPGRADE has done its steps up to $until."
else
  unfinished
  if [[ -n $unfinished ]]; then
    say "The run $UPGRADE is not done: these of its steps are not: $unfinished. upgrade.sh goes on with them. What is open:"
  else
    say "The run $UPGRADE is done. What remains on purpose:"
  fi
fi
command rs-cleanup audit >/dev/null || true
finish 0
