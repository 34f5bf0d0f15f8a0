#!/usr/bin/env bash
# alerts.sh FOLDER VERB: the demo's alert system, as ALERTS_HOOK calls it. Silences are files in FOLDER; an alert fires
# when a server's application answers its health check with anything but 200.
set -euo pipefail

folder=$1 verb=$2
facts=$(cat)
server=$(jq -er .server <<<"$facts")
file=$folder/$(printf '%s' "$server" | sha256sum | cut -c1-32)

case $verb in
quench)
  mkdir -p "$folder"
  jq -r '.until' <<<"$facts" >"$file.new"
  mv "$file.new" "$file"
  ;;
unquench) rm -f "$file" ;;
quenched)
  [[ -s $file && $(<"$file") > $(date -u +%Y-%m-%dT%H:%M:%S) ]] || exit 3
  ;;
firing)
  address=$(jq -r '.address // empty' <<<"$facts")
  [[ -n $address ]] || exit 0
  status=$(curl -so /dev/null --max-time 3 -w '%{http_code}' "http://$address:${ALERTS_PORT:-8000}/health") || exit 0
  [[ $status == 200 ]] || echo "the application of $server answers its health check with $status"
  ;;
*)
  echo "alerts.sh: no verb $verb" >&2
  exit 2
  ;;
esac
