#!/usr/bin/env bash
# ---
# RightScript Name: dns configure
# Description: Writes the configuration of Knot DNS as authority of one zone that takes signed updates, and makes the zone
#   with nothing but its own name server where there is none. Starts nothing.
# Inputs:
#   DNS_BIND_ADDRESS:
#     Category: DNS
#     Default: env:PRIVATE_IP
#   DNS_BIND_PORT:
#     Category: DNS
#     Default: text:5300
#   DNS_ZONE:
#     Category: DNS
#     Required: true
#   DNS_TSIG_NAME:
#     Category: DNS
#     Required: true
#   DNS_TSIG_KEY:
#     Category: DNS
#     Description: Base64, for hmac-sha256.
#     Required: true
#   DNS_DEFAULT_TTL:
#     Category: DNS
#     Description: Seconds that answers may be kept; also for names that are not there.
#     Default: text:60
# ...
set -euo pipefail
umask 077

fail() {
  echo "dns configure: $*" >&2
  exit 1
}
zone=${DNS_ZONE%.}
host='([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?'
[[ $zone =~ ^$host$ ]] || fail "DNS_ZONE is not a zone: ${DNS_ZONE@Q}"
[[ ${DNS_TSIG_NAME%.} =~ ^$host$ ]] || fail "DNS_TSIG_NAME is not a key name: ${DNS_TSIG_NAME@Q}"
[[ $DNS_TSIG_KEY =~ ^[A-Za-z0-9+/]+=*$ ]] || fail "DNS_TSIG_KEY (not shown) is not base64"
[[ $DNS_BIND_PORT =~ ^[0-9]{1,5}$ ]] || fail "DNS_BIND_PORT is not a port: ${DNS_BIND_PORT@Q}"
[[ $DNS_BIND_ADDRESS =~ ^[0-9.]+$ ]] || fail "DNS_BIND_ADDRESS is not an IPv4 address: ${DNS_BIND_ADDRESS@Q}"
[[ $DNS_DEFAULT_TTL =~ ^[0-9]+$ ]] || fail "DNS_DEFAULT_TTL is not a number of seconds: ${DNS_DEFAULT_TTL@Q}"
case $HOME in *[!A-Za-z0-9/_.-]*) fail "Knot cannot be given this home: ${HOME@Q}" ;; esac

mkdir -p "$HOME/zone" "$HOME/run" "$HOME/zone/db"
cat >"$HOME/etc/knot.conf.new" <<CONF
# Written at each boot.
server:
    rundir: "$HOME/run"
    listen: [ $DNS_BIND_ADDRESS@$DNS_BIND_PORT ]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
control:
    listen: "$HOME/run/knot.sock"
database:
    storage: "$HOME/zone/db"
    journal-db-max-size: 64M
    kasp-db-max-size: 8M
    timer-db-max-size: 8M
    catalog-db-max-size: 8M
key:
  - id: "${DNS_TSIG_NAME%.}."
    algorithm: hmac-sha256
    secret: "$DNS_TSIG_KEY"
acl:
  - id: signed
    key: "${DNS_TSIG_NAME%.}."
    action: [ update, transfer ]
zone:
  - domain: "$zone."
    file: "$HOME/zone/zone.db"
    acl: signed
    # An update is in the journal before it is answered; a start reads the file and then the journal.
    zonefile-sync: 0
    zonefile-load: whole
    journal-content: changes
CONF
said=$(knotc -c "$HOME/etc/knot.conf.new" conf-check 2>&1) || fail "Knot refuses its configuration: $said"
mv "$HOME/etc/knot.conf.new" "$HOME/etc/knot.conf"

# From now on the zone belongs to the updates.
if [ ! -e "$HOME/zone/zone.db" ]; then
  cat >"$HOME/zone/zone.db.new" <<ZONE
\$TTL $DNS_DEFAULT_TTL
@ IN SOA ns.$zone. hostmaster.$zone. 1 3600 600 86400 $DNS_DEFAULT_TTL
@ IN NS ns.$zone.
ns.$zone. IN A $DNS_BIND_ADDRESS
ZONE
  mv "$HOME/zone/zone.db.new" "$HOME/zone/zone.db"
  echo "changed=true"
else
  echo "changed=false"
fi

"$HOME/bin/svc" install dns --order 10 --grace 10 --ready \
  "exec dig +short +time=1 +tries=1 @'$DNS_BIND_ADDRESS' -p '$DNS_BIND_PORT' '$zone' SOA" <<'RUN'
#!/bin/sh
exec knotd -c "$HOME/etc/knot.conf"
RUN
