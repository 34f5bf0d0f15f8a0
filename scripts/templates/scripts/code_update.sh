#!/usr/bin/env bash
# ---
# RightScript Name: code update
# Description: |
#   Fetches the release that SVN_APP_REPOSITORY names (Subversion; git where the address says so, with #TAG or
#   #BRANCH behind it), writes the configuration of the application, and restarts what runs if either changed.
#   The last lines say `revision REV` and `changed=true|false`. A release says in `Procfile` what runs
#   (`web: COMMAND` is the application, every other line a worker), and in `Jobs` what runs by the clock
#   (`NAME SECONDS COMMAND`).
# Inputs:
#   SVN_APP_REPOSITORY:
#     Category: Application
#     Description: Address of the release. git+URL, git://..., or ...git for a git repository.
#     Required: true
#   OPT_SVN_USERNAME:
#     Category: Application
#     Default: blank
#   OPT_SVN_PASSWORD:
#     Category: Application
#     Default: blank
#   APPLICATION:
#     Category: Application
#     Description: Name of the release; its folder on the server is called after it.
#     Required: true
#   APPLICATION_PORT:
#     Category: Application
#     Default: text:8000
#   APPLICATION_BIND_ADDRESS:
#     Category: Application
#     Default: env:PRIVATE_IP
#   APPLICATION_SERVER_NAME:
#     Category: Application
#     Description: How the application names its server in answers.
#     Default: env:SERVER_NAME
#   DNS_SERVER:
#     Category: Application
#     Description: ADDRESS:PORT of the DNS server that knows the database's address. Blank for the machine's resolver.
#     Default: blank
#   DB_HOST_NAME:
#     Category: Application
#     Description: Name of the master database in DNS.
#     Required: true
#   DB_READ_HOST_NAME:
#     Category: Application
#     Description: Name of a slave that serves reads. Blank to read from the master.
#     Default: blank
#   DB_PORT:
#     Category: Application
#     Default: text:3306
#   DB_SCHEMA_NAME:
#     Category: Application
#     Required: true
#   DBAPPLICATION_USER:
#     Category: Application
#     Required: true
#   DBAPPLICATION_PASSWORD:
#     Category: Application
#     Required: true
#   DBAPPLICATION_TLS:
#     Category: Application
#     Description: Whether the application speaks TLS to the database. MySQL's accounts need it.
#     Default: text:off
#     Possible Values: ["text:off", "text:required"]
#   NO_START:
#     Category: Application
#     Description: With true, what runs is stopped before and not started again, so that new code does not touch an old
#       schema. With `rs-run --stay` not by a reboot either.
#     Default: text:false
#     Possible Values: ["text:true", "text:false"]
# ...
set -euo pipefail
umask 077

fail() {
  echo "code update: $*" >&2
  exit 1
}
svc="$HOME/bin/svc"
[[ $APPLICATION =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || fail "APPLICATION is not a plain name: ${APPLICATION@Q}"
[[ $APPLICATION_PORT =~ ^[0-9]{1,5}$ ]] || fail "APPLICATION_PORT is not a port: ${APPLICATION_PORT@Q}"
case $SVN_APP_REPOSITORY in
-*) fail "SVN_APP_REPOSITORY is not an address: ${SVN_APP_REPOSITORY@Q}" ;;
git+* | git:* | *.git | *.git#*) kind=git ;;
*) kind=svn ;;
esac

services() { "$svc" status | awk '$1 == "app" || $1 ~ /^(worker|job)-/ { print $1 }'; }
mapfile -t present < <(services)
if [ "$NO_START" = true ] && [ "${#present[@]}" -gt 0 ]; then
  "$svc" stop "${present[@]}"
fi

# --- the release -----------------------------------------------------------------------------------------------------

mkdir -p "$HOME/app"
export HOME
if [ "$kind" = svn ]; then
  svn() {
    if [ -n "${OPT_SVN_USERNAME:-}" ]; then
      printf '%s' "${OPT_SVN_PASSWORD:-}" | command svn --non-interactive --no-auth-cache \
        --config-dir "$HOME/etc/subversion" --username "$OPT_SVN_USERNAME" --password-from-stdin "$@"
    else
      command svn --non-interactive --no-auth-cache --config-dir "$HOME/etc/subversion" "$@"
    fi
  }
  # A peg revision in the address is the user's; without one, an @ in it must not be taken for one.
  revision=$(svn info --show-item last-changed-revision "$SVN_APP_REPOSITORY" 2>"$PWD/said") ||
    fail "cannot read $SVN_APP_REPOSITORY: $(tail -n 2 "$PWD/said")"
  revision=${revision//[!0-9]/}
  fetch() { svn export --quiet -r "$revision" "$SVN_APP_REPOSITORY" "$1" 2>"$PWD/said"; }
else
  address=${SVN_APP_REPOSITORY#git+}
  ref=HEAD
  case $address in *"#"*) ref=${address##*#} address=${address%#*} ;; esac
  [[ $ref =~ ^[A-Za-z0-9][A-Za-z0-9_./-]*$ ]] || fail "not a tag or branch: ${ref@Q}"
  # A repository in a folder of somebody else is refused by git unless a file says otherwise.
  printf '[safe]\n\tdirectory = *\n' >"$HOME/etc/gitconfig"
  export GIT_CONFIG_GLOBAL="$HOME/etc/gitconfig" GIT_TERMINAL_PROMPT=0
  said=$(git ls-remote -- "$address" "$ref" "$ref^{}" 2>&1) || fail "cannot read $address: $said"
  revision=$(awk 'END { print $1 }' <<<"$said") # the last line is the commit behind an annotated tag
  [[ $revision =~ ^[0-9a-f]{40,64}$ ]] || fail "no tag or branch $ref in $address"
  fetch() {
    git -c advice.detachedHead=false clone --quiet --no-checkout -- "$address" "$1" 2>"$PWD/said" &&
      git -C "$1" -c advice.detachedHead=false checkout --quiet "$revision" 2>>"$PWD/said" && rm -rf "$1/.git"
  }
fi

release="$HOME/app/$APPLICATION"
stamp="$SVN_APP_REPOSITORY $revision"
changed=false
if [ "$(cat "$release/.revision" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$release.new" "$release.old"
  fetch "$release.new" || fail "cannot fetch $SVN_APP_REPOSITORY: $(tail -n 2 "$PWD/said")"
  [ -s "$release.new/Procfile" ] || fail "$SVN_APP_REPOSITORY is no release: it has no Procfile"
  printf '%s\n' "$stamp" >"$release.new/.revision"
  if [ -e "$release" ]; then
    mv "$release" "$release.old"
  fi
  mv "$release.new" "$release"
  rm -rf "$release.old"
  changed=true
fi
if [ "$(readlink "$HOME/app/current" 2>/dev/null)" != "$APPLICATION" ]; then
  ln -sfn "$APPLICATION" "$HOME/app/current.new"
  mv -T "$HOME/app/current.new" "$HOME/app/current"
  changed=true
fi

# --- its configuration -----------------------------------------------------------------------------------------------

wrote=$(
  python3 -I -S - "$HOME/etc/application.json" <<'PY'
import json, os, sys
file, inputs = sys.argv[1], os.environ
text = json.dumps({
    "bind_address": inputs["APPLICATION_BIND_ADDRESS"], "port": int(inputs["APPLICATION_PORT"]),
    "server_name": inputs["APPLICATION_SERVER_NAME"], "release": inputs["APPLICATION"],
    "dns_server": inputs.get("DNS_SERVER", ""),
    "database": {
        "host": inputs["DB_HOST_NAME"], "read_host": inputs.get("DB_READ_HOST_NAME", ""),
        "port": int(inputs["DB_PORT"]), "schema": inputs["DB_SCHEMA_NAME"],
        "user": inputs["DBAPPLICATION_USER"], "password": inputs["DBAPPLICATION_PASSWORD"],
        "tls": inputs["DBAPPLICATION_TLS"],
    },
}, indent=1)
try:
    with open(file, encoding="utf-8") as opened:
        same = opened.read() == text
except OSError:
    same = False
if not same:
    with open(file + ".new", "w", encoding="utf-8") as opened:
        opened.write(text)
    os.rename(file + ".new", file)
print("false" if same else "true")
PY
)

# --- its services ----------------------------------------------------------------------------------------------------

# install NAME COMMAND [OPTION...]: the command is the release's own; it runs in its folder.
install_service() {
  local name=$1 command=$2
  shift 2
  "$svc" install "$name" "$@" <<RUN >>"$PWD/installed"
#!/bin/sh
cd "\$HOME/app/current" || exit 1
export APP_CONFIG="\$HOME/etc/application.json" PYTHONDONTWRITEBYTECODE=1
exec $command
RUN
}
wanted=()
add() { # add NAME COMMAND [OPTION...]
  [[ $1 =~ ^[a-z][A-Za-z0-9_.-]*$ ]] || fail "the release names a service ${1@Q}"
  wanted+=("$1")
  install_service "$@"
}
: >"$PWD/installed"
while IFS=: read -r name command || [ -n "$name" ]; do
  case $name in '' | '#'*) continue ;; esac
  command=${command#"${command%%[![:space:]]*}"}
  if [ "$name" = web ]; then
    add app "$command" --order 20 --grace 10 --listens "$APPLICATION_BIND_ADDRESS:$APPLICATION_PORT"
  else
    add "worker-$name" "$command" --order 30 --grace 10
  fi
done <"$release/Procfile"
if [ -e "$release/Jobs" ]; then
  while read -r name every command || [ -n "$name" ]; do
    case $name in '' | '#'*) continue ;; esac
    [[ $every =~ ^[1-9][0-9]*$ ]] || fail "job $name of the release has no number of seconds"
    add "job-$name" "$command" --every "$every" --order 40 --grace 10
  done <"$release/Jobs"
fi
# What the former release had and this one has not.
for name in "${present[@]}"; do
  if [[ " ${wanted[*]} " != *" $name "* ]]; then
    "$svc" uninstall "$name"
  fi
done

if [ "$changed" = true ] || [ "$wrote" = true ]; then
  mapfile -t running < <("$svc" status | awk '($1 == "app" || $1 ~ /^(worker|job)-/) && $2 != "down" && $2 != "masked" { print $1 }')
  if [ "${#running[@]}" -gt 0 ]; then
    "$svc" restart "${running[@]}"
  fi
fi
# Nothing but releases lies there: older ones stay, so that going back needs no repository.
echo "release $APPLICATION"
echo "revision $revision"
echo "configuration changed=$wrote"
echo "changed=$changed"
