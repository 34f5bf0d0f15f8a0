#!/usr/bin/env bash
# ---
# RightScript Name: database restart
# Description: Stops and starts the database.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" restart database --timeout 120
