#!/usr/bin/env bash
# ---
# RightScript Name: dns start
# Description: Starts the DNS server and waits until it answers for its zone.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" start dns
