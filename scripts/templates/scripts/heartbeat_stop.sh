#!/usr/bin/env bash
# ---
# RightScript Name: heartbeat stop
# Description: Stops the heartbeat writer.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" stop heartbeat
