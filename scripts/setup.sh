#!/usr/bin/env bash
# setup.sh WORD: check what is there and get what is missing. Twice does nothing the second time.
#
#   build              C compiler, headers, cargo: what `cargo build` needs (apt; root or sudo)
#   servers            MariaDB, HAProxy, DNS, Subversion, Python ... in one folder of links, engines/bin
#   newer              the newer engines of the tests where they can be fetched; where they cannot, one line says so
#                      (RS_ENGINES=required: it fails, RS_ENGINES=none: they are not fetched)
#   all                build, servers and newer
#   check              rustfmt, clippy, shellcheck, shfmt: what `make check` needs (apt; root or sudo)
#   engines NAME...    newer servers beside them: mysql, mariadb11, haproxy3 (engines/NAME/bin)
#   place              print the demo's folder, and nothing else
#   memory             print a folder in memory that can be the demo's instead, where there is room for it; else the same
#   with COMMAND...    run a command with RS_DEMO_DIR set and the right cargo first in PATH
#
# Servers that the machine has are used as they are. The others are fetched from the machine's own
# Debian or Ubuntu suite and unpacked into RS_DEMO_DIR/engines (default .demo): that needs no root,
# starts no service and changes nothing on the machine. ENGINES_MIRROR overrides the mirror of
# `engines`. Exit: 0 done, 1 failed or something is to be done by hand (it says what), 2 usage,
# 7 the packages cannot be fetched.
set -euo pipefail
umask 022 # what root unpacks must be readable for the user that the servers run as

project=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd -P)
layout=2 # of the engines' folder; another number unpacks afresh
machine_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
server_user=nobody # servers started by root run as this user

say() { printf 'setup: %s\n' "$*" >&2; }
die() { # die CODE LINE...
  local code=$1 line
  shift
  for line; do say "$line"; done
  exit "$code"
}

# --- the demo's folder ----------------------------------------------------------------------------

# Why DIR cannot be the demo's folder; empty when it can.
unfit() {
  local dir=$1
  # No blanks: interpreter lines and several servers' options cannot hold them. Short: a unix
  # socket's path has room for 107 bytes, and a server's folder and the socket's name come after it.
  [[ $dir =~ ^[A-Za-z0-9/._+@~-]+$ ]] || { echo "its path has characters that servers cannot take" && return; }
  ((${#dir} <= 48)) || { echo "its path is too long for the servers' unix sockets (48 characters)" && return; }
  ((EUID == 0)) || return 0
  while [[ ! -e $dir ]]; do dir=${dir%/*} dir=${dir:-/}; done
  as_server test -x "$dir" || echo "the servers' user $server_user cannot enter $dir"
}

as_server() { setpriv --reuid="$server_user" --regid=65534 --clear-groups -- "$@" 2>/dev/null; }

# Settles RS_DEMO_DIR, for every script: as given; else .demo; else, where servers cannot live in
# the checkout (root's home is closed to others, a path too long), a folder of our own in /var/tmp.
settle() {
  local why sum
  place_note=''
  if [[ -n ${RS_DEMO_DIR:-} ]]; then
    RS_DEMO_DIR=$(realpath -m -- "$RS_DEMO_DIR")
    why=$(unfit "$RS_DEMO_DIR")
    [[ -z $why ]] || die 2 "RS_DEMO_DIR=$RS_DEMO_DIR will not do: $why" "try RS_DEMO_DIR=/var/tmp/demo"
  else
    RS_DEMO_DIR=$project/.demo
    why=$(unfit "$RS_DEMO_DIR")
    if [[ -n $why ]]; then
      sum=$(cksum <<<"$project")
      RS_DEMO_DIR=/var/tmp/rs-demo-$EUID-${sum%% *}
      place_note="using $RS_DEMO_DIR, because $project/.demo will not do: $why"
      why=$(unfit "$RS_DEMO_DIR")
      [[ -z $why ]] || die 1 "$RS_DEMO_DIR will not do either: $why" "set RS_DEMO_DIR to a folder that will"
      # /var/tmp is everybody's: a folder that somebody else put there must not be used.
      mkdir -m 755 "$RS_DEMO_DIR" 2>/dev/null || [[ -d $RS_DEMO_DIR && ! -L $RS_DEMO_DIR && -O $RS_DEMO_DIR ]] ||
        die 1 "$RS_DEMO_DIR is not ours" "set RS_DEMO_DIR to another folder"
    fi
  fi
  export RS_DEMO_DIR
  engines=$RS_DEMO_DIR/engines
}

# A folder in memory, for sites that are saved and brought back again and again; else the demo's folder.
in_memory() { # in_memory GIVEN
  local dir=/dev/shm/rs-demo-$EUID room free
  room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
  free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  if [[ -z $1 && $(findmnt -no OPTIONS /dev/shm 2>/dev/null || echo noexec) != *noexec* ]] &&
    ((${room:-0} > 8000000 && ${free:-0} > 8000000)) &&
    { mkdir -m 755 "$dir" 2>/dev/null || [[ -d $dir && ! -L $dir && -O $dir ]]; }; then
    echo "$dir"
  else
    echo "$RS_DEMO_DIR"
  fi
}

# One set-up at a time: two started at once must not write the same folder.
alone() {
  mkdir -p "$RS_DEMO_DIR" "$engines" || die 1 "cannot make $engines"
  exec 9>"$engines/.lock"
  flock -n 9 || { say "waiting for another set-up to end" && flock 9; }
}

# --- packages of the machine ----------------------------------------------------------------------

# newer HAVE WANT: is version HAVE at least WANT?
newer() { [[ $1 == "$2" || $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# candidate PACKAGE: the version that apt would install, without epoch; empty if there is none.
candidate() {
  local version
  version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
  [[ $version == "(none)" ]] || echo "${version#*:}"
}

as_root() { if ((EUID == 0)); then "$@"; else sudo -n -- "$@"; fi; }

# install PACKAGE...: as root or by sudo; else say the one command. Never removes a package.
install_packages() {
  local command="apt-get install -y --no-install-recommends --no-remove $*"
  if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
    die 1 "packages are missing, and this user may not install any. Run once as root:" \
      "  apt-get update && $command"
  fi
  say "installing $*"
  local apt_get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
  as_root "${apt_get[@]}" update </dev/null >&2 || say "apt-get update failed; trying with the lists that are there"
  local log=$engines/.apt.log
  as_root "${apt_get[@]}" install -y --no-install-recommends --no-remove "$@" </dev/null >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    die 7 "apt could not install $*" "see above; is the network there? By hand: apt-get update && $command"
  }
}

# --- build: compiler and cargo --------------------------------------------------------------------

# The cargo to use, into $cargo: the first that is new enough. Cargo.toml says what that is.
find_cargo() {
  local file line version
  while read -r line; do
    [[ $line =~ ^rust-version\ *=\ *\"([0-9.]+)\" ]] && minimum=${BASH_REMATCH[1]} && break
  done <"$project/Cargo.toml"
  cargo='' old_cargo=''
  for file in "$(type -P cargo || true)" ~/.cargo/bin/cargo /usr/bin/cargo /usr/lib/rust-*/bin/cargo \
    "$RS_DEMO_DIR"/rustup/toolchains/*/bin/cargo; do
    [[ -x $file ]] || continue
    version=$("$file" --version 2>/dev/null) || continue
    version=${version#cargo } version=${version%% *}
    if newer "$version" "$minimum"; then
      cargo=$file
      return
    fi
    old_cargo="$old_cargo $file $version;"
  done
  return 1
}

build_packages() {
  packages=()
  type -P cc >/dev/null || packages+=(gcc)
  [[ -e /usr/include/stdlib.h ]] || packages+=(libc6-dev)
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
}

# Debian's name for a cargo that is new enough, into $packages; or rustup.
cargo_packages() {
  local name
  for name in cargo-web cargo $(apt-cache pkgnames cargo-1. 2>/dev/null | sort -rV); do
    newer "$(candidate "$name")" "$minimum" || continue
    packages+=("$name" "${name/cargo/rustc}")
    return
  done
  type -P rustup >/dev/null && return
  [[ -n $(candidate rustup) ]] || return 1
  packages+=(rustup)
}

setup_build() {
  local packages
  build_packages
  if find_cargo; then
    ((${#packages[@]})) || return 0
  fi
  alone
  if [[ -z $cargo ]] && ! cargo_packages; then
    # apt's lists are not there, or older than the package
    if ((EUID == 0)) || sudo -n true 2>/dev/null; then as_root apt-get -qq update </dev/null >&2 || true; fi
    if [[ -z $(candidate libc6-dev) ]]; then
      packages+=(cargo-web) # without lists nothing is known: name the package that Debian 12 has
    else
      cargo_packages ||
        die 1 "no cargo of $minimum or newer:${old_cargo:- none found;} and none in apt's lists" \
          "apt-get update as root if they are old; else install a newer one (https://rustup.rs) and try again"
    fi
  fi
  ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
  find_cargo && return
  if type -P rustup >/dev/null; then
    say "fetching a Rust toolchain into $RS_DEMO_DIR/rustup"
    RUSTUP_HOME=$RS_DEMO_DIR/rustup rustup toolchain install stable --profile minimal -c rustfmt -c clippy >&2 ||
      die 7 "rustup could not fetch a toolchain"
    find_cargo && return
  fi
  die 1 "no cargo of $minimum or newer:$old_cargo install one (https://rustup.rs) and try again"
}

setup_check() {
  local packages=() suffix
  setup_build
  type -P shellcheck >/dev/null || packages+=(shellcheck)
  type -P shfmt >/dev/null || packages+=(shfmt)
  if ! with cargo fmt --version >/dev/null 2>&1 || ! with cargo clippy --version >/dev/null 2>&1; then
    if [[ $cargo == /usr/bin/cargo && -e /var/lib/dpkg/info/cargo-web.list ]]; then
      packages+=(rustfmt-web rust-web-clippy)
    elif [[ $cargo == /usr/bin/cargo ]]; then
      packages+=(rustfmt rust-clippy)
    elif [[ $cargo =~ ^/usr/lib/rust-([0-9.]+)/ ]]; then
      suffix=-${BASH_REMATCH[1]}
      packages+=("rustfmt$suffix" "rust$suffix-clippy")
    else
      die 1 "$cargo has no fmt and clippy" "try: rustup component add rustfmt clippy"
    fi
  fi
  ((${#packages[@]} == 0)) && return
  alone
  install_packages "${packages[@]}"
}

with() { PATH="${cargo%/*}:$PATH" "$@"; }

# --- servers --------------------------------------------------------------------------------------

# One line per group: name | oldest version that will do | programs | Debian's packages.
# The first program is asked for its version. A group is taken whole from the machine or whole from
# its own suite: a backup program must fit its server.
groups='
mariadb    | 10.11 | mariadbd mariadb mariadb-install-db mariadb-admin mariadb-check mariadb-dump mariadb-binlog mariadb-backup mbstream my_print_defaults | mariadb-server-core mariadb-server mariadb-client-core mariadb-client mariadb-backup
haproxy    | 2.6   | haproxy | haproxy
named      | 9.16  | named named-checkconf named-checkzone tsig-keygen rndc | bind9 bind9-utils
dig        | -     | dig nsupdate | bind9-dnsutils
knot       | 3.1   | knotd knotc | knot
subversion | 1.14  | svn svnadmin svnserve svnlook | subversion
python     | 3.9   | python3 | python3 python3-pymysql python3-dnspython
curl       | -     | curl | curl
jq         | -     | jq | jq
socat      | -     | socat | socat
procps     | -     | ps pgrep pkill kill | procps
git        | -     | git | git
'
python_modules='import dns.query, dns.resolver, dns.tsigkeyring, dns.update, http.server, json, pymysql, socketserver, ssl, urllib.request'

# on_machine PROGRAM: its path, without the links and tools of somebody's home.
on_machine() { PATH=$machine_path type -P "$1"; }

# A server that the machine's AppArmor confines cannot read the demo's folder; a copy of it can.
confined() {
  [[ -e /etc/apparmor.d/usr.sbin.$1 && $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]
}

# from_machine MINIMUM PROGRAM...: does the machine have the whole group, new enough and usable?
from_machine() {
  local minimum=$1 first program version
  shift
  first=$1
  for program; do
    on_machine "$program" >/dev/null && ! confined "$program" || return 1
  done
  [[ $minimum != - ]] || return 0
  case $first in
  haproxy | named) version=$("$(on_machine "$first")" -v 2>&1) ;;
  *) version=$("$(on_machine "$first")" --version 2>&1) ;;
  esac || return 1
  [[ $version =~ ([0-9]+\.[0-9]+(\.[0-9]+)?) ]] && newer "${BASH_REMATCH[1]}" "$minimum" || return 1
  [[ $first != python3 ]] || "$(on_machine python3)" -I -c "$python_modules" 2>/dev/null
}

# The stamp names layout, folder and system, then every file that must still be there.
stamp_head() {
  local VERSION_ID='' ID=''
  # shellcheck source=/dev/null
  . /etc/os-release
  echo "$layout $engines $ID $VERSION_ID $(cksum <<<"$groups")"
}

servers_done() {
  local lines line
  [[ -e $engines/.done ]] || return 1
  mapfile -t lines <"$engines/.done"
  [[ ${lines[0]} == "$(stamp_head)" ]] || return 1
  for line in "${lines[@]:1}"; do [[ -e $line ]] || return 1; done
}

setup_servers() {
  servers_done && return
  alone
  servers_done && return
  local name minimum programs packages program file missing=() wanted=() links=() witnesses=()
  while IFS='|' read -r name minimum programs packages; do
    [[ -n $name ]] || continue
    read -ra programs <<<"$programs"
    read -ra packages <<<"$packages"
    if from_machine "${minimum// /}" "${programs[@]}"; then
      for program in "${programs[@]}"; do
        file=$(on_machine "$program")
        links+=("$file")
        witnesses+=("$file")
      done
      [[ ${programs[0]} != python3 ]] ||
        witnesses+=("$("$file" -I -c 'import pymysql; print(pymysql.__file__)')" "$("$file" -I -c 'import dns; print(dns.__file__)')")
    else
      missing+=("${packages[@]}")
      wanted+=("${programs[@]}")
    fi
  done <<<"$groups"

  rm -rf "$engines/.done" "$engines/host"
  if ((${#missing[@]})); then
    say "unpacking into $engines: ${wanted[*]}"
    unpack host host "${missing[@]}"
  fi
  rm -rf "$engines/bin.new"
  mkdir "$engines/bin.new"
  for file in "${links[@]}"; do ln -s "$file" "$engines/bin.new/"; done
  for program in "${wanted[@]}"; do provide host "$program" "$engines/bin.new"; done
  rm -rf "${engines:?}/bin"
  mv "$engines/bin.new" "$engines/bin"
  # Once by the folder's owner, so that the compiled modules are kept, whatever PYTHONDONTWRITEBYTECODE says here.
  "$engines/bin/python3" -I -c "$python_modules" || die 1 "$engines/bin/python3 lacks a module"
  for program in "${wanted[@]}"; do witnesses+=("$engines/bin/$program"); done
  { stamp_head && printf '%s\n' "${witnesses[@]}"; } >"$engines/.done.new"
  mv "$engines/.done.new" "$engines/.done"
}

# provide NAME PROGRAM BIN: a link in BIN to an unpacked program; a wrapper where the program must
# be told where its files are. A wrapper execs, so the process is called as the program is.
provide() {
  local root=$engines/$1 program=$2 bin=$3 file option='' environment=''
  for file in "$root"/usr/{sbin,bin}/"$program"; do [[ -x $file ]] && break; done
  [[ -x $file ]] || die 1 "$program is not in the packages that were fetched"
  case $program in
  # the server's plugins come with mariadb-server: one tells who holds a lock
  mariadbd) option="--basedir=$root/usr --plugin-dir=$root/usr/lib/mysql/plugin" ;;
  mariadb-install-db) option="--basedir=$root/usr" ;;
  mysqld) option="--basedir=$root/usr --plugin-dir=$root/usr/lib/mysql/plugin --lc-messages-dir=$root/usr/share/mysql" ;;
  # its plugins (MySQL's way to log in is one) are looked for where the package would have put them
  mariadb | mariadb-admin | mariadb-dump | mariadb-binlog | mariadb-check)
    file=$(realpath "$file")
    environment="MARIADB_PLUGIN_DIR=$(find "$root/usr/lib" -type d -path '*/libmariadb3/plugin' -print -quit) "
    ;;
  git) environment="GIT_EXEC_PATH=$root/usr/lib/git-core GIT_TEMPLATE_DIR=$root/usr/share/git-core/templates " ;;
  *)
    ln -s "$(realpath "$file")" "$bin/$program"
    return
    ;;
  esac
  printf '#!/bin/sh\n%sexec %s "$@" %s\n' "$environment" "$file" "$option" >"$bin/$program"
  chmod 755 "$bin/$program"
}

# fetch DIR SUITE PACKAGE...: the packages and all they need, as DIR/cache/archives/*.deb, by apt
# with lists and status of its own: the machine's are neither read as truth nor touched.
fetch() {
  local apt=$1 suite=$2 mirror
  shift 2
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,state,empty}
  : >"$apt/status"
  local options=(-o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists"
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
    # What other programs of the machine make apt fetch besides the packages' lists.
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false -o Acquire::Retries=3
    -o Dir::Etc::preferencesparts="$apt/empty" -o Dir::Etc::preferences="$apt/preferences"
    # Hooks of the machine (clean-up after an update) are for the machine's own lists.
    -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= -o DPkg::Post-Invoke=)
  # The distribution's own packages, even where the machine has sources of others.
  printf 'Package: *\nPin: release o=%s\nPin-Priority: 990\n\n' Debian Ubuntu >"$apt/preferences"
  if [[ $suite == host ]]; then
    # Lists that the machine has need not be fetched again if they are still true.
    cp /var/lib/apt/lists/*_{InRelease,Packages} "$apt/lists/" 2>/dev/null || true
  else
    # shellcheck disable=SC2016 # apt's own variable
    mirror=${ENGINES_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)}
    [[ -n $mirror && -e /usr/share/keyrings/debian-archive-keyring.gpg ]] ||
      die 1 "no Debian mirror is known here; set ENGINES_MIRROR, and install debian-archive-keyring"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" \
      /usr/share/keyrings/debian-archive-keyring.gpg >"$apt/list.sources"
    options+=(-o Dir::Etc::sourcelist="$apt/list.sources" -o Dir::Etc::sourceparts="$apt/empty")
  fi
  # One source of several may be out of reach; what matters is whether the packages can be had.
  apt-get -qq "${options[@]}" update </dev/null >"$apt/log" 2>&1 || true
  apt-get -qq "${options[@]}" -y --no-install-recommends --download-only install "$@" </dev/null >>"$apt/log" 2>&1 || {
    tail -n 20 "$apt/log" >&2
    die 7 "cannot fetch $*" "is the network there, and are apt's sources right? See: apt-get update"
  }
}

# unpack NAME SUITE PACKAGE...: into engines/NAME, as ordinary programs that find their own loader
# and libraries there. They must not be moved afterwards: the loader's path is absolute.
unpack() {
  local name=$1 root=$engines/$1 suite=$2 deb file loader libs
  shift 2
  rm -rf "$engines"/.unpack.* # of a set-up that was killed; we hold the lock
  scratch=$(mktemp -d "$engines/.unpack.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  chmod 755 "$scratch"
  fetch "$scratch/apt" "$suite" "$@" patchelf
  rm -rf "$root"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for file in bin sbin lib lib64; do ln -s "usr/$file" "$root/$file"; done
  for deb in "$scratch"/apt/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner --no-same-permissions \
      --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
      --exclude='./usr/share/perl*' --exclude='./usr/lib/*/perl*' --exclude='./usr/lib/*/gconv' \
      --exclude='./usr/share/bash-completion' --exclude='./var' --exclude='./etc' --exclude='./dev'
  done
  find "$root" -perm /7000 -exec chmod ug-s,-t {} + # nothing here runs as somebody else
  for loader in "$root"/usr/lib/*/ld-linux*.so.* "$root"/usr/lib64/ld-linux*.so.* "$root"/usr/lib/ld-linux*.so.*; do
    [[ -e $loader ]] && break
  done
  libs=$(dirname "$(echo "$root"/usr/lib/*/libc.so.6)")
  cp "$root/usr/bin/patchelf" "$scratch/patchelf"
  for file in "$root"/usr/{sbin,bin}/*; do
    [[ -f $file && ! -L $file ]] || continue
    [[ $(head -c 4 "$file" | tail -c 3) == ELF ]] || continue
    "$loader" --library-path "$libs" "$scratch/patchelf" \
      --set-interpreter "$loader" --force-rpath --set-rpath "$libs" "$file" 2>/dev/null || true # static ones
  done
  rm -rf "$scratch"
  trap - EXIT
}

# The newer engines of the tests. Where they cannot be had, the tests that need them are counted as ignored.
newer_engines() {
  case ${RS_ENGINES:-} in
  none) return 0 ;;
  required) setup_engines mysql haproxy3 ;;
  '')
    exec 9>&- # our lock, if we have it: this runs in a process of its own, and what fails there ends only that
    mkdir -p "$engines" || die 1 "cannot make $engines"
    "${BASH_SOURCE[0]}" engines mysql haproxy3 2>"$engines/.newer.log" && return 0
    local why
    why=$(sed -n 's/^setup: //p' "$engines/.newer.log" | grep -v '^unpacking' | head -n 1) || true
    say "MySQL 9 and HAProxy 3 cannot be fetched, their tests will be ignored: $why"
    ;;
  *) die 2 "RS_ENGINES is ${RS_ENGINES}" "required, none, or not set" ;;
  esac
}

setup_engines() {
  local name suite program packages programs
  (($#)) || die 2 "engines: which? mysql, mariadb11, haproxy3"
  for name; do
    case $name in
    mysql)
      suite=sid packages="mysql-server-core mysql-client-core"
      programs="mysqld mysql mysqladmin mysqldump mysqlbinlog"
      ;;
    mariadb11)
      suite=trixie packages="mariadb-server-core mariadb-client-core mariadb-client mariadb-backup"
      programs="mariadbd mariadb mariadb-install-db mariadb-admin mariadb-dump mariadb-binlog mariadb-backup mbstream"
      ;;
    haproxy3) suite=sid packages=haproxy programs=haproxy ;;
    *) die 2 "engines: no engine $name; there are mysql, mariadb11, haproxy3" ;;
    esac
    [[ -e $engines/$name/.done ]] && continue
    alone
    [[ -e $engines/$name/.done ]] && continue
    say "unpacking into $engines/$name: $programs"
    # shellcheck disable=SC2086 # lists of words
    unpack "$name" "$suite" $packages
    mkdir "$engines/$name/bin.new"
    for program in $programs; do provide "$name" "$program" "$engines/$name/bin.new"; done
    rm -f "$engines/$name/bin"
    mv -T "$engines/$name/bin.new" "$engines/$name/bin"
    touch "$engines/$name/.done"
  done
}

# --- words ----------------------------------------------------------------------------------------

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

word=${1:-}
[[ $# -eq 0 ]] || shift
case $word in
build | servers | newer | all | check | engines | place | memory | with) given=${RS_DEMO_DIR:-} && settle ;;
-h | --help) usage && exit ;;
'') usage >&2 && exit 2 ;;
*) die 2 "no word '$word'" "try: scripts/setup.sh --help" ;;
esac
case $word in
place) echo "$RS_DEMO_DIR" && exit ;;
memory) in_memory "$given" && exit ;;
with)
  find_cargo || die 1 "no cargo of $minimum or newer; try: scripts/setup.sh build"
  PATH="${cargo%/*}:$PATH" exec "$@"
  ;;
engines) setup_engines "$@" ;;
*)
  (($# == 0)) || die 2 "$word takes no more words: $*"
  [[ -z $place_note ]] || say "$place_note"
  [[ $word != build && $word != all ]] || setup_build
  [[ $word != servers && $word != all ]] || setup_servers
  [[ $word != newer && $word != all ]] || newer_engines
  [[ $word != check ]] || setup_check
  ;;
esac
