#!/usr/bin/env bash
# check.sh [rooms] [shell]: what the compiler cannot know. Each fault is one line FILE:LINE: what.
#
#   rooms   no room uses what it may not: the arrows between crates, the pure model, vendors apart
#   shell   shellcheck and shfmt over every shell script
#
# Exit: 0 nothing found, 1 faults, 2 usage.
set -euo pipefail
shopt -s inherit_errexit
cd "${BASH_SOURCE[0]%/*}/.."

# Whatever process finds a fault says it, and writes a line to stdout: these are counted at the end.
fault() { printf '%s\n' "$*" >&2 && echo; }
# forbid WHAT: every line on stdin is a fault.
forbid() {
  local line
  while IFS= read -r line; do fault "${line:0:160}: $1"; done
}
# code PATH...: the Rust code below, as FILE:LINE:TEXT, without comments and unit tests.
code() {
  # shellcheck disable=SC2016 # awk's own variables
  find "$@" -name '*.rs' -not -path '*/tests/*' -not -name '*_tests.rs' -not -name tests.rs -print0 | sort -z | xargs -0 -r awk '
    FNR == 1 { tests = 0 }
    /#\[cfg\(test\)\]/ { tests = 1 }
    !tests && !/^[ \t]*\/\// { print FILENAME ":" FNR ":" $0 }'
}
# bash_code PATH...: the same for shell scripts.
bash_code() { grep -rnE '' "$@" --include='*.sh' | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(#|$)' || true; }
matching() { grep -E "$1" || true; }
shell_files() {
  find scripts tests .ci -path tests/fixtures -prune -o -type f \( -name '*.sh' -o ! -name '*.*' \) -print0 | xargs -0 grep -lE '^#!.*\b(ba)?sh\b|^# shellcheck shell='
}

# --- rooms ----------------------------------------------------------------------------------------

top_level() {
  local entry
  for entry in $(git ls-files --cached --others --exclude-standard 2>/dev/null | cut -d/ -f1 | sort -u); do
    case $entry in
    Cargo.toml | Cargo.lock | Makefile | tools | shared | scripts | tests) ;;
    README.md | LICENSE | CHANGELOG.md | CONTRIBUTING.md | docs) ;;
    .ci | .gitignore | .editorconfig | clippy.toml | rustfmt.toml) ;;
    *) fault "$entry: the top level holds rooms only" ;;
    esac
  done
}

# Which of our crates a crate may use. Cargo keeps what is written there; this keeps what may be.
arrows() {
  local manifest room allowed used
  for manifest in shared/*/Cargo.toml tools/*/Cargo.toml tests/Cargo.toml; do
    room=${manifest%/Cargo.toml}
    case $room in
    shared/model) allowed='' ;;
    shared/records | shared/contract) allowed='model' ;;
    shared/drivers) allowed='model contract' ;;
    shared/cli) allowed='model contract records' ;;
    tools/* | tests) allowed='model contract records drivers cli' ;;
    *) fault "$manifest: a new room: say in scripts/check.sh what it may use" && continue ;;
    esac
    while IFS=: read -r line used; do
      [[ " $allowed " == *" ${used#rs-} "* ]] || fault "$manifest:$line: $room may not use $used"
    done < <(grep -noE '^rs-[a-z0-9-]+' "$manifest" || true)
    grep -nE '^[a-z0-9_-]+ *= *("[0-9]|\{.*version *= *")' "$manifest" | matching 'dependenc|=' |
      sed "s|^|$manifest:|" | forbid 'versions stand in the workspace, once' || true
  done
}

model_is_pure() {
  code shared/model/src | matching 'std::(fs|env|process|thread|io)\b|std::net::[^I]|std::os\b|SystemTime|Instant::now' |
    forbid 'the model does no I/O and has no clock'
  code shared/model shared/records shared/contract shared/drivers | matching '\be?print(ln)?!|\bdbg!|process::exit' |
    forbid 'libraries print nothing and do not exit'
}

# One line per vendor: its folder (or folders) under shared/drivers/src, and words that nobody else may say.
vendor_words() {
  cat <<'WORDS'
mysql      SHOW (ALL )?(SLAVE|REPLICA|MASTER|BINARY LOG|BINLOG)|CHANGE (MASTER|REPLICATION)|(START|STOP|RESET) (ALL )?(SLAVE|REPLICA)|Seconds_Behind|\bmysql::(Conn|Opts|Pool|prelude|Value|Error|params)
mysql|snapshots gtid_(slave|binlog|current)_pos
haproxy    show (servers|map|stat|proc)\b|(set|add|del|enable|disable) server |(set|add|clear|del) map|rs-members
snapshots  mariadb-backup|mbstream|xtrabackup
dns        \bhickory_proto::|nsupdate
sqlite     \brusqlite::
WORDS
}

vendors_apart() {
  local folder words others all rust shell
  # look is no vendor: it puts the families together, by the tables in lib.rs
  all=$(find shared/drivers/src -mindepth 1 -maxdepth 1 -type d ! -name look -printf '%f\n' | sort)
  rust=$(code shared tools)
  shell=$(bash_code scripts/steps scripts/*.sh | matching '^scripts/' | grep -vE '^scripts/(setup|check)\.sh:' || true)
  while read -r folder words; do
    printf '%s\n' "$rust" "$shell" | matching "$words" | grep -vE "^shared/drivers/src/($folder)/" |
      forbid "only shared/drivers/src/$folder speaks $folder" || true
  done < <(vendor_words)
  for folder in $all; do
    others=$(grep -vx "$folder" <<<"$all" | paste -sd'|')
    grep -E "^shared/drivers/src/$folder/" <<<"$rust" | matching "(crate|super::super)::($others)\b" |
      forbid "a vendor's folder does not use another's" || true
  done
}

# Help texts show the guide's own names: whole example lines are no code.
without_examples() { grep -vE '^[^:]+:[0-9]+:([^"]*Examples:|[[:space:]]*(rs-[a-z]+|--[a-z-]+|[|]) )|"write |hint\(' || true; }

# What the demo calls its servers, tables, pool, zone and ports stands in scripts/demo only: read there, looked for everywhere.
demo_apart() {
  local names tables values ports
  names=$(sed -n 's/^ *- Name: //p' scripts/demo/site.sh | sort -u | paste -sd'|')
  tables=$(sed -n 's/^CREATE TABLE \([a-z_]*\).*/\1/p' scripts/demo/app/*/db/*.sql | sort -u | paste -sd'|')
  values=$(grep -E '^deployment=' scripts/demo/site.sh | grep -oE '\b(deployment|zone|pool|schema|application)=[a-z.]+' | cut -d= -f2 | sort -u | paste -sd'|')
  # a port that is the documented default of an input is no name of the demo's
  ports=$(grep -oE '_port=[0-9]+' scripts/demo/site.sh | cut -d= -f2 | grep -vxFf <(grep -oE '\b[0-9]{4}\b' docs/SITE.md) | paste -sd'|')
  [[ -n $names && -n $tables && -n $values && -n $ports ]] || fault "scripts/demo/site.sh: its names were not found"
  { code shared tools | without_examples && bash_code scripts/steps scripts/templates scripts/*.sh | sed -E '/^scripts\/(setup|check)\.sh:/d'; } |
    matching "\\b($names)\\b|\\b(FROM|INTO|TABLE|UPDATE) ($tables)\\b|/($tables)\\b|[=:\"]($values)([^a-z._-]|\$)|scripts/demo" |
    forbid 'the demo is known in scripts/demo only'
  { code shared tools && bash_code scripts/steps scripts/*.sh; } | matching "\\b($ports)\\b" |
    forbid "the demo's ports stand in scripts/demo only"
}

# Scripts of the upgrade are pipes of our tools: whoever's site it is, whatever runs there.
site_apart() {
  local tools
  bash_code scripts/steps | matching '\b(mariadb|mysql|haproxy|socat|curl|dig|svn|ssh|systemctl|sqlite3?)\b' |
    forbid 'a step uses our tools only'
  tools=$(find tools -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | paste -sd'|')
  find Makefile .ci Cargo.toml -type f -print0 | xargs -0 grep -nE "\\b($tools)\\b" /dev/null |
    forbid 'a tool is found by the glob and named nowhere' || true
}

small_files() {
  find shared tools tests scripts -type f \( -name '*.rs' -o -name '*.sh' \) -print0 | xargs -0 wc -l |
    awk '$2 != "total" && $1 > 700 { print $2 ":" $1 }' | forbid 'more than 700 lines: more than one subject'
}

# A tool without unit tests is not built a second time for none. One that gets some must be.
tests_built() {
  local manifest
  while IFS= read -r manifest; do
    grep -rnE '#\[test\]|proptest!' "${manifest%/Cargo.toml}/src" |
      forbid "it has unit tests: take \`test = false\` out of $manifest" || true
  done < <(grep -l '^test = false' tools/*/Cargo.toml)
}

rooms() {
  top_level
  arrows
  tests_built
  model_is_pure
  vendors_apart
  site_apart
  demo_apart
  small_files
}

shell() {
  local files
  mapfile -t files < <(shell_files | sort)
  shellcheck -x -P SCRIPTDIR "${files[@]}" >&2 || fault "shellcheck: see above"
  shfmt -i 2 -d "${files[@]}" >&2 || fault "shfmt: see above; try: make fmt"
}

(($#)) || set -- rooms shell
for word; do
  case $word in
  rooms | shell) ;;
  files) shell_files | sort && exit ;; # for make fmt
  *) echo "check.sh: no word '$word' (try: rooms shell)" >&2 && exit 2 ;;
  esac
done
faults=$(for word; do "$word"; done | wc -l)
((faults == 0)) || { echo "check.sh: $faults faults" >&2 && exit 1; }
