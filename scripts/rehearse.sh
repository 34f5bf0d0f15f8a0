#!/usr/bin/env bash
# rehearse.sh: the whole upgrade on a clone of the deployment, beside it, with its data; and how long each step took.
#
#   rehearse.sh            clone, launch, restore the newest backup, upgrade, report; goes on where it stopped. With the window
#                          ended it also comes back, measures that, and takes it back again
#   rehearse.sh --report   the times of the newest rehearsal
#   rehearse.sh --plan     the settings of the rehearsal; nothing is called
#   rehearse.sh --down     end the clone and remove it; asks, or --yes
#
#   --conf FILE            settings [default: $RS_UPGRADE_CONF or upgrade.conf]: STAGING and REHEARSE_*
#
# The original is read (its definitions, its backups) and nothing of it is changed. The settings of the rehearsal are
# written beside FILE, as FILE.rehearsal. The times stay in the journal, also after --down.
#
# Exit codes are those of the tools; 5: declined, the last line says why.
set -e # without what stands there nothing may run
here=$(readlink -f -- "${BASH_SOURCE[0]}")
. "${here%/*}/lib.sh"

mode=run yes=no
while (($#)); do
  case $1 in
  --report | --plan | --down) mode=${1#--} ;;
  *)
    option "$@"
    shift $((words - 1))
    ;;
  esac
  shift
done
load
original=$DEPLOYMENT upgrade=$UPGRADE clone=${STAGING:-$DEPLOYMENT-rehearsal}
derived=${RS_UPGRADE_CONF:-upgrade.conf}.rehearsal
trap 'leftmost "${PIPESTATUS[@]}"' ERR

# ---- which rehearsal ----------------------------------------------------------------------------------------------
# Each clone is a run of its own; --down ends it by a mark. Marks of the clone: ready, step NN, ended.
marked() { # marked RUN-PATTERN WHAT
  command rs-journal verify --no-world --deployment "$clone" --run "$1" --marked "$2" >/dev/null 2>&1
}
mark() { command rs-journal mark "$@" --deployment "$clone" --upgrade "$run" >/dev/null; }
number=1
while marked "$upgrade-rehearsal-$number" ended; do number=$((number + 1)); done
run=$upgrade-rehearsal-$number

# ---- its settings -------------------------------------------------------------------------------------------------
address() { # address SERVER: of the clone, once it is launched
  command rs-server list "$1" --deployment "$clone" --json 2>/dev/null |
    sed -n 's/^{"schema":"rs.server\/1","address":"\([0-9.]*\)".*/\1/p'
}
filled() { # filled TEXT: with {SERVER} replaced by the address that this server of the clone has
  local text=$1 rest=$1 name found
  while [[ $rest =~ \{([^{}]+)\} ]]; do
    name=${BASH_REMATCH[1]}
    rest=${rest#*"{$name}"}
    [[ $mode == plan ]] || found=$(address "$name") || true
    [[ -z ${found:-} ]] || text=${text//"{$name}"/$found}
    found=
  done
  printf '%s' "$text"
}
# Settings of the upgrade that are other ones for the rehearsal: REHEARSE_SETTING, and what follows from REHEARSE_SET.
derive() {
  local key value pair other=()
  for pair in "${REHEARSE_SET[@]}"; do
    [[ $pair != LB_APPLISTENER_NAME=text:* ]] || other+=("POOL=${pair#*=text:}")
  done
  other+=("${REHEARSE_SETTING[@]}" "DEPLOYMENT=$clone" "UPGRADE=$run" STAGING= UNREHEARSED=go HOOKS=)
  printf '# The rehearsal of %s, written by rehearse.sh.\n' "$upgrade"
  for key in "${singles[@]}"; do
    [[ $key != REHEARSE_* ]] || continue
    value=${!key}
    for pair in "${other[@]}"; do
      [[ ${pair%%=*} != "$key" ]] || value=${pair#*=}
    done
    printf '%s=%s\n' "$key" "$(filled "$value")"
  done
  for key in "${lists[@]}"; do
    [[ $key != REHEARSE_* ]] || continue
    local -n values=$key
    local chosen=()
    for pair in "${other[@]}"; do
      [[ ${pair%%=*} != "$key" ]] || chosen+=("${pair#*=}")
    done
    if ((${#chosen[@]} == 0)); then
      # unless it was written down, it follows from the test host and pool
      [[ $key != ISOLATION || $isolation == given ]] || continue
      chosen=("${values[@]}")
    fi
    for value in "${chosen[@]}"; do printf '%s=%s\n' "$key" "$(filled "$value")"; done
  done
}
isolation=given
grep -q '^ISOLATION=.' "${RS_UPGRADE_CONF:-upgrade.conf}" || isolation=follows
known=" ${singles[*]} ${lists[*]} "
for pair in "${REHEARSE_SETTING[@]}"; do
  [[ $pair == *=* && $known == *" ${pair%%=*} "* && $pair != REHEARSE_* ]] ||
    die 2 "REHEARSE_SETTING=$pair names no setting of an upgrade" "REHEARSE_SETTING=TEST_HOST=test1.staging.mysite.com"
done
for pair in "${REHEARSE_RECORD[@]}"; do
  [[ $pair == ?*' => '?* ]] || die 2 "REHEARSE_RECORD=$pair is no record" "write HOST => SERVER"
done
[[ -z $REHEARSE_RATE || $REHEARSE_RATE =~ ^[1-9][0-9]*$ ]] ||
  die 2 "REHEARSE_RATE is '$REHEARSE_RATE'" "requests a second, or empty: no clients"

# ---- what is asked for --------------------------------------------------------------------------------------------
steps() { # MS STEP AT of each step of the rehearsal, in the order in which they ended
  command rs-journal report --deployment "$clone" --run "$run" --json |
    grep -o '{"at":"[^"]*","ms":[0-9]*,"step":"step [0-9w][^"]*"}' |
    sed 's/.*"at":"\([^"]*\)","ms":\([0-9]*\),"step":"step \([^"]*\)".*/\2 \3 \1/'
}
milliseconds() { date -u -d "$1" +%s%3N; }
report() {
  local ms step at up='' down=''
  [[ -n $(steps) ]] ||
    die 4 "no step of $run is in the journal of $clone" "rehearse.sh first"
  printf '%s of %s, on %s\n\n  step          ms\n' "$run" "$original" "$clone"
  while read -r ms step at; do
    printf '  %-9s %6s  %s\n' "$step" "$ms" "$(title "$step")"
    [[ $step != 18 ]] || up=$(($(milliseconds "$at") - ms))
    [[ $step != 31 ]] || down=$(milliseconds "$at")
  done < <(steps)
  [[ -z $up || -z $down ]] || printf '\n  window: %s ms, from the begin of step 18 to the end of step 31\n' $((down - up))
  local seen
  seen=$(command rs-journal show --deployment "$clone" --run "$run" --subject 'window as clients saw it' --json |
    sed -n '$s/.*"ms":\([0-9]*\),.*/\1/p')
  [[ -z $seen ]] || printf '  window: %s ms, as clients saw it\n' "$seen"
  seen=$(command rs-journal show --deployment "$clone" --run "$run" --subject 'way back' --json |
    sed -n '$s/.*"ms":\([0-9]*\),.*/\1/p')
  [[ -z $seen ]] || printf '  way back: %s ms, from the end of the window to the old release\n' "$seen"
}

down() {
  local plan
  plan=$(mktemp)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$plan'" EXIT
  command rs-server list --all --allow-none >/dev/null 2>&1 || {
    say "there is no deployment $clone"
    return 0
  }
  if [[ $yes == no ]]; then
    [[ -t 0 ]] || die 5 "a decision is wanted and there is no terminal to ask on" "rehearse.sh --down --yes"
    local answer
    answer_to "          end and remove the deployment $clone with its data? [yes/no] "
    [[ $answer == y* ]] || die 5 "not confirmed" "rehearse.sh --down again"
  fi
  # what is no clone is declined here, before anything is done
  rs-cleanup plan --whole >"$plan"
  mark ended
  rs-server list --role array --allow-none | rs-server disable --allow-none >/dev/null
  rs-server list --role server --allow-none | rs-server unlock --allow-none >/dev/null
  local label
  while IFS= read -r label; do
    rs-snapshot unpin --role master --label "$label" >/dev/null
  done < <(
    { command rs-snapshot list --role master --json 2>/dev/null || true; } |
      sed -n '/"pinned":true/s/.*"label":"\([^"]*\)".*/\1/p'
  )
  rs-snapshot prune --role master --keep 1 >/dev/null || say "          its backups are left"
  rs-cleanup plan --whole >"$plan"
  rs-cleanup retire --plan "$plan" --delete >/dev/null
  say "          $clone is gone; its times: rehearse.sh --report"
}

# ---- the clone ----------------------------------------------------------------------------------------------------
part() { say "$(printf '%8s  %s' "" "$*")"; }
make_clone() {
  local args=() pair
  for pair in "${REHEARSE_SET[@]}"; do args+=(--set "$pair"); done
  for pair in "${REHEARSE_SET_ON[@]}"; do args+=(--set-on "$pair"); done
  for pair in "${REHEARSE_WITHOUT[@]}"; do args+=(--without "$pair"); done
  rs-clone deployment "$original" --name "$clone" ${REHEARSE_ROOT:+--root "$REHEARSE_ROOT"} \
    ${REHEARSE_ADDRESSES:+--addresses "$REHEARSE_ADDRESSES"} "${args[@]}" >/dev/null
}
fill_in() { # values that hold the address of a server of the clone, now that it has one
  local pair name server
  for pair in "${REHEARSE_SET[@]}"; do
    [[ $pair != *\{*\}* ]] || rs-inputs set --deployment-level "$(filled "$pair")" >/dev/null
  done
  for pair in "${REHEARSE_SET_ON[@]}"; do
    [[ $pair == *\{*\}* ]] || continue
    name=${pair%%=*}
    server=${name%/*}
    rs-inputs set --next --on "$server" "$(filled "${pair#"$server/"}")" >/dev/null
  done
}
inactive() { rs-server list --state inactive --allow-none "$@"; } # inactive --role ROLE...
point() {                                                         # every record whose servers are all up
  local pair host server at up
  for host in $(printf '%s\n' "${REHEARSE_RECORD[@]%% => *}" | sort -u); do
    at=() up=yes
    for pair in "${REHEARSE_RECORD[@]}"; do
      [[ ${pair%% => *} == "$host" ]] || continue
      server=${pair#* => }
      [[ -n $(address "$server") ]] || up=no
      at+=(--at "$server")
    done
    [[ $up == no ]] || rs-lbctl point "$host" "${at[@]}" >/dev/null
  done
}
restore() { # production's newest backup, this once: later backups are of the clone's own lineage
  marked "$run" restored && return
  local lineage
  lineage=$(command rs-inputs show --deployment "$original" --role master --current --json |
    sed -n 's/.*"name":"DB_LINEAGE_NAME".*"value":"text:\([^"]*\)".*/\1/p' | sort -u)
  [[ -n $lineage && $lineage != *$'\n'* ]] ||
    die 5 "the masters of $original have not exactly one lineage" "restore each by hand: rs-snapshot restore --lineage"
  rs-run 'database stop' --role master >/dev/null
  rs-snapshot restore --role master --newest --lineage "$lineage" >/dev/null
  rs-run 'database start' --role master >/dev/null
  mark restored
}
prepare() {
  part "DNS and what has no role"
  inactive --role dns | rs-server launch --allow-none >/dev/null
  fill_in
  inactive --role server | { grep -vxFf <(inactive --role lb --role app --role db --role worker) || true; } |
    rs-server launch --allow-none >/dev/null
  fill_in
  point
  part "masters, with the newest backup of $original"
  inactive --role master | rs-server launch --allow-none >/dev/null
  restore
  point
  part "slaves"
  inactive --role slave | rs-server launch --allow-none >/dev/null
  rs-server list --role slave --allow-none | rs-dbsync init --allow-none >/dev/null
  part "balancers"
  inactive --role lb | rs-server launch --allow-none >/dev/null
  point
  part "applications, workers, arrays"
  inactive --role server | rs-server launch --allow-none >/dev/null
  point
  rs-server list --role array --allow-none | rs-server enable --allow-none >/dev/null
  rs-server tend >/dev/null
  rs-server list --role app --state operational | rs-lbctl connect --pool "$POOL" >/dev/null
  rs-snapshot schedule on --role db >/dev/null
  mark ready
}
upgrade() {
  local stop probe='' status=0 log
  if [[ -n $REHEARSE_RATE ]]; then
    log=$(mktemp -d)
    stop=$log/stop
    command rs-check probe --pool "$POOL" --rate "$REHEARSE_RATE" --until "$stop" --for 12h --log "$log/log" --json >"$log/out" &
    probe=$!
    # shellcheck disable=SC2064 # the name as it is now
    trap "touch '$stop'; wait '$probe' || true; rm -rf '$log'" EXIT
  fi
  "$scripts/upgrade.sh" --conf "$derived" --yes --until 33 || status=$?
  if [[ -n $probe ]]; then
    touch "$stop"
    wait "$probe" || part "the clients' view says no: exit $?"
    local seen
    seen=$(sed -n 's/^{"schema":"rs.summary\/1".*"window":{[^}]*"ms":\([0-9]*\).*/\1/p' "$log/out")
    [[ -z $seen || $status != 0 ]] || mark 'window as clients saw it' --took-ms "$seen"
    trap - EXIT
    rm -rf "$log"
  fi
  ((status == 0)) || stopped "$status" "the upgrade of the rehearsal"
}
stopped() { # stopped CODE WHAT
  die "$1" "$2 stopped" "mend what its last line says, then rehearse.sh again: it goes on; or rehearse.sh --down"
}
# With the window ended: back to the old release, which is what the window has to have room for, and forth again.
way_back() {
  local status=0 at
  at=$(UPGRADE=$run newest_mark)
  if ! marked "$run" 'way back'; then
    part "the way back, which is measured"
    "$scripts/rollback.sh" --conf "$derived" --yes --accept-loss any || status=$?
    ((status == 0)) || stopped "$status" "the rollback of the rehearsal"
    at='way back'
  fi
  [[ $at == 'way back' || $at == undo ]] || return 0
  part "and forth again"
  "$scripts/rollback.sh" --undo --conf "$derived" --yes --accept-loss any || status=$?
  ((status == 0)) || stopped "$status" "taking back the rollback of the rehearsal"
}

case $mode in
plan)
  derive
  exit 0
  ;;
report)
  ((number == 1)) || marked "$run" 'step 01' || run=$upgrade-rehearsal-$((number - 1))
  report
  exit 0
  ;;
down)
  export RS_DEPLOYMENT=$clone RS_UPGRADE=$run
  down
  exit 0
  ;;
esac

if [[ -z ${RS_LOCK_FD:-} ]]; then
  part "$clone, a clone of $original (run $run)"
  # what an earlier start has upgraded is no likeness of the original any more
  marked "$run" ready || make_clone
  exec rs-journal lock --deployment "$clone" --upgrade "$run" -- "$scripts/rehearse.sh"
fi
export RS_DEPLOYMENT=$clone RS_UPGRADE=$run
trap '' HUP
if ! marked "$run" 'step 38'; then
  derive >"$derived.new"
  POOL=$(sed -n 's/^POOL=//p' "$derived.new")
  marked "$run" ready || prepare
  derive >"$derived.new"
  mv "$derived.new" "$derived"
  # the clients' view is that of the window
  marked "$run" 'step 33' || upgrade
  way_back
  status=0
  "$scripts/upgrade.sh" --conf "$derived" --yes || status=$?
  ((status == 0)) || stopped "$status" "the upgrade of the rehearsal"
fi
report
say ""
say "The rehearsal $run is done. In the settings of the upgrade: STAGING=$clone (step 2 then asks the journal for it)."
say "The clone stays up for a look; end it with: rehearse.sh --down"
