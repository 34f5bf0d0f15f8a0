#!/usr/bin/env bash
# demo.sh WORD: the guide's production site on loopback addresses of this machine, with real servers.
#
#   up       make it, or what is missing of it, and take a first backup
#   run      up, then client load, the whole upgrade under it, and what the clients saw
#   status   servers, members, replication, page
#   env      print what a shell needs to work on it:  eval "$(scripts/demo/demo.sh env)"
#   down     end every process of it and remove its state
#
# It lives in RS_DEMO_DIR/SITE; scripts/setup.sh has made RS_DEMO_DIR/engines before, with the servers' programs.
#   RS_DEMO_SITE=site        another name: another site beside
#   RS_DEMO_ENGINES=host     newer: MySQL 9 and HAProxy 3 (scripts/setup.sh engines mysql haproxy3); a site keeps its own
#   RS_DEMO_OPTIONS          more options for site.sh (--zone, --pool, --lb-port, ...)
#   RS_DEMO_RATE=100         requests a second that `run` sends
#   RS_DEMO_ORDERS=200000    orders of the past, which the migration has to change
#   RS_DEMO_ADDRESSES        the range, such as 127.91.3.0/24; by default one that nobody has
set -euo pipefail
umask 022

project=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
demo="$project/scripts/demo"
say() { printf 'demo: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

[[ -n ${RS_DEMO_DIR:-} ]] || RS_DEMO_DIR=$("$project/scripts/setup.sh" place)
export RS_DEMO_DIR
place="$RS_DEMO_DIR/${RS_DEMO_SITE:-site}"
engines="$RS_DEMO_DIR/engines/bin"
machine_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
tools="${CARGO_TARGET_DIR:-$project/target}/release"
[[ -x $tools/rs-server ]] || tools="${CARGO_TARGET_DIR:-$project/target}/debug"
read -r -a more <<<"${RS_DEMO_OPTIONS:-}"

# What both site.sh and this script must know.
deployment=production upgrade=u-1 zone=mysite.test pool=www application=shop svn_port=3690 dns_port=5300
for ((i = 0; i + 1 < ${#more[@]}; i += 2)); do
  case ${more[i]} in
  --deployment) deployment=${more[i + 1]} ;;
  --zone) zone=${more[i + 1]} ;;
  --pool) pool=${more[i + 1]} ;;
  --application) application=${more[i + 1]} ;;
  --svn-port) svn_port=${more[i + 1]} ;;
  --dns-port) dns_port=${more[i + 1]} ;;
  esac
done

settings() {
  local folders
  folders=$(programs)
  export RS_CLOUD="sqlite:$place/state.db" RS_CREDENTIALS="$place/credentials" RS_DEPLOYMENT="$deployment"
  export PATH="$tools:$folders:$PATH"
  unset RS_STATE RS_UPGRADE
}

# The user that servers run as: root's servers do not run as root.
server_user() { if ((EUID == 0)); then echo nobody; fi; }

# kind: which engines this site has: as it was made, else as asked for.
kind() {
  local kind=${RS_DEMO_ENGINES:-host}
  if [[ -s $place/engines ]]; then
    kind=$(<"$place/engines")
  fi
  [[ $kind == host || $kind == newer ]] || die "RS_DEMO_ENGINES is $kind: host or newer"
  echo "$kind"
}

# programs: the folders of its servers' programs.
programs() {
  local kind name found=''
  kind=$(kind) || exit
  if [[ $kind == newer ]]; then
    for name in mysql haproxy3; do
      [[ -e $RS_DEMO_DIR/engines/$name/.done ]] ||
        die "no $name in $RS_DEMO_DIR/engines: scripts/setup.sh engines mysql haproxy3"
      found+="$RS_DEMO_DIR/engines/$name/bin:"
    done
  fi
  echo "$found$engines"
}

# --- what the site is made of ----------------------------------------------------------------------------------------

holds='' # the process that holds our claim
# claim: our range of addresses, in $place/addresses, ours alone until servers of ours listen there: see range.py. Whoever sets
# RS_DEMO_ADDRESSES answers for it.
claim() {
  local range='' claimed='' rc=0
  [[ ! -s $place/addresses ]] || range=$(<"$place/addresses")
  if [[ -z $range && -n ${RS_DEMO_ADDRESSES:-} ]]; then
    printf '%s\n' "$RS_DEMO_ADDRESSES" >"$place/addresses"
  fi
  [[ -z ${RS_DEMO_ADDRESSES:-} ]] || return 0
  [[ -z $range || -z $(of_site) ]] || return 0                              # servers of ours are there
  coproc holder { exec python3 -I -S "$demo/range.py" ${range:+"$range"}; } # it ends with us: its stdin is ours alone
  holds=$!
  if ! IFS= read -r claimed <&"${holder[0]:--}"; then
    wait "$holds" || rc=$?
    ((rc == 1)) || die "the addresses could not be claimed: range.py ended with $rc (try: scripts/setup.sh servers)"
    [[ -z $range ]] || die "somebody else has the addresses $range of this site by now (try: $demo/demo.sh down, then up)"
    die "somebody has every range of 127.91.0.0/16 (try: RS_DEMO_ADDRESSES=127.92.3.0/24)"
  fi
  [[ -n $range ]] || printf '%s\n' "$claimed" >"$place/addresses"
}
# claim_ends: servers of ours listen there.
claim_ends() {
  [[ -z $holds ]] || {
    eval "exec ${holder[1]}>&-"
    wait "$holds" || true
  }
}

# beside: the range of a rehearsal: 64 beside the site's own, so that two sites never share it.
beside() {
  local second third
  IFS=. read -r _ second third _ <"$place/addresses"
  echo "127.$(((second + 64) % 256)).$third.0/24"
}

credential() { # credential NAME COMMAND...: made once, readable by us only
  local file="$place/credentials/$1"
  shift
  [[ -s $file ]] || (
    umask 077
    "$@" >"$file.new"
    mv "$file.new" "$file"
  )
}
random_key() { head -c 32 /dev/urandom | base64; }
random_word() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

ground() {
  local name user
  user=$(server_user)
  mkdir -p "$place"
  (umask 077 && mkdir -p "$place/credentials")
  for name in DBADMIN_PASSWORD DBREPLICATION_PASSWORD DBMIGRATION_PASSWORD DBAPPLICATION_PASSWORD DBHEARTBEAT_PASSWORD \
    LB_BYPASS; do
    credential "$name" random_word
  done
  credential DNS_TSIG_KEY random_key
  claim

  # The servers' user may not be able to read this checkout.
  if [[ ! -e $place/releases ]]; then
    rm -rf "$place/releases.new"
    cp -R "$demo/app" "$place/releases.new"
    find "$place/releases.new" -name __pycache__ -prune -exec rm -rf {} +
    chmod -R a+rX "$place/releases.new"
    mv "$place/releases.new" "$place/releases"
  fi
  sed "s/200000/${RS_DEMO_ORDERS:-200000}/" "$demo/app/1.0/db/schema.sql" "$demo/orders.sql" >"$place/first.sql.new"
  mv "$place/first.sql.new" "$place/first.sql"
  [[ -s $place/engines ]] || kind >"$place/engines"
  mkdir -p "$place/servers" "$place/backups"
  if [[ -n $user ]]; then
    chown "$user" "$place/backups"
  fi
  chmod 700 "$place/backups"
}

# site [OPTION...]: writes the site file and brings the deployment there.
site() {
  local user folders engine=mariadb
  user=$(server_user)
  folders=$(programs)
  [[ $(kind) != newer ]] || engine=mysql
  "$demo/site.sh" --root "$place/servers" --addresses "$(<"$place/addresses")" --path "$folders:$machine_path" --engine "$engine" \
    --releases "$place/releases" --first-data "$place/first.sql" \
    --alerts-hook "$demo/alerts.sh $place/alerts" --backups "$place/backups" \
    ${user:+--user "$user"} "${more[@]}" "$@" \
    >"$place/site.yml.new"
  mv "$place/site.yml.new" "$place/site.yml"
  rs-server apply "$place/site.yml" >/dev/null
}

address() { rs-server list "$1" --json | jq -er .address; }

configuration() { # configuration SVN-ADDRESS
  cat >"$place/upgrade.conf" <<CONF
# The upgrade of the demo, written by scripts/demo/demo.sh.
DEPLOYMENT=$deployment
UPGRADE=$upgrade
POOL=$pool
TEST_POOL=test1
TEST_HOST=test1.$zone
TEST_LB_LIKE=Load Balancer-1
TEST_LB=Load Balancer-3
WARM=Slave DB => Slave2 DB
APP_LIKE=App Server-1
APP_NAME=App Server-%n
NEW_APPS=2
OLD_ARRAY=array-1
NEW_ARRAY=array-2
NEW_ARRAY_MIN=2
RELEASE=SVN_APP_REPOSITORY=text:svn://$1:$svn_port/$application/releases/2.0
RELEASE=APPLICATION=text:$application-2.0
KEEP=WORKERS_AT_BOOT
WORKERS_IN_ARRAYS=no
MIGRATION_SCRIPT=migrate
OLD_RELEASE=1.0
EXPECT_RELEASE=2.0
ALLOW_WRITER=heartbeat
BACKUP_MAX_AGE=2h
WINDOW=10m
UNREHEARSED=go
SNAPSHOT=held
STAGING=
REHEARSE_ROOT=$place/staging
REHEARSE_ADDRESSES=$(beside)
REHEARSE_SET=LB_APPLISTENER_NAME=text:staging
REHEARSE_SET=LB_HOSTNAME=text:staging.$zone
REHEARSE_SET=DB_LINEAGE_NAME=text:staging
REHEARSE_SET=DB_HOST_NAME=text:staging-db.$zone
REHEARSE_SET=DB_READ_HOST_NAME=text:staging-reads.$zone
REHEARSE_SET=DNS_SERVER=text:{DNS Server}:$dns_port
REHEARSE_SET=SVN_APP_REPOSITORY=text:svn://{Repository}:$svn_port/$application/releases/1.0
REHEARSE_SET=ALERTS_HOOK=text:$demo/alerts.sh $place/alerts-staging
REHEARSE_SET_ON=Master DB/DB_SCHEMA_FILE=blank
REHEARSE_RECORD=staging-db.$zone => Master DB
REHEARSE_RECORD=staging-reads.$zone => Slave DB
REHEARSE_RECORD=staging.$zone => Load Balancer-1
REHEARSE_RECORD=staging.$zone => Load Balancer-2
REHEARSE_SETTING=TEST_HOST=test1.staging.$zone
REHEARSE_SETTING=RELEASE=SVN_APP_REPOSITORY=text:svn://{Repository}:$svn_port/$application/releases/2.0
REHEARSE_SETTING=RELEASE=APPLICATION=text:$application-2.0
REHEARSE_RATE=20
CONF
}

# --- words -----------------------------------------------------------------------------------------------------------

up() {
  local dns svn begun=$SECONDS
  [[ -x $tools/rs-server ]] || die "no tools in $tools: make build"
  [[ -x $engines/mariadbd ]] || die "no servers in $engines: scripts/setup.sh servers"
  settings
  ground
  say "site $deployment in $place, addresses $(<"$place/addresses")"
  site
  say "DNS and repository"
  rs-server launch 'DNS Server' Repository >/dev/null
  dns=$(address 'DNS Server')
  svn=$(address Repository)
  site --dns "$dns" --svn "$svn"
  configuration "$svn"
  say "databases"
  rs-server launch 'Master DB' >/dev/null
  rs-lbctl point "master-db.$zone" --at 'Master DB' >/dev/null
  rs-snapshot take --role master --label first --once >/dev/null
  rs-server launch 'Slave DB' | rs-dbsync init >/dev/null
  rs-lbctl point "slave-db.$zone" --at 'Slave DB' >/dev/null
  say "balancers and applications"
  rs-server launch 'Load Balancer-1' 'Load Balancer-2' >/dev/null
  rs-lbctl point "$pool.$zone" --at 'Load Balancer-1' --at 'Load Balancer-2' >/dev/null
  rs-server launch 'App Server-1' 'App Server-2' | rs-lbctl connect --pool "$pool" >/dev/null
  rs-server launch array-1 --to 2 >/dev/null
  rs-server list --array array-1 | rs-lbctl connect --pool "$pool" >/dev/null
  say "backups"
  rs-snapshot schedule on --role db >/dev/null
  claim_ends
  clock_on
  say "up in $((SECONDS - begun)) s; eval \"\$($demo/demo.sh env)\""
}

# What needs a clock has an owner: here a process of ours, elsewhere cron.
clock_on() {
  local pid ticks
  if read -r pid ticks 2>/dev/null <"$place/clock.pid" && [[ $(ticks "$pid") == "$ticks" ]]; then
    return
  fi
  setsid "$0" clock </dev/null >>"$place/clock.log" 2>&1 &
  pid=$!
  echo "$pid $(ticks "$pid")" >"$place/clock.pid"
}
clock() {
  settings
  trap 'exit 0' TERM
  while :; do
    rs-server tend >/dev/null || say "tend: exit $?"
    rs-snapshot take --if-due --role db >/dev/null || say "take --if-due: exit $?"
    rs-journal watch --once >/dev/null || say "watch: exit $?"
    sleep 20 &
    wait $!
  done
}
# When a process began; nothing if it is gone. Keeps a reused number from being taken for it.
ticks() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

run() {
  local probe status=0
  up
  rm -f "$place/probe.stop"
  say "clients begin: ${RS_DEMO_RATE:-100} requests a second"
  rs-check probe --pool "$pool" --rate "${RS_DEMO_RATE:-100}" --until "$place/probe.stop" --log "$place/probe.log" \
    >"$place/probe.out" &
  probe=$!
  trap 'touch "$place/probe.stop"' EXIT
  "$project/scripts/upgrade.sh" --conf "$place/upgrade.conf" --yes || status=$?
  touch "$place/probe.stop"
  wait "$probe" || status=$?
  trap - EXIT
  if ((status)); then
    die "the upgrade or the clients' view of it failed ($status); the site stays up for a look: $demo/demo.sh status"
  fi
  rs-journal report
  cat "$place/probe.out"
  say "the site is on the new release and stays up; end it with: make demo-down"
}

status() {
  settings
  [[ -e $place/state.db ]] || die "there is no site in $place: make demo"
  local rc=0 # what does not answer hides none of the others
  rs-server list --all || rc=$?
  rs-lbctl status --pool "$pool" || rc=$?
  rs-dbsync status --role db || rc=$?
  rs-maintenance status --pool "$pool" || rc=$?
  return "$rc"
}

# of_site: processes whose home lies in this site, whoever started them. Servers keep their cookie in the environment.
of_site() {
  local file
  for file in /proc/[0-9]*/environ; do
    if tr '\0' '\n' 2>/dev/null <"$file" | awk -v home="HOME=$place/" \
      'index($0, home) == 1 { here = 1 } /^RS_MACHINE=/ { machine = 1 } END { exit !(here && machine) }'; then
      file=${file#/proc/}
      echo "${file%/environ}"
    fi
  done
}

down() {
  local pid ticks deadline left
  [[ -d $place ]] || {
    say "no site in $place"
    return
  }
  touch "$place/probe.stop"
  if read -r pid ticks 2>/dev/null <"$place/clock.pid" && [[ $(ticks "$pid") == "$ticks" ]]; then
    kill -- "-$pid" 2>/dev/null || true
  fi
  deadline=$((SECONDS + 30))
  mapfile -t left < <(of_site)
  while ((${#left[@]})); do
    if ((SECONDS < deadline)); then
      kill "${left[@]}" 2>/dev/null || true
    else
      kill -9 "${left[@]}" 2>/dev/null || true
    fi
    sleep 0.1
    mapfile -t left < <(of_site)
  done
  rm -rf "${place:?}"
  say "$place is gone"
}

environment() {
  settings
  # shellcheck disable=SC2034 # printed by their names
  local name RS_UPGRADE=$upgrade RS_UPGRADE_CONF=$place/upgrade.conf
  for name in RS_CLOUD RS_CREDENTIALS RS_DEPLOYMENT RS_UPGRADE RS_UPGRADE_CONF RS_DEMO_DIR PATH; do
    printf 'export %s=%q\n' "$name" "${!name}"
  done
}

case ${1:-} in
up) up ;;
run) run ;;
status) status ;;
env) environment ;;
down) down ;;
clock) clock ;;
*)
  sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
  ;;
esac
