#!/usr/bin/env bash
# ---
# RightScript Name: shut down
# Description: Stops all services of this server, the ones that depend on others first, and then its init.
# Inputs: {}
# ...
set -euo pipefail

# A server that was stranded before its first boot script has nothing to stop.
if [ ! -x "$HOME/bin/svc" ]; then
  echo "no services here"
  exit 0
fi
"$HOME/bin/svc" shutdown
