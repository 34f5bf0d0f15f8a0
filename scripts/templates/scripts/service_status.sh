#!/usr/bin/env bash
# ---
# RightScript Name: service status
# Description: Lists the services and jobs of this server with their states. Changes nothing.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" status
