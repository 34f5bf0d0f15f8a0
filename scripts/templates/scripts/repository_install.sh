#!/usr/bin/env bash
# ---
# RightScript Name: repository install
# Description: Makes a Subversion repository that anybody may read and nobody may write over the network, and fills it
#   with releases - every folder of REPOSITORY_SOURCE becomes releases/NAME, one commit each, in the order of their
#   names. A release that is there is never changed. Starts nothing.
# Inputs:
#   REPOSITORY_BIND_ADDRESS:
#     Category: Repository
#     Default: env:PRIVATE_IP
#   REPOSITORY_PORT:
#     Category: Repository
#     Default: text:3690
#   REPOSITORY_NAME:
#     Category: Repository
#     Description: The first part of the path in its addresses, svn://ADDRESS:PORT/NAME/releases/...
#     Required: true
#   REPOSITORY_SOURCE:
#     Category: Repository
#     Description: Folder (absolute) with one folder for each release. Blank for an empty repository.
#     Default: blank
# ...
set -euo pipefail
umask 077

fail() {
  echo "repository install: $*" >&2
  exit 1
}
[[ $REPOSITORY_NAME =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || fail "REPOSITORY_NAME is not a plain name: ${REPOSITORY_NAME@Q}"
[[ $REPOSITORY_PORT =~ ^[0-9]{1,5}$ ]] || fail "REPOSITORY_PORT is not a port: ${REPOSITORY_PORT@Q}"
[[ $REPOSITORY_BIND_ADDRESS =~ ^[0-9.]+$ ]] || fail "REPOSITORY_BIND_ADDRESS is not an IPv4 address: ${REPOSITORY_BIND_ADDRESS@Q}"

root="$HOME/repositories"
repository="$root/$REPOSITORY_NAME"
mkdir -p "$root"
if [ ! -e "$repository/format" ]; then
  rm -rf "$repository" "$repository.new"
  svnadmin create "$repository.new"
  printf '[general]\nanon-access = read\nauth-access = none\n' >"$repository.new/conf/svnserve.conf"
  mv "$repository.new" "$repository"
fi

url="file://$repository"
svn=(svn --non-interactive --no-auth-cache --config-dir "$HOME/etc/subversion")
changed=false
if [ -n "${REPOSITORY_SOURCE:-}" ]; then
  [ -d "$REPOSITORY_SOURCE" ] || fail "no folder REPOSITORY_SOURCE: $REPOSITORY_SOURCE"
  for folder in "$REPOSITORY_SOURCE"/*/; do
    release=$(basename "$folder")
    if "${svn[@]}" info "$url/releases/$release" >"$PWD/info" 2>&1; then
      continue
    fi
    # A copy without what a run may have left in the source.
    cp -R "$folder" "$PWD/$release"
    find "$PWD/$release" -name __pycache__ -prune -exec rm -rf {} +
    "${svn[@]}" import --quiet --no-ignore -m "Release $release" "$PWD/$release" "$url/releases/$release"
    echo "release $release"
    changed=true
  done
fi
echo "changed=$changed"

"$HOME/bin/svc" install svnserve --order 10 --grace 5 \
  --listens "$REPOSITORY_BIND_ADDRESS:$REPOSITORY_PORT" <<RUN
#!/bin/sh
exec svnserve --daemon --foreground --threads --listen-host '$REPOSITORY_BIND_ADDRESS' --listen-port '$REPOSITORY_PORT' \\
  --root '$root' --config-file "\$HOME/etc/svnserve.conf"
RUN
printf '[general]\nanon-access = read\nauth-access = none\n' >"$HOME/etc/svnserve.conf"
