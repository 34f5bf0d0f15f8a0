#!/usr/bin/env bash
# ---
# RightScript Name: dns stop
# Description: Stops the DNS server.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" stop dns
