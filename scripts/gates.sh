#!/usr/bin/env bash
# What stands before each step of upgrade.sh, and what it is told after: what coming back from here costs, whether the
# step can still end inside the window, the decisions with their facts, and the site's own hooks.
# Sourced by upgrade.sh, and by a step that is run by itself; never run. In the dark it asks no tool: what it needs it has read before.
# shellcheck disable=SC2154 # mode, yes, results are upgrade.sh's

cost=free    # of coming back: free, migration, users, none
begun_at=''  # when the page went up, milliseconds since the epoch
came_back=no # whether a way back is the last that the run did: done, or cut off, and somebody turns round
declare -A rehearsed=()
back_ms=''      # what coming back takes, milliseconds
told=()         # hooks that are being told
hook_seconds='' # what each hook may take
slaves_asked='' # the questions of decision 2, asked as soon as step 23 has ended, beside one another
page_asked='' page_asked_at=''
said_unrehearsed=no

spell() { # spell MS: for people
  if (($1 < 10000)); then printf '%s ms' "$1"; else printf '%s s' $((($1 + 500) / 1000)); fi
}
field() { # field NAME: of the records on stdin, the last text or number of that name
  sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | tail -n 1
}

began_at() { printf '%s' $(($(date -u -d "$(field at <<<"$1")" +%s%3N) - $(field ms <<<"$1"))); } # began_at ACT: milliseconds since the epoch

# ---- what is known before the first step --------------------------------------------------------------------------
gates_open() {
  window_ms=$(to_ms WINDOW "$WINDOW")
  back_ms=$(to_ms BACK_TIME "$BACK_TIME")
  local ms
  ms=$(to_ms HOOK_LIMIT "$HOOK_LIMIT")
  printf -v hook_seconds '%d.%03d' $((ms / 1000)) $((ms % 1000)) # timeout knows no ms
  [[ -z $HOOKS ]] || hook_files >/dev/null
  [[ $mode == run ]] || return 0
  local line label before=free back=no page_at=''
  # what this run did since it last came back
  while IFS= read -r line; do
    case $line in
    *'"subject":"step back"'*)
      [[ $back == yes ]] || before="$cost $begun_at" # not the same one, begun again
      back=yes cost=free begun_at=''
      ;;
    *'"subject":"step forth"'*)
      read -r cost begun_at <<<"$before"
      back=no
      ;;
    *'"subject":"step '[0-4]*) back=no ;;&
    # who does it again with the page up changes nothing, and users go on waiting
    *'"subject":"step 18"'*) [[ -n $begun_at ]] || begun_at=$(began_at "$line") ;;
    *'"outcome":"done"'*'"tool":"rs-maintenance"'*'"verb":"start"'*) [[ -n $page_at ]] || page_at=$(began_at "$line") ;;
    *'"tool":"rs-maintenance"'*'"verb":"stop"'*) page_at='' begun_at='' ;;&
    *'"tool":"rs-dbsync"'*'"verb":"migrate"'*) [[ $cost != free ]] || cost=migration ;;
    *'"tool":"rs-maintenance"'*'"verb":"stop"'*) [[ $cost != migration ]] || cost=users ;;
    *'"tool":"rs-cleanup"'*'"verb":"retire"'*) [[ $cost != users ]] || cost=none ;;
    esac
  done < <(command rs-journal show --run "$UPGRADE" --allow-none --json)
  # shellcheck disable=SC2034 # upgrade.sh reads it
  came_back=$back
  # also where somebody turned round and the page stayed up
  [[ -z $page_at ]] || begun_at=$page_at
  # it would begin again at step 15, on migrated data, as if that were free
  [[ $back == no || $before == free* ]] ||
    no_way 'a way back of this run was begun after its migration, and was cut off' "$scripts/rollback.sh goes on with it; where it promoted nothing yet, rollback.sh --undo turns forward again"
  [[ -n $STAGING ]] || return 0
  while read -r ms label; do rehearsed[$label]=$ms; done < <(
    command rs-journal report --deployment "$STAGING" --run "$UPGRADE-rehearsal-*" --json 2>/dev/null |
      tail -n 1 | grep -o '"ms":[0-9]*,"step":"step [^"]*"' |
      sed 's/"ms":\([0-9]*\),"step":"step \([^"]*\)"/\1 \2/'
  )
  [[ -n $back_ms ]] || back_ms=$(
    command rs-journal show --deployment "$STAGING" --run "$UPGRADE-rehearsal-*" --allow-none --subject 'way back' --json 2>/dev/null |
      field ms
  ) || true
}

# ---- what coming back costs ---------------------------------------------------------------------------------------
# In the dark each fork counts: what is said before each step is put together without one where it can be.
priced() { # in words, in $price
  case $cost in
  free) price='free' ;;
  migration) price='the migration only' ;;
  none) price='no way back: what remains is the snapshot of step 20 and the archived definitions' ;;
  *)
    price=$(command rs-dbsync price --as warm 2>/dev/null) || price='unknown: the masters do not answer'
    price=${price//$'\n'/; }
    ;;
  esac
}
behind_it() { # behind_it LABEL: what it will cost once the step has begun, where that differs, in $behind_it
  case $1 in
  23) behind_it='; once it has begun: the migration' ;;
  31) behind_it='; behind it, the point of no return: what users write' ;;
  37) behind_it='; behind it: no way back' ;;
  *) behind_it='' ;;
  esac
}

# ---- the window ---------------------------------------------------------------------------------------------------
in_window() { # from the page on to the point of no return
  local n=$((10#$(number "$1")))
  ((n >= 18 && n <= 30)) && [[ $cost != users && $cost != none ]]
}
fits() { # fits LABEL: a step that cannot end inside the window, with the way back behind it, is not begun
  local step=${rehearsed[$1]:-} gone=0 over unknown=''
  [[ -n $step ]] || unknown="what step $1 takes"
  [[ -n $back_ms ]] || unknown+="${unknown:+ and }what coming back takes"
  if [[ -n $unknown ]]; then
    [[ $UNREHEARSED == go ]] || refuse "whether step $1 fits the window of $WINDOW is not known: $unknown was not rehearsed" \
      "scripts/rehearse.sh, and STAGING; BACK_TIME=2m; UNREHEARSED=go goes on without knowing"
    [[ $said_unrehearsed == yes ]] || say "      window: $unknown was not rehearsed and is not counted (UNREHEARSED=go)"
    said_unrehearsed=yes
  fi
  now_ms
  [[ -z $begun_at ]] || gone=$((now - begun_at))
  over=$((gone + ${step:-0} + ${back_ms:-0} - window_ms))
  ((over <= 0)) || refuse "step $1 cannot end inside the window of $WINDOW, with the way back behind it: $(spell "$over") too long ($(
    spell "$gone"
  ) are gone, the step took $(spell "${step:-0}"), coming back takes $(spell "${back_ms:-0}"))" \
    "rollback.sh; or a longer window: upgrade.sh --window TIME"
}
refuse() { # refuse WHAT HINT [CODE]: nothing was begun
  state_now
  say "upgrade.sh: $1 (try: $2)"
  finish "${3:-5}"
}

no_way() { # no_way WHAT HINT: this is not the script to go on with from here
  say "${0##*/}: $1 (try: $2)"
  finish 5
}

not_taken_back() { # a run that was rolled back, or whose rollback is being taken back, is not gone on with
  [[ $(newest_mark) != undo ]] ||
    no_way 'a rollback is being taken back, and that was cut off' "$scripts/rollback.sh --undo goes on with it"
  ! warm_is_master ||
    no_way 'the migration of this run was rolled back: its warm slave is the master, and there is none to go on with' \
      "$scripts/rollback.sh --undo takes that back; or a new run, with another UPGRADE and another name in WARM"
}

# ---- hooks --------------------------------------------------------------------------------------------------------
# Executable regular files in the folder HOOKS, in the order of their names. Each gets the facts as JSON on stdin: before a
# step or decision a failure is a veto; after it the failure is said and changes nothing.
json_text() { # json_text TEXT: as a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//[$'\x01'-$'\x1f']/ }
  printf '"%s"' "$text"
}
hook_files() {
  local file
  [[ -d $HOOKS && -r $HOOKS ]] || die 2 "HOOKS=$HOOKS is no folder that can be read" "a folder with executables, or leave it empty"
  [[ -z $(find -L "$HOOKS" -maxdepth 0 -perm -0002) ]] ||
    die 5 "the folder of hooks $HOOKS is writable by others: whoever fills it would act as you" "chmod o-w $(quoted "$HOOKS")"
  for file in "$HOOKS"/*; do
    [[ -f $file && ! -L $file && -x $file ]] || continue
    [[ -z $(find "$file" -maxdepth 0 -perm -0002) ]] ||
      die 5 "the hook $file is writable by others: whoever writes to it would act as you" "chmod o-w $(quoted "$file")"
    printf '%s\n' "$file"
  done
}
facts() { # facts WHEN KIND LABEL TITLE [EXIT]
  local prices=null gone=null
  [[ $cost != users ]] || prices=[$(command rs-dbsync price --as warm --json 2>/dev/null | paste -sd,)] || prices=null
  now_ms
  [[ -z $begun_at ]] || gone=$((now - begun_at))
  printf '{"schema":"rs.gate/1","when":"%s","kind":"%s","step":%s,"title":%s,"deployment":%s,"run":%s,' \
    "$1" "$2" "$(json_text "$3")" "$(json_text "$4")" "$(json_text "$DEPLOYMENT")" "$(json_text "$UPGRADE")"
  printf '"way_back":"%s","price":%s,"window":{"limit_ms":%s,"gone_ms":%s,"step_ms":%s,"back_ms":%s}%s}\n' \
    "$cost" "$prices" "$window_ms" "$gone" "${rehearsed[$3]:-null}" "${back_ms:-null}" "${5:+,\"exit\":$5}"
}
hooks_before() { # hooks_before KIND LABEL TITLE: each may say no
  [[ -n $HOOKS ]] || return 0
  local files file json rc
  files=$(hook_files) || finish $?
  [[ -n $files ]] || return 0
  json=$(facts before "$@")
  while IFS= read -r file; do
    rc=0
    timeout --kill-after=5s "$hook_seconds" "$file" <<<"$json" >"$results/hook.said" 2>&1 || rc=$?
    ((rc == 0)) && continue
    sed 's/^/      /' "$results/hook.said" >&2
    ((rc != 124)) || rc="it did not end within $HOOK_LIMIT"
    refuse "the hook ${file##*/} says no before $1 $2: ${rc/#[0-9]*/exit $rc}" "see to what it says, then upgrade.sh again"
  done <<<"$files"
}
hooks_after() { # hooks_after KIND LABEL TITLE EXIT: told beside what follows
  [[ -n $HOOKS ]] || return 0
  local files file json
  files=$(hook_files) || return 0
  [[ -n $files ]] || return 0
  json=$(facts after "$@")
  (
    set +m
    trap - INT TERM ERR
    while IFS= read -r file; do
      timeout --kill-after=5s "$hook_seconds" "$file" <<<"$json" >/dev/null 2>&1 ||
        say "      the hook ${file##*/}, told of $1 $2, ended with $?: nothing follows from that"
    done <<<"$files"
  ) &
  told+=($!)
}
hooks_wait() {
  local pid
  for pid in "${told[@]}"; do wait "$pid" || true; done
  told=()
}

# ---- what a step stands on ----------------------------------------------------------------------------------------
# --only and --from begin anywhere. In its turn a step finds what it stands on, and nothing of this is asked again.
in_its_turn='upgrade.sh without --only and --from goes on where the run stands, and comes to it'
page_is() { # page_is on|off WHAT HINT: refused, unless it is
  local rc=0
  command rs-maintenance status --pool "$POOL" --require "$1" >"$results/page" 2>&1 || rc=$?
  ((rc)) || return 0
  cat "$results/page" >&2
  ((rc == 3)) || refuse "whether the page is $1 is not known: $2" "rs-maintenance status --pool '$POOL'" "$rc"
  refuse "the page is not $1: $2" "$3"
}
behind_the_page() { # behind_the_page LABEL: refused with the page down, before step 31: users would meet what the step does
  [[ $stood != *' 31 '* ]] || return 0
  [[ $page_known == yes ]] || page_is on "step $1 belongs behind it, users would meet what it does" \
    "$in_its_turn"
  page_known=yes
}
nobody_on_them() { # nobody_on_them LABEL: a repair that stops all new applications at once: users are on them from 25 on
  [[ $stood != *' 25 '* ]] || page_is on "step $1 stops every new application, and users are on them" \
    "rs-maintenance start --pool '$POOL', upgrade.sh --only $1; upgrade.sh then tests them and takes the page down again"
}
new_code() { # new_code LABEL: refused where new code would write by the old schema
  [[ $cost == free && $writes_known == no ]] || return 0
  local allow off
  mapfile -t allow < <(allow)
  off=$(command rs-dbsync writes off --role master "${allow[@]}" --dry-run) ||
    refuse "step $1 starts new code on the old schema, and whether anybody can write is not known" 'rs-dbsync status --role master' $?
  [[ $off != *'"changed":true'* ]] ||
    refuse "step $1 starts new code on the old schema, and writes are on" "$in_its_turn"
  writes_known=yes
}
migrated() { # migrated LABEL WHY: refused where this run has not migrated
  [[ $cost != free ]] || refuse "step $1 $2, and $UPGRADE has not migrated yet" "$in_its_turn"
}
page_known=no writes_known=no # what was found, or made, in this start
stands() {                    # stands LABEL: refused, unless the world is as it is in the turn of that step
  local label made
  case $1 in 19 | 19p | 22 | 23 | 24 | 25 | 25i | 29 | 29[faw] | writes_on) behind_the_page "$1" ;; esac
  case $1 in
  12) nobody_on_them 12 ;;
  29f | 29a) new_code "$1" ;;
  29 | 29w) migrated "$1" 'starts workers of the new release' ;;
  26)
    [[ $RESTART_APP == no ]] || {
      migrated 26 'starts the new release'
      nobody_on_them 26
    }
    ;;
  20)
    if [[ $cost == free ]]; then
      label=22
      [[ $SNAPSHOT == held ]] || label=19
      [[ $stood == *" $label "* ]] ||
        refuse "step 20 is the snapshot of what the migration finds, and step $label of $UPGRADE is not done" "$in_its_turn"
      return 0
    fi
    # of a start that was cut off beside the migration: it is there already, or the copy has what was before
    made=$(command rs-snapshot take --role master --label "$(pre_upgrade)" --once --pin --dry-run 2>/dev/null) || made=''
    [[ -z $made || $made == *'"changed":true'* ]] || return 0
    { [[ $SNAPSHOT == held ]] && command rs-dbsync status --as warm --require held >/dev/null; } ||
      refuse "step 20 is the snapshot before the migration, which has begun: nobody is held on that data" \
        "rs-snapshot list shows what there is; upgrade.sh --from 26 goes on without it"
    ;;
  32)
    [[ $stood == *' 23 '* ]] ||
      refuse "step 32 is the snapshot after the migration, and $UPGRADE has not done step 23 yet" "$in_its_turn"
    ;;
  37 | 38)
    for label in 31 36; do
      [[ $stood == *" $label "* ]] ||
        refuse "step $1 ends the way back, and step $label of $UPGRADE is not done" "$in_its_turn"
    done
    page_is off "step $1 ends the way back of a site that is open" "$in_its_turn"
    ;;
  esac
}

# ---- the gate of a step -------------------------------------------------------------------------------------------
gate() { # gate LABEL: before it begins
  [[ $mode == run ]] || return 0
  stands "$1"
  priced
  behind_it "$1"
  line '%4s  back from here: %s%s' "$1" "$price" "$behind_it"
  ! in_window "$1" || fits "$1"
  [[ -z $HOOKS ]] || hooks_before step "$1" "$(title "$1")"
}
passed() { # passed LABEL EXIT MS: after it ended
  [[ $mode == run ]] || return 0
  case $1 in
  18)
    (($2)) || { PAGE_SEEN_AT=$now page_known=yes; }
    [[ -n $begun_at ]] || { now_ms && begun_at=$((now - $3)); }
    ;;
  19) (($2)) || writes_known=yes ;;
  23) [[ $cost != free ]] || cost=migration ;;
  31) cost=users ;;
  37) (($2)) || cost=none ;;
  esac
  if [[ $1 == 23 && $2 == 0 ]]; then
    ask_slaves >"$results/slaves" 2>&1 </dev/null &
    slaves_asked=$!
    page_asked_at=$now
    ask_page >"$results/page_up" 2>&1 </dev/null &
    page_asked=$!
  fi
  [[ -z $HOOKS ]] || hooks_after step "$1" "$(title "$1")" "$2"
}

# ---- decisions ----------------------------------------------------------------------------------------------------
ask_slaves() {
  command rs-server list --role slave --not-as warm --allow-none |
    command rs-dbsync status --require replicating --allow-none
}
ask_page() { command rs-maintenance status --pool "$POOL" --require on >/dev/null; }
fact() { line '      %-12s %s' "$1" "$2"; }
decision_facts() { # decision_facts NUMBER: what is known without asking again
  priced
  fact 'way back' "$price"
  now_ms
  [[ -z $begun_at ]] || fact window "$(spell $((now - begun_at))) of $WINDOW are gone"
  case $1 in
  1)
    [[ ! -s $results/22.out ]] || fact held "$(grep -c '"held":true' "$results/22.out") rollback copies, each proven in sync"
    [[ -z ${rehearsed[23]:-} ]] || fact migration "took $(spell "${rehearsed[23]}") when rehearsed"
    ;;
  2)
    # nothing, where an earlier start migrated
    [[ ! -s $results/23.out || -z $(field schema_after <"$results/23.out") ]] || fact schema \
      "$(field schema_before <"$results/23.out" | cut -c1-12) is $(field schema_after <"$results/23.out" | cut -c1-12) now"
    ;;
  3) [[ ! -s $results/30.out ]] || fact tested "$(grep -c '"answer":"ok"' "$results/30.out") answers through the bypass, all ok" ;;
  esac
}
decision_gate() { # decision_gate NUMBER: what no person can say yes to
  # step 22 asks for the page; when an earlier start did it, somebody may have lifted it since
  [[ $1 != 1 || -e $results/22.out ]] || ask_page ||
    refuse 'the page is not up, and the migration is next: users would meet a schema that is half' \
      "rs-maintenance start --pool '$POOL', then upgrade.sh again"
  [[ $1 == 2 && -n $slaves_asked ]] || return 0
  local rc=0
  wait "$page_asked" || {
    cat "$results/page_up" >&2
    refuse 'the page is not up behind the migration: users would write before anybody tested' \
      "rs-maintenance start --pool '$POOL', then upgrade.sh again"
  }
  # shellcheck disable=SC2034 # page_up reads it
  PAGE_SEEN_AT=$page_asked_at
  wait "$slaves_asked" || rc=$?
  slaves_asked=''
  ((rc == 0)) || {
    cat "$results/slaves" >&2
    refuse 'a slave did not take the migration: with the site open it would serve the old schema, or there is none left' \
      'mend it (rs-dbsync status --role slave), then upgrade.sh again; or without it: upgrade.sh --from 26'
  }
}
decide() { # decide 'DP1 WHAT': the facts, the gate, the hooks; then a person says yes, or --yes
  local what=$1 number=0
  [[ $mode == run ]] || return 0
  if [[ $what =~ ^DP([0-9])\ (.*)$ ]]; then number=${BASH_REMATCH[1]} what=${BASH_REMATCH[2]}; fi
  ((number == 0)) || say "      decision $number: $what?"
  ((number == 0)) || decision_facts "$number"
  decision_gate "$number"
  hooks_before decision "$number" "$what"
  local answer=yes
  if [[ $yes == no ]]; then
    [[ -t 0 ]] || refuse "decision wanted: $what? There is no terminal to ask on" '--yes, or run it on a terminal'
    answer_to "      $what? [yes/no] "
  fi
  [[ $answer == y* ]] || refuse "stopped at the decision: $what" 'upgrade.sh to go on, rollback.sh to go back'
  hooks_after decision "$number" "$what" 0
}

# ---- what the settings name ---------------------------------------------------------------------------------------
# A wrong name must not look like a step that cannot be tried yet, nor be found when half of the work is done.
names_known() {
  local rc=0 entry
  [[ $done_before != *' 37 '* ]] || return 0 # they are gone, as they should be
  command rs-lbctl status --pool "$POOL" >/dev/null || rc=$?
  ((rc == 0 || rc == 8)) || die "$rc" "the pool '$POOL' cannot be asked" "POOL in the settings; rs-lbctl status"
  # of a run steps 2 and 3 ask the journal what was rehearsed there: the clone itself may be gone by then
  [[ -z $STAGING || $mode == run ]] || command rs-server list --deployment "$STAGING" --allow-none >/dev/null ||
    die $? "the settings name a deployment that is not there" "STAGING in the settings; rs-server list --all --deployment $(quoted "$STAGING")"
  is_a APP_LIKE app "$APP_LIKE"
  is_a TEST_LB_LIKE lb "$TEST_LB_LIKE"
  [[ -z $OLD_ARRAY ]] || is_a OLD_ARRAY array "$OLD_ARRAY"
  arrays_named
  for entry in "${WARM[@]}"; do is_a WARM db "${entry%% => *}"; done
  to_be_made TEST_LB temp "$TEST_LB"
  [[ -z $NEW_ARRAY ]] || to_be_made NEW_ARRAY new "$NEW_ARRAY"
  for entry in "${WARM[@]}"; do to_be_made WARM warm "${entry#* => }"; done
  [[ $APP_NAME == *%n* ]] || to_be_made APP_NAME new "$APP_NAME"
  fits_there
  scripts_known -- "$APP_LIKE"
}
is_a() { # is_a SETTING ROLE NAME: it is there, and what the steps take it for
  command rs-server list -- "$3" >/dev/null ||
    die $? "$1 names what is not there: $3" "$1 in the settings; rs-server list --all"
  [[ -n $(command rs-server list --role "$2" --allow-none -- "$3" 2>/dev/null) ]] ||
    die 5 "$1 is ${3@Q}, which is there and has not the role $2" "$1 in the settings; rs-server list --role $2"
}
to_be_made() { # to_be_made SETTING PART NAME: it is not there yet, or this run made it
  command rs-server list -- "$3" >/dev/null 2>&1 || return 0
  [[ -n $(command rs-server list --as "$2" --allow-none -- "$3" 2>/dev/null) ]] ||
    die 5 "$1 is ${3@Q}, which is there already, and this run did not make it" "another name for $1 in the settings; rs-server list --all"
}
fits_there() { # values that the world refuses, or that would take the site's own place
  local record most entry file
  record=$(command rs-server list --json -- "$TEST_LB_LIKE")
  [[ ${record,,} != *'"lb_hostname":{"from":"'[a-z]*'","value":"text:'"${TEST_HOST,,}"'"}'* ]] ||
    die 2 "TEST_HOST is ${TEST_HOST@Q}, which is the name of the site itself" "TEST_HOST=test1.mysite.com: another record"
  if [[ -n $OLD_ARRAY ]]; then
    record=$(command rs-server list --json -- "$OLD_ARRAY")
    most=${record#*'"maximum":'}
    most=${most%%[!0-9]*}
    ((NEW_ARRAY_MIN <= most)) ||
      die 2 "NEW_ARRAY_MIN is $NEW_ARRAY_MIN, and ${OLD_ARRAY@Q}, whose copy it is for, has $most instances at most" "NEW_ARRAY_MIN=$most or less"
  fi
  [[ $done_before == *' 12 '* ]] ||
    command rs-inputs set --next --temporary --dry-run --on "$APP_LIKE" "${RELEASE[@]}" ${WAIT_AT_BOOT:+"$WAIT_AT_BOOT"} >/dev/null ||
    die $? "$APP_LIKE refuses inputs of the release" "RELEASE and WAIT_AT_BOOT in the settings; rs-inputs show --on $(quoted "$APP_LIKE")"
  [[ $done_before == *' 23 '* ]] || for entry in "${MIGRATION_SQL[@]}"; do
    file=${entry#* => }
    [[ -r $file && ! -d $file ]] || die 2 "MIGRATION_SQL names a file that cannot be read: $file" "as step 23 will read it, from ${PWD@Q}"
  done
  [[ $done_before == *' 23 '* ]] || statements_known
}
