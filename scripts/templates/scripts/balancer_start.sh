#!/usr/bin/env bash
# ---
# RightScript Name: balancer start
# Description: Starts HAProxy and waits until it listens.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" start haproxy
