#!/usr/bin/env bash
# ---
# RightScript Name: balancer configure
# Description: Writes the configuration of HAProxy with empty pools, the maintenance page and its switch. Member lines
#   that stand between the markers of a pool are kept, and so is a page that is up. Starts and reloads nothing.
# Inputs:
#   LB_NAME:
#     Category: Load balancer
#     Description: How answers name this balancer (header X-Balancer).
#     Default: env:SERVER_NAME
#   LB_APPLISTENER_NAME:
#     Category: Load balancer
#     Description: The pool.
#     Required: true
#   LB_POOLS:
#     Category: Load balancer
#     Description: Where there are several, or a backend is called otherwise, POOL=BACKEND,POOL=BACKEND.
#     Default: blank
#   LB_ROUTES:
#     Category: Load balancer
#     Description: Which requests go to other pools than the first, POOL=host:NAME or POOL=path:/PREFIX with commas.
#     Default: blank
#   LB_BIND_ADDRESS:
#     Category: Load balancer
#     Default: env:PRIVATE_IP
#   LB_BIND_PORT:
#     Category: Load balancer
#     Default: text:8080
#   LB_RUNTIME_SOCKET:
#     Category: Load balancer
#     Description: unix:PATH or tcp:HOST:PORT.
#     Default: text:unix:run/haproxy.sock
#   LB_MASTER_SOCKET:
#     Category: Load balancer
#     Description: unix:PATH or tcp:HOST:PORT.
#     Default: text:unix:run/master.sock
#   LB_CONFIG_FILE:
#     Category: Load balancer
#     Default: text:etc/haproxy.cfg
#   LB_PAGE_MAP:
#     Category: Maintenance page
#     Default: text:etc/maintenance.map
#   LB_PAGE_FILE:
#     Category: Maintenance page
#     Description: The page. One that is there is kept.
#     Default: text:etc/maintenance.html
#   LB_PAGE_RETRY_AFTER:
#     Category: Maintenance page
#     Description: Seconds after which clients are asked to come back.
#     Default: text:60
#   LB_BYPASS_HEADER:
#     Category: Maintenance page
#     Description: Requests that carry the secret in this header pass the page.
#     Default: text:X-Maintenance-Bypass
#   LB_BYPASS_SECRET:
#     Category: Maintenance page
#     Description: Letters, digits and + / = . _ - only.
#     Required: true
#   HEALTH_CHECK_URI:
#     Category: Load balancer
#     Default: text:/health
#   LB_STATUS_URI:
#     Category: Load balancer
#     Description: HAProxy's own status page, for clients of LB_STATUS_ALLOW only; stays when the page is up.
#     Default: text:/haproxy-status
#   LB_STATUS_ALLOW:
#     Category: Load balancer
#     Default: text:127.0.0.0/8
#   LB_MONITOR_URI:
#     Category: Load balancer
#     Description: Answers 200 while the balancer itself is well, page or not.
#     Default: text:/haproxy-health
# Attachments:
#   - maintenance.html
# ...
set -euo pipefail
umask 077

fail() {
  echo "balancer configure: $*" >&2
  exit 1
}
below_home() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$HOME" "$1" ;; esac }
# Whatever goes into HAProxy's configuration has a form of its own; nothing else gets in.
must() { # must NAME PATTERN WHAT
  [[ ${!1} =~ ^($2)$ ]] || fail "$1 is not $3: ${!1@Q}"
}
name='[A-Za-z0-9][A-Za-z0-9_.-]*'
must LB_APPLISTENER_NAME "$name" "a pool name (letters, digits, _ . -)"
must LB_BIND_ADDRESS '[0-9.]+|[0-9A-Fa-f:]+' "an address"
must LB_BIND_PORT '[0-9]{1,5}' "a port"
must LB_RUNTIME_SOCKET 'unix:[A-Za-z0-9/_.-]+|tcp:[0-9.]+:[0-9]{1,5}' "unix:PATH or tcp:HOST:PORT"
must LB_MASTER_SOCKET 'unix:[A-Za-z0-9/_.-]+|tcp:[0-9.]+:[0-9]{1,5}' "unix:PATH or tcp:HOST:PORT"
must LB_PAGE_RETRY_AFTER '[0-9]+' "a number of seconds"
must LB_BYPASS_HEADER "[A-Za-z0-9-]+" "a header name"
must HEALTH_CHECK_URI '/[A-Za-z0-9/_.?=&%-]*' "a path"
must LB_STATUS_URI '/[A-Za-z0-9/_.-]+' "a path"
must LB_MONITOR_URI '/[A-Za-z0-9/_.-]+' "a path"
must LB_STATUS_ALLOW '[0-9A-Fa-f.:/]+(,[0-9A-Fa-f.:/]+)*' "addresses with commas"
[[ $LB_BYPASS_SECRET =~ ^[A-Za-z0-9+/=._-]{8,}$ ]] ||
  fail "LB_BYPASS_SECRET (not shown) must be 8 or more of letters, digits and + / = . _ -"
case $HOME in *[!A-Za-z0-9/_.-]*) fail "HAProxy cannot be given this home: ${HOME@Q}" ;; esac

config=$(below_home "$LB_CONFIG_FILE")
map=$(below_home "$LB_PAGE_MAP")
page=$(below_home "$LB_PAGE_FILE")
bypass="$HOME/etc/bypass.list"
mkdir -p "${config%/*}" "${map%/*}" "${page%/*}" "$HOME/run"

if [ ! -e "$page" ]; then
  cp "$RS_ATTACH_DIR/maintenance.html" "$page.new"
  mv "$page.new" "$page"
fi
[ "$(stat -c %s "$page")" -le 15000 ] || fail "$page has more than 15000 bytes: HAProxy cannot hold it"
if [ ! -e "$map" ]; then
  echo "maintenance off" >"$map.new"
  mv "$map.new" "$map"
fi
printf '%s\n' "$LB_BYPASS_SECRET" >"$bypass.new"
mv "$bypass.new" "$bypass"

# Sockets: HAProxy runs in the home, and short relative paths stay below the system's limit wherever that is.
socket() { case $1 in unix:*) printf 'unix@%s' "${1#unix:}" ;; tcp:*) printf '%s' "${1#tcp:}" ;; esac }
runtime=$(socket "$LB_RUNTIME_SOCKET")
case $LB_RUNTIME_SOCKET in unix:*) runtime="$runtime mode 600" ;; esac
# A header value: what is no plain character becomes a dash.
shown=${LB_NAME//[!A-Za-z0-9_.-]/-}

pools=() backends=()
if [ -n "${LB_POOLS:-}" ]; then
  IFS=, read -r -a pairs <<<"$LB_POOLS"
  for pair in "${pairs[@]}"; do
    [[ $pair =~ ^($name)=($name)$ ]] || fail "LB_POOLS is not POOL=BACKEND,...: ${LB_POOLS@Q}"
    pools+=("${BASH_REMATCH[1]}") backends+=("${BASH_REMATCH[2]}")
  done
else
  pools=("$LB_APPLISTENER_NAME") backends=("$LB_APPLISTENER_NAME")
fi
backend_of() {
  local i
  for i in "${!pools[@]}"; do
    if [ "${pools[i]}" = "$1" ]; then
      printf '%s' "${backends[i]}"
      return
    fi
  done
  fail "no pool $1 in LB_POOLS (${LB_POOLS:-$LB_APPLISTENER_NAME})"
}
default_backend=$(backend_of "$LB_APPLISTENER_NAME")
routes=
if [ -n "${LB_ROUTES:-}" ]; then
  IFS=, read -r -a pairs <<<"$LB_ROUTES"
  for pair in "${pairs[@]}"; do
    [[ $pair =~ ^($name)=(host|path):([A-Za-z0-9/_.-]+)$ ]] ||
      fail "LB_ROUTES is not POOL=host:NAME or POOL=path:/PREFIX: ${LB_ROUTES@Q}"
    what='path_beg'
    [ "${BASH_REMATCH[2]}" = path ] || what='req.hdr(host),field(1,:) -m str -i'
    value=${BASH_REMATCH[3]}
    target=$(backend_of "${BASH_REMATCH[1]}")
    routes+="  use_backend $target if { $what $value }"$'\n'
  done
fi

# The lines between the markers belong to whoever connects members.
members() { # members POOL
  if [ -e "$config" ]; then
    awk -v begin="# rs-members begin $1" -v end="# rs-members end $1" '
      { line = $0; gsub(/^[ \t]+|[ \t]+$/, "", line) }
      line == end { inside = 0 } inside { print } line == begin { inside = 1 }' "$config"
  fi
}

{
  cat <<CFG
# Written at boot. Only the lines between the markers of a pool are kept.
global
  master-worker
  nbthread 1
  maxconn 4000
  stats socket $runtime level admin expose-fd listeners
  stats timeout 1h
  hard-stop-after 60s
  log stdout format raw local0 notice

defaults
  mode http
  log global
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout queue 5s
  timeout http-request 10s
  timeout http-keep-alive 15s
  option redispatch
  retries 3
  option forwardfor
  default-server inter 1s fall 2 rise 1

frontend site
  bind $LB_BIND_ADDRESS:$LB_BIND_PORT
  maxconn 2000
  monitor-uri $LB_MONITOR_URI
  acl page_up str(maintenance),map($map,off) -m str on
  acl bypass req.hdr($LB_BYPASS_HEADER) -m str -f $bypass
  acl status path_beg $LB_STATUS_URI
  http-request deny deny_status 403 if status !{ src ${LB_STATUS_ALLOW//,/ } }
  http-request return status 503 content-type "text/html; charset=utf-8" file $page hdr Retry-After $LB_PAGE_RETRY_AFTER hdr Cache-Control no-store if page_up !bypass !status
  http-request del-header $LB_BYPASS_HEADER
  stats enable
  stats uri $LB_STATUS_URI
  stats refresh 5s
  http-response set-header X-Member %b/%s
  # After-response: answers of HAProxy itself, the page among them, are named too.
  http-after-response set-header X-Balancer $shown
${routes}  default_backend $default_backend
CFG
  for i in "${!pools[@]}"; do
    cat <<CFG

backend ${backends[i]}
  balance roundrobin
  option httpchk GET $HEALTH_CHECK_URI
  http-check expect status 200
  # rs-members begin ${pools[i]}
CFG
    members "${pools[i]}"
    echo "  # rs-members end ${pools[i]}"
  done
} >"$config.new"

cd "$HOME"
if ! said=$(haproxy -c -f "$config.new" 2>&1); then
  printf '%s\n' "$said" >&2
  fail "HAProxy refuses the new configuration; the old one stays"
fi
if cmp -s "$config.new" "$config"; then
  rm "$config.new"
  echo "changed=false"
else
  mv "$config.new" "$config"
  echo "changed=true"
fi

"$HOME/bin/svc" install haproxy --order 10 --grace 5 \
  --listens "$LB_BIND_ADDRESS:$LB_BIND_PORT" <<RUN
#!/bin/sh
exec haproxy -W -S '$(socket "$LB_MASTER_SOCKET")' -f '$config'
RUN
