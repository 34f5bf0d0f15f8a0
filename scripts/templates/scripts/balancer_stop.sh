#!/usr/bin/env bash
# ---
# RightScript Name: balancer stop
# Description: Stops HAProxy at once; its clients are cut off.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" stop haproxy
