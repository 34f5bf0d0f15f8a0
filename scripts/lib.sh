#!/usr/bin/env bash
# What upgrade.sh, rollback.sh and every step share: settings, messages, and how a step is run.
# Sourced, never run. No logic of the upgrade stands here.
set -Eeuo pipefail

scripts=$(cd "${BASH_SOURCE[0]%/*}" && pwd)

# The tools: those on the PATH; else beside the scripts when installed, else what was built here.
command -v rs-server >/dev/null || for folder in "$scripts/../../../bin" "$scripts/../target/release" "$scripts/../target/debug"; do
  if [[ -x $folder/rs-server ]]; then
    PATH=$(cd "$folder" && pwd):$PATH
    break
  fi
done

say() { printf '%s\n' "$*" >&2 || true; }
# shellcheck disable=SC2059 # the first word is the format
line() { printf "$1\n" "${@:2}" >&2 || true; } # line FORMAT VALUE...
quoted() {                                     # quoted WORD...: as a shell reads them
  local word text=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    text+="$word "
  done
  printf '%s' "${text% }"
}
with_conf() { # with_conf SCRIPT: that script with the settings of this run, as it may be called from anywhere
  local conf=${RS_UPGRADE_CONF:-upgrade.conf}
  [[ $conf == /* ]] || conf=$PWD/$conf
  quoted "$scripts/$1" --conf "$conf"
}
# die CODE WHAT HINT: the last line on stderr says what, and what to try.
die() {
  say "${0##*/}: $2${3:+ (try: $3)}"
  exit "$1"
}

# option WORD [VALUE]: what every script of the upgrade understands. Sets $words: how many of them it was.
# shellcheck disable=SC2034 # the scripts read yes
option() {
  words=1
  case $1 in
  --conf)
    (($# > 1)) || die 2 "--conf wants a file" "${0##*/} --help"
    export RS_UPGRADE_CONF=$2
    words=2
    ;;
  --yes | -y) yes=yes ;;
  -h | --help)
    head_of "$0"
    exit 0
    ;;
  *) die 2 "no option is called $1" "${0##*/} --help" ;;
  esac
}
# answer_to QUESTION: what is typed on the terminal, in $answer; nothing when the terminal is gone. It looks up each second: bash
# would sleep on over a Ctrl-C that comes between the question and its waiting.
answer_to() {
  local rc=142
  printf '%s' "$1" >&2
  while ((rc > 128)); do
    rc=0
    read -r -t 1 answer || rc=$?
  done
  # shellcheck disable=SC2034 # the scripts read it
  ((rc == 0)) || answer=''
}
head_of() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"; } # head_of FILE: the comment at its beginning

# keep_log: from here on what we and our tools say on stderr also goes to a file beside the settings, for whoever loses the
# terminal. Nobody else may read it. It goes on when the terminal, or whoever reads us, is gone.
log='' log_writer=''
keep_log() {
  local conf=${RS_UPGRADE_CONF:-upgrade.conf} folder=.
  [[ $conf != */* ]] || folder=${conf%/*}
  log=$(cd "$folder" && pwd)/upgrade-${UPGRADE//[^A-Za-z0-9._-]/_}.log
  if ! (umask 077 && : >>"$log" && chmod 600 "$log") 2>/dev/null; then
    say "no log is kept: $log cannot be written"
    log=''
    return
  fi
  exec 2> >(trap '' HUP INT TERM && exec tee -i -p -a "$log" >&2)
  log_writer=$!
  say "--- ${0##*/}, $(date -u +%FT%TZ), process $$; what it says is kept in $log"
}
close_log() { # all that was said is written and shown before we end
  [[ -n $log_writer ]] || return 0
  exec 2>/dev/null
  wait "$log_writer" || true
  log_writer=''
}

# ---- settings -----------------------------------------------------------------------------------------------------
# NAME=VALUE lines of one file; a list setting may stand more than once. Nothing in it is executed.
singles=(DEPLOYMENT UPGRADE POOL TEST_POOL TEST_HOST TEST_LB_LIKE TEST_LB APP_LIKE APP_NAME NEW_APPS OLD_ARRAY NEW_ARRAY
  NEW_ARRAY_MIN STAGING BACKUP_MAX_AGE EXPECT_RELEASE OLD_RELEASE SNAPSHOT WINDOW ALERTS WAIT_AT_BOOT CODE_UPDATE APP_START
  APP_STOP APP_RESTART WORKER_START WORKERS_IN_ARRAYS RESTART_APP REHEARSE_ROOT REHEARSE_ADDRESSES REHEARSE_RATE
  BACK_TIME UNREHEARSED HOOKS HOOK_LIMIT PAGE_WAIT PAGE_KILL)
# shellcheck disable=SC2034 # the steps read them
lists=(WARM RELEASE ISOLATION KEEP MIGRATION_SQL MIGRATION_SCRIPT ALLOW_WRITER REHEARSE_SET REHEARSE_SET_ON REHEARSE_WITHOUT
  REHEARSE_RECORD REHEARSE_SETTING)
# shellcheck disable=SC2034 # the steps read them
WARM=() RELEASE=() ISOLATION=() KEEP=() MIGRATION_SQL=() MIGRATION_SCRIPT=() ALLOW_WRITER=() REHEARSE_SET=() REHEARSE_SET_ON=()
# shellcheck disable=SC2034 # step 23 reads it: what upgrade.sh --again adds
MIGRATE_AGAIN=()
# shellcheck disable=SC2034 # rehearse.sh reads them
REHEARSE_WITHOUT=() REHEARSE_RECORD=() REHEARSE_SETTING=()

settings() { # settings FILE: reads it; a wrong line is exit 2 with file, line and key
  local file=$1 number=0 line key value
  local -A first=() # the line in which a setting stands that may stand once
  [[ ! -e $file || -d $file || -f $file ]] ||
    die 2 "the settings $file are no regular file: they are read more than once" "write them to a file, and name that"
  [[ -r $file && ! -d $file ]] || die 2 "the settings $file cannot be read" "copy $scripts/upgrade.conf.example and fill it in"
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    [[ $line =~ ^([A-Z_]+)=(.*)$ ]] || die 2 "$file:$number: no setting: $line" "write NAME=VALUE"
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    if [[ " ${singles[*]} " == *" $key "* ]]; then
      [[ -z ${first[$key]:-} ]] ||
        die 2 "$file:$number: $key is set a second time, and first in line ${first[$key]}" "keep one of the two lines"
      first[$key]=$number
      printf -v "$key" '%s' "$value"
    elif [[ " ${lists[*]} " == *" $key "* ]]; then
      [[ -z $value ]] || eval "$key+=(\"\$value\")" # the name is one of ours, the value stays a variable
    else
      die 2 "$file:$number: no setting is called $key" "known: ${singles[*]} ${lists[*]}"
    fi
  done <"$file"
}

defaults() {
  : "${DEPLOYMENT:=${RS_DEPLOYMENT:-}}" "${UPGRADE:=${RS_UPGRADE:-}}" "${POOL:=}" "${TEST_POOL:=}"
  : "${TEST_HOST:=}" "${TEST_LB_LIKE:=}" "${TEST_LB:=}" "${APP_LIKE:=}" "${APP_NAME:=}" "${NEW_APPS:=2}"
  : "${OLD_ARRAY:=}" "${NEW_ARRAY:=}" "${NEW_ARRAY_MIN:=2}" "${STAGING:=}" "${BACKUP_MAX_AGE:=2h}"
  : "${EXPECT_RELEASE:=}" "${OLD_RELEASE:=}" "${SNAPSHOT:=held}" "${WINDOW:=10m}"
  : "${PAGE_WAIT:=5s}" "${PAGE_KILL:=yes}"
  : "${CODE_UPDATE:=code update}" "${APP_START:=app start}" "${APP_STOP:=app stop}" "${APP_RESTART:=app restart}"
  : "${WORKERS_IN_ARRAYS:=yes}"
  # empty on purpose: a site without workers, one whose applications never start by themselves
  : "${WORKER_START=worker start}" "${RESTART_APP:=no}"
  : "${ALERTS:=yes}" "${WAIT_AT_BOOT=APP_START_AT_BOOT=text:false}"
  : "${BACK_TIME:=}" "${UNREHEARSED:=decline}" "${HOOKS:=}" "${HOOK_LIMIT:=30s}"
  : "${REHEARSE_ROOT:=}" "${REHEARSE_ADDRESSES:=}" "${REHEARSE_RATE:=}"
  local needed missing=()
  for needed in DEPLOYMENT UPGRADE POOL TEST_POOL TEST_HOST TEST_LB_LIKE TEST_LB APP_LIKE APP_NAME; do
    [[ -n ${!needed} ]] || missing+=("$needed")
  done
  ((${#WARM[@]})) || missing+=(WARM)
  ((${#RELEASE[@]})) || missing+=(RELEASE)
  ((${#ISOLATION[@]})) || ISOLATION=("LB_HOSTNAME=text:$TEST_HOST" "LB_APPLISTENER_NAME=text:$TEST_POOL")
  ((${#missing[@]} == 0)) || die 2 "settings are missing: ${missing[*]}" "see $scripts/upgrade.conf.example"
  run_name "$UPGRADE"
  one_way MIGRATION_SQL "${MIGRATION_SQL[@]}"
  one_way MIGRATION_SCRIPT "${MIGRATION_SCRIPT[@]}"
  migrated_once
  values
  [[ -n ${RS_CLOUD:-} ]] || die 2 "RS_CLOUD is not set" "export RS_CLOUD=sqlite:/path/site.db"
  export RS_DEPLOYMENT=$DEPLOYMENT RS_UPGRADE=$UPGRADE
}

# What the tools would refuse as wrong usage in the middle of a run is refused here, before anything is called.
values() {
  local name entry
  one_of SNAPSHOT "held (beside the migration) or before" held before
  one_of UNREHEARSED "decline, or go: what was not rehearsed is then not counted" decline go
  one_of PAGE_KILL "yes, or no to stop where requests go on" yes no
  one_of WORKERS_IN_ARRAYS "yes, or no where only servers run workers and cron jobs" yes no
  one_of ALERTS "yes, or no where there is no alert system" yes no
  one_of RESTART_APP "yes, or no: step 29 starts them with the new code" yes no
  for name in WINDOW BACK_TIME HOOK_LIMIT PAGE_WAIT; do to_ms "$name" "${!name}" >/dev/null; done
  fits_all BACKUP_MAX_AGE "$BACKUP_MAX_AGE" '^0*[1-9][0-9]{0,8}[smhd]$' "no age" "90m or 2h"
  fits_all NEW_APPS "$NEW_APPS" '^[1-9][0-9]{0,8}$' "no number of servers" "1 or more"
  fits_all NEW_ARRAY_MIN "$NEW_ARRAY_MIN" '^[0-9]{1,9}$' "no number of instances" "0 or more"
  for name in POOL TEST_POOL; do
    fits_all "$name" "${!name}" '^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}$' "no name of a pool" "letters, digits, '_', '.' and '-', at most 64"
  done
  fits_all TEST_HOST "$TEST_HOST" '^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.|$))+$' "no host name" "test1.mysite.com"
  for name in DEPLOYMENT STAGING TEST_LB_LIKE TEST_LB APP_LIKE APP_NAME OLD_ARRAY NEW_ARRAY EXPECT_RELEASE OLD_RELEASE; do
    visible "$name" "${!name}"
  done
  for entry in "${ALLOW_WRITER[@]}"; do visible ALLOW_WRITER "$entry"; done
  [[ $APP_NAME != *%n*%n* ]] || die 2 "APP_NAME is ${APP_NAME@Q}: %n stands in it twice" "App Server-%n"
  [[ $APP_NAME == *%n* ]] || ((NEW_APPS == 1)) ||
    die 2 "APP_NAME is ${APP_NAME@Q}: $NEW_APPS servers would have one name" "put %n into it: App Server-%n"
  [[ -z $OLD_ARRAY || -n $NEW_ARRAY ]] || die 2 "OLD_ARRAY is ${OLD_ARRAY@Q}, and no NEW_ARRAY is set" "NEW_ARRAY=array-2; or both empty"
  apart TEST_POOL POOL
  apart NEW_ARRAY OLD_ARRAY
  apart TEST_LB TEST_LB_LIKE
  apart APP_NAME APP_LIKE
  apart STAGING DEPLOYMENT
  for entry in "${WARM[@]}"; do
    [[ $entry == ?*' => '?* ]] || die 2 "WARM is ${entry@Q}: that names no copy of a slave" "WARM=SLAVE => NAME OF THE COPY"
    visible WARM "${entry%% => *}"
    visible WARM "${entry#* => }"
    [[ ${entry%% => *} != "${entry#* => }" ]] || die 2 "WARM is ${entry@Q}: a slave is no copy of itself" "WARM=SLAVE => NAME OF THE COPY"
  done
  for entry in "${RELEASE[@]}"; do input_value RELEASE "$entry"; done
  for entry in "${ISOLATION[@]}"; do
    input_value ISOLATION "$entry"
    [[ " $(names "${RELEASE[@]}" | tr '\n' ' ')" != *" ${entry%%=*} "* ]] ||
      die 2 "RELEASE and ISOLATION both set ${entry%%=*}: step 25 would take away what the release needs" "keep one of the two"
  done
  [[ -z $WAIT_AT_BOOT ]] || input_value WAIT_AT_BOOT "$WAIT_AT_BOOT"
  for entry in "${KEEP[@]}"; do
    fits_all KEEP "$entry" '^[A-Za-z_][A-Za-z0-9_]*$' "no name of an input" "KEEP=WORKERS_AT_BOOT, each on a line of its own"
  done
}
one_of() { # one_of NAME HINT WORD...: the setting is one of the words
  local word
  for word in "${@:3}"; do [[ ${!1} != "$word" ]] || return 0; done
  die 2 "$1 is ${!1@Q}" "$2"
}
apart() { # apart NAME OTHER: what is new is not taken for what serves now
  [[ -z ${!1} || ${!1} != "${!2}" ]] || die 2 "$1 is ${!1@Q}, as $2 is: what is new would be taken for what serves now" "another name"
}
fits_all() { # fits_all NAME VALUE PATTERN WHAT HINT
  local LC_ALL=C
  [[ $2 =~ $3 ]] || die 2 "$1 is ${2@Q}: $4" "$5"
}
visible() { # visible NAME VALUE: as a server, an array or a deployment may be called; it may be empty
  [[ ! $2 =~ [[:cntrl:]] && ! $2 =~ ^[[:space:]]|[[:space:]]$ ]] ||
    die 2 "$1 is ${2@Q}: it holds what nobody sees" "no control characters, and no blanks around it"
}
input_value() { # input_value NAME ENTRY: an input in RightScale's notation
  fits_all "$1" "$2" '^[A-Za-z_][A-Za-z0-9_]*=(blank|ignore|inherit|(text|env|cred|key):.+|array:\[.*\])$' \
    "no input with its value" "$1=NAME=TYPE:VALUE, such as $1=APPLICATION=text:shop-2.0"
}
to_ms() { # to_ms NAME TIME: in milliseconds; an empty one stays so
  [[ -n $2 ]] || return 0
  [[ $2 =~ ^([0-9]{1,9})(ms|s|m|h|d|)$ && $((10#${BASH_REMATCH[1]})) -gt 0 ]] || die 2 "$1 is ${2@Q}: no time" "90s, 1500ms, 10m or 2h"
  local n=$((10#${BASH_REMATCH[1]}))
  case ${BASH_REMATCH[2]} in
  ms) ;; m) n=$((n * 60000)) ;; h) n=$((n * 3600000)) ;; d) n=$((n * 86400000)) ;; *) n=$((n * 1000)) ;;
  esac
  printf '%s' "$n"
}

run_name() { # run_name NAME: as the tools have it, said here before anything is called or written by it
  local LC_ALL=C
  [[ $1 =~ ^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}$ ]] ||
    die 2 "UPGRADE is ${1@Q}: that is no name of a run" "letters, digits, '_', '.' and '-', at most 64, such as u-42; UPGRADE or RS_UPGRADE"
}

load() { # the settings of this run, from $RS_UPGRADE_CONF or upgrade.conf
  [[ -n ${settings_loaded:-} ]] && return
  settings "${RS_UPGRADE_CONF:-upgrade.conf}"
  defaults
  settings_loaded=yes
}

page_on() { # the page up, and what was in flight ended
  local kill=()
  [[ $PAGE_KILL == no ]] || kill=(--kill)
  rs-maintenance start --pool "$POOL" --wait "$PAGE_WAIT" "${kill[@]}"
}

export PAGE_SEEN_AT=0 # when the page was last seen up, milliseconds since the epoch
page_up() {           # the page is up on every balancer. Not asked again where it was seen a moment ago: here it is dark
  { [[ -z $HOOKS ]] && ((${EPOCHREALTIME/[.,]/} / 1000 - PAGE_SEEN_AT < 1000)); } ||
    rs-maintenance status --pool "$POOL" --require on >/dev/null
}

members_are_new() { # the pool is exactly the new members, at run time too: somebody may have put an old one in since step 30
  local members
  [[ ${RS_MODE:-} != dry ]] || return 0 # it is not yet
  members=$(rs-server list --as new --role server | rs-lbctl connect --pool "$POOL" --only --dry-run)
  [[ $members != *'"changed":true'* ]] || die 5 "the pool is not what step 25 left and step 30 tested" \
    "rs-lbctl status --pool '$POOL' shows it; upgrade.sh --only 25 puts it right, --only 30 tests it, then upgrade.sh again"
}

working() { # of the servers on stdin those that run workers
  if [[ $WORKERS_IN_ARRAYS == yes ]]; then cat; else sed '/"array":"/d'; fi
}
but_working() { # how many of the servers on stdin run none
  [[ $WORKERS_IN_ARRAYS == no ]] || {
    cat >/dev/null
    printf 0
    return 0
  }
  grep -c '"array":"' || true
}

# scripts_known SELECTOR...: a script that the settings name and the template of these has not is told before the step that runs
# it. Whatever else stands in the way of a run is that step's.
scripts_known() {
  local setting script said entry named=() of
  [[ ${RS_MODE:-} != plan ]] || return 0
  of=$(command rs-server list --json "$@" 2>/dev/null) || return 0
  for setting in CODE_UPDATE APP_STOP APP_START WORKER_START; do named+=("$setting=${!setting}"); done
  [[ $RESTART_APP == no ]] || named+=("APP_RESTART=$APP_RESTART")
  for entry in "${MIGRATION_SCRIPT[@]}"; do named+=("MIGRATION_SCRIPT=${entry#* => }"); done
  for entry in "${named[@]}"; do
    setting=${entry%%=*} script=${entry#*=}
    [[ -n $script ]] || continue
    said=$(command rs-run "$script" --dry-run <<<"$of" 2>&1 >/dev/null) || true
    said=${said%)} # of its hint
    [[ $said != *' has no script '* ]] ||
      die 4 "$setting names what is not there: ${said%% (try: *}" "$setting in the settings; ${said##* (try: }"
  done
}

# statements_known: what a migration refuses to run is told before the page is up. Whatever else stands in its way is step 23's.
statements_known() {
  local said
  [[ ${RS_MODE:-} != plan && ${#MIGRATION_SQL[@]} != 0 ]] || return 0
  # shellcheck disable=SC1090 # it is checked by itself
  declare -F migrations >/dev/null || . "$(step_file 23)"
  # shellcheck disable=SC2317 # migrations calls it
  said=$(
    call() { command "$@" || (($? != 2)) || exit 2; }
    migrations --dry-run 2>&1 >/dev/null
  ) || {
    said=${said##*$'\n'}
    said=${said%)} # of its hint
    die 2 "MIGRATION_SQL cannot be run as it is: ${said%% (try: *}" "MIGRATION_SQL in the settings; ${said##* (try: }"
  }
}

# arrays_named: an array that is on and has instances in the pool launches the old release until step 27 turns it off, and step 27
# knows those that the settings name.
arrays_named() {
  local array tag="application:active_$POOL=true"
  [[ ${RS_MODE:-} != plan ]] || return 0
  while IFS= read -r array; do
    [[ $array != "$OLD_ARRAY" && $array != "$NEW_ARRAY" ]] || continue
    [[ $(command rs-server list --role array --json -- "$array") != *'"enabled":true'* ]] ||
      die 5 "the array ${array@Q} is on and has instances in the pool '$POOL', and the settings do not name it" \
        "OLD_ARRAY=$array, with a NEW_ARRAY; or rs-server disable $(quoted "$array")"
  done < <(command rs-server list --tag "$tag" --allow-none --json | arrays_of | sort -u)
}
# arrays_of: the arrays among the records on stdin, and those that the servers among them are of
arrays_of() { sed -n '/^{"schema":"rs.array/s/.*"minimum":[0-9]*,"name":"\([^"]*\)".*/\1/p; s/.*"array":"\([^"]*\)".*/\1/p'; }

# SET => VALUE in MIGRATION_SQL and MIGRATION_SCRIPT; without a set it is for every one.
set_of() { [[ $1 != *' => '* ]] || printf '%s' "${1%% => *}"; }
sets_of() { # sets_of ENTRY...: each set once, in order; a blank line stands for all
  local entry set seen=$'\n'
  for entry; do
    set=$(set_of "$entry")
    [[ $seen != *$'\n'"$set"$'\n'* ]] || continue
    seen+=$set$'\n'
    printf '%s\n' "$set"
  done
}
one_way() { # one_way NAME ENTRY...: a set must not get statements by two kinds of lines
  local sets
  mapfile -t sets < <(sets_of "${@:2}")
  ((${#sets[@]} < 2)) || [[ $'\n'$(printf '%s\n' "${sets[@]}")$'\n' != *$'\n\n'* ]] ||
    die 2 "$1 names a database set on some lines and none on others" "write $1=SET => VALUE on each"
}
migrated_once() { # a set has one token: by statements, or by one script; a second one would count as done
  local entry set sets seen=$'\n'
  mapfile -t sets < <(sets_of "${MIGRATION_SQL[@]}")
  for entry in "${MIGRATION_SCRIPT[@]}"; do sets+=("$(set_of "$entry")"); done
  for set in "${sets[@]}"; do
    [[ $seen == $'\n' || (-n $set && $seen != *$'\n\n'* && $seen != *$'\n'"$set"$'\n'*) ]] ||
      die 2 "MIGRATION_SQL and MIGRATION_SCRIPT migrate ${set:-every database set} twice" \
        "statements or one script for each set; or a script that runs the statements too"
    seen+=$set$'\n'
  done
}
names() { printf '%s\n' "${@%%=*}"; } # NAME of each NAME=VALUE
joined() {
  local IFS=,
  printf '%s' "$*"
} # a,b,c
allow() {
  local a
  for a in "${ALLOW_WRITER[@]}"; do printf -- '--allow\n%s\n' "$a"; done
}

# ---- the tools under --plan and --dry-run -------------------------------------------------------------------------
# --plan: every call is shown and none is made. --dry-run: every changing verb gets --dry-run.
shown() {
  local word words=()
  for word in "$@"; do
    # the plan file of a step that destroys
    [[ -z ${plan:-} || $word != "$plan" ]] || word=PLAN
    words+=("$word")
  done
  say "      $(quoted "${words[@]}")"
}
call() {
  local tool=$1 verb=()
  shift
  [[ -z ${STEP_DID:-} ]] || printf '%s\n' "$tool $*" >>"$STEP_DID"
  case ${RS_MODE:-} in
  plan)
    [[ -t 0 ]] || cat >/dev/null
    shown "$tool" "$@"
    ;;
  dry)
    [[ ${2:-} =~ ^(on|off|opened|change|restore)$ ]] && verb=("$1" "$2") || verb=("${1:-}")
    [[ $tool == rs-run ]] && verb=()
    if [[ $(command "$tool" "${verb[@]}" --help 2>/dev/null) == *--dry-run* ]]; then
      command "$tool" "${verb[@]}" --dry-run "${@:${#verb[@]}+1}" # before a -- that may stand there
    else
      command "$tool" "$@"
    fi
    ;;
  *) command "$tool" "$@" ;;
  esac
}
for tool in server clone inputs run lbctl maintenance dbsync snapshot cleanup check journal; do
  eval "rs-$tool() { call rs-$tool \"\$@\"; }"
done

nothing() { # nothing WHY: a step says that it has nothing to do here; a step that neither calls a tool nor says so failed
  say "      $1"
  [[ -z ${STEP_DID:-} ]] || printf 'nothing\n' >>"$STEP_DID"
}

# ---- proofs -------------------------------------------------------------------------------------------------------
# Each step's file has a proof of the step's name: what upgrade.sh asks of the world once the step has ended well, so that a
# step that did nothing, or something else, is found out by its name. It changes nothing: it asks, or it says --dry-run.
# Of a step that only asks, the proof is that it asked: its calls stand in $STEP_CALLS, one on a line, what it passed on in
# $STEP_PASSED_ON.
unproven() { die 3 "$1" "look at $(step_file "$(number "$STEP")"), and at what it left"; }
unchanged() { # … --dry-run | unchanged: what was wanted is so already
  local record records=0
  while IFS= read -r record; do
    records=$((records + 1))
    [[ $record != *'"changed":true'* ]] || unproven "it is not as the step leaves it: $(would "$record")"
  done
  ((records)) || unproven "there is nothing of what the step leaves"
}
would() { # would RECORD: what a verb would still change, in words
  local pattern='"changed":true,[^{}]*"tool":"([a-z-]+)"[^{}]*"verb":"([^"]*)"'
  [[ $1 =~ $pattern ]] || {
    printf '%s' "${1:0:200}"
    return
  }
  local text="${BASH_REMATCH[1]} ${BASH_REMATCH[2]} would still change"
  [[ ! ${1##*'"did":'} =~ \"name\":\"([^\"]*)\" ]] || text+=" ${BASH_REMATCH[1]@Q}"
  printf '%s' "$text"
}
unchanged_if_any() {
  local records
  records=$(</dev/stdin)
  [[ -z $records ]] || unchanged <<<"$records"
}
none() { # none SELECTOR...: no server or array is like that
  local found
  found=$(command rs-server list "$@" --allow-none)
  [[ -z $found ]] || unproven "there is still something that fits $*"
}
at_least() { # at_least N SELECTOR...
  local found
  found=$(command rs-server list "${@:2}" --allow-none | grep -c '') || true
  ((found >= $1)) || unproven "$found fit ${*:2}, and $1 are wanted"
}
asked() { # asked WORD...: the step made this call, and it ended well
  local line
  while IFS= read -r line; do [[ "$line " != "$* "* ]] || return 0; done <"$STEP_CALLS"
  unproven "it never asked: $*"
}
declared() { # the step said that there is nothing to do
  local line
  while IFS= read -r line; do [[ $line != nothing ]] || return 0; done <"$STEP_CALLS"
  unproven "it neither did anything nor said that there is nothing to do"
}
ran() { # ran SCRIPT SELECTOR...: the step ran it on every server of these, or on LESS fewer, and passed them on
  local word="${1//\\/\\\\}" wanted found
  word="\"script\":\"${word//\"/\\\"}\""
  wanted=$(command rs-server list "${@:2}" --allow-none | grep -c '') || true
  wanted=$((wanted - ${LESS:-0}))
  found=$(grep -cF -- "$word" "$STEP_PASSED_ON") || true
  ((found >= wanted)) || unproven "$1 ran on $found of $wanted"
}

stranded_anew() { # stranded_anew SELECTOR...: servers of this run that a boot script left stranded are made anew
  rs-server list "$@" --state stranded-in-booting --allow-none | rs-server relaunch --allow-none
}
stranded_ended() { # stranded_ended SELECTOR...: instances of an array that a boot script left stranded: others take their place
  local stranded plan
  stranded=$(rs-server list "$@" --role server --state stranded-in-booting --allow-none)
  [[ -n $stranded ]] || return 0
  plan=$(mktemp)
  rs-cleanup plan <<<"$stranded" >"$plan"
  rs-cleanup retire --plan "$plan"
  rm -f "$plan"
}

# ---- steps --------------------------------------------------------------------------------------------------------
step_file() { # step_file 18: its file
  local found=("$scripts/steps/$1"-*.sh)
  [[ -r ${found[0]} ]] || die 2 "there is no step $1" "$scripts/upgrade.sh --plan shows them"
  printf '%s' "${found[0]}"
}
step_title() { sed -n "2s/^# Step [0-9a-z]*: //p" "$(step_file "$1")"; }
number() {
  local n=${1%[a-z]}
  [[ $1 == writes_on ]] && n=29
  printf '%s' "$n"
}         # 19p: 19
title() { # title LABEL: what upgrade.sh runs under this label
  case $1 in
  19p) printf 'stop the old processes to stay stopped' ;;
  25i) printf 'drop the isolation inputs of the new servers' ;;
  29f) printf 'start the application of the server that migrates' ;;
  29a) printf 'start the new applications' ;;
  29w) printf 'start the new workers and cron jobs' ;;
  writes_on) printf 'writes on' ;;
  *) step_title "$(number "$1")" ;;
  esac
}

# Labels that are a part of a step's file.
# shellcheck disable=SC2034 # upgrade.sh and undo.sh read it
declare -A part_of=([19]=19_writes [19p]=19_processes [25]=25_members [25i]=25_inputs [29f]=29_first [29a]=29_app [29w]=29_workers
)

# ---- where the run stands -----------------------------------------------------------------------------------------
# The runs that did something in the deployment, in $runs, and where each stands, by name, in $stands: its newest mark.
# Who is frozen may hold the store: before the run lock that is no answer, and it is asked again with it.
find_runs() {
  local acts run mark
  runs=()
  declare -gA stands=()
  # shellcheck disable=SC2154 # mode is the script's
  if [[ $mode == run && -z ${RS_LOCK_FD:-} ]]; then
    acts=$(command rs-journal show --json 2>/dev/null) || return
  else
    acts=$(command rs-journal show --json) || exit
  fi
  while IFS=$'\t' read -r run mark; do
    [[ -n ${stands[$run]+known} ]] || { runs+=("$run") && stands[$run]=''; }
    [[ -z $mark ]] || stands[$run]=$mark
  done < <(sed -nE '/"tool":"rs-journal"/{s/.*"run":"([^"]*)".*"subject":"(step [^"]*|way back|undo|ended)".*/\1\t\2/p;b}
    s/.*"run":"([^"]*)".*/\1/p' <<<"$acts")
}
# known_run: who mistypes the name of his run must not be told that there is nothing to come back from.
known_run() {
  find_runs || return 0
  [[ -n ${stands[$UPGRADE]+known} ]] || {
    local names
    printf -v names '%s, ' "${runs[@]}"
    die 4 "the run $UPGRADE has done nothing in $DEPLOYMENT: there is nothing to come back from" \
      "UPGRADE in the settings: the journal has ${names%, }"
  }
}
# only_run: nor begin another beside it, which would take the new servers for the old ones. Up to step 3 nothing is made.
only_run() {
  find_runs || return 0
  [[ -z ${stands[$UPGRADE]+known} ]] || return 0
  local run
  for run in "${runs[@]}"; do
    case ${stands[$run]} in
    '' | 'step 0'[1-3] | 'step 38' | 'way back' | ended) ;;
    *) die 5 "the run $run of $DEPLOYMENT is not finished (its newest mark: ${stands[$run]}), and $UPGRADE would be another" \
      "UPGRADE=$run in the settings, and upgrade.sh or rollback.sh ends it; if it is over: RS_UPGRADE=$run rs-journal mark ended" ;;
    esac
  done
}
newest_mark() {
  command rs-journal show --run "$UPGRADE" --allow-none --json 2>/dev/null |
    sed -n '/"tool":"rs-journal"/s/.*"subject":"\([^"]*\)".*/\1/p' | tail -n 1
}
# Labels of the steps that are done, as the journal has them, in $done_before; what a rollback undid, which is all from
# step 15 on, in $before_back as it stood then.
read_marks() {
  local label kept at=''
  done_before=' ' before_back=' '
  while IFS= read -r label; do
    case $label in
    forth) done_before=$before_back ;; # rollback.sh gave up, or was taken back: all is as it was
    back)
      if [[ $at != back ]]; then # not the same one, begun again
        before_back=$done_before kept=' '
        local one
        for one in $done_before; do [[ ! $one =~ ^(0.|1[0-4])$ ]] || kept+="$one "; done
        done_before=$kept
      fi
      ;;
    *) done_before+="$label " ;;
    esac
    at=$label
  done < <(
    command rs-journal show --run "$UPGRADE" --allow-none --subject 'step *' --json |
      sed -n 's/.*"subject":"step \([^"]*\)".*/\1/p'
  )
}
# The label of the snapshot before the migration. A run that came back and begins again takes another one: a label names one
# backup, and what it was then is no pair with the copy that is held now.
pre_upgrade() {
  local attempt=1 line back=no ended=no
  [[ ${RS_MODE:-} == plan ]] || while IFS= read -r line; do
    case $line in
    *'"subject":"step back"'*) back=yes ;;
    *'"subject":"step forth"'*) back=no ;;
    *'"subject":"way back"'*) attempt=$((attempt + 1)) back=no ended=yes ;;
    *'"subject":"undo"'*) # of one that was cut off nothing is counted yet
      [[ $ended == no ]] || attempt=$((attempt - 1))
      back=no ended=no
      ;;
    *'"subject":"step '[0-4]*) # somebody turned round
      [[ $back == no ]] || attempt=$((attempt + 1))
      back=no
      ;;
    esac
  done < <(command rs-journal show --run "$UPGRADE" --allow-none --json 2>/dev/null)
  printf 'pre-upgrade-%s' "$UPGRADE"
  ((attempt == 1)) || printf -- '-%s' "$attempt"
}
noted() { # noted KIND: on what a debt of that kind stands in the journal, one a line
  { command rs-cleanup audit --json 2>/dev/null || true; } | debts "$1"
}
debts() { sed -n "s/.*\"key\":\"$1:\([^\"]*\)\".*/\1/p"; }
# begun KIND: also what was cut off before the world shows it: its inverse brings it to an end
begun() { [[ -n $(noted "$1") ]]; }
# attempt_ends TELL: what an attempt that did not migrate left at its database is taken back, each told by TELL: a hold of it
# stands for a position that is gone once somebody writes, and its snapshot too.
attempt_ends() {
  local label
  if begun held; then
    "$1" "the warm slave replicates again"
    rs-server list --as warm | rs-server unlock | rs-dbsync resume >/dev/null
  fi
  label=$(pre_upgrade)
  if [[ $'\n'$(noted pin)$'\n' == *"/$label"$'\n'* ]]; then
    "$1" "the snapshot of this attempt is kept no more"
    rs-snapshot unpin --role master --label "$label" >/dev/null
  fi
  if begun sync_relay_log; then
    rs-server list --as warm | rs-dbsync settings restore sync_relay_log >/dev/null
  fi
}
warm_is_master() { # the migration was rolled back: a warm slave of this run is a master
  [[ -n $(command rs-server list --as warm --role master --allow-none --json 2>/dev/null) ]]
}

leftmost() { # the leftmost failure of a pipe: pipefail would tell the rightmost
  local status
  for status in "$@"; do
    ((status == 0 || status == 141)) || exit "$status"
  done
  exit 141
}

run_step() { # run_step NN, for a step's file that is run by itself
  case ${2:-} in -h | --help)
    head_of "$0"
    exit 0
    ;;
  '') ;;
  *) die 2 "a step takes no arguments; $2 was given" "${0##*/} --help" ;;
  esac
  load
  trap 'leftmost "${PIPESTATUS[@]}"' ERR
  # shellcheck disable=SC2034 # the gates read it
  mode=${RS_MODE:-run}
  [[ $mode != run ]] || gate_alone "$1"
  "step_$1"
}
gate_alone() { # gate_alone NN: what upgrade.sh --only NN asks before it, and tells the hooks after it
  # shellcheck source=/dev/null
  . "$scripts/gates.sh"
  # shellcheck disable=SC2317 # the gates call them
  refuse() { die "${3:-5}" "$1" "$2"; }
  # shellcheck disable=SC2317
  finish() { exit "$1"; }
  results=$(mktemp -d)
  # shellcheck disable=SC2064 # the number as it is now
  trap "alone_ends $1 \$?" EXIT
  only_run
  not_taken_back
  gates_open
  read_marks
  # shellcheck disable=SC2034 # stands reads it
  stood=$done_before
  gate "$1"
  gone_in=yes
}
gone_in=no     # whether the step that is run by itself was begun
alone_ends() { # alone_ends NN EXIT
  [[ $gone_in == no ]] || hooks_after step "$1" "$(title "$1")" "$2"
  hooks_wait
  rm -rf "$results"
}
now_ms() { # milliseconds since the epoch, in $now
  now=${EPOCHREALTIME/[.,]/}
  now=${now%???}
}
