#!/usr/bin/env bash
# ---
# RightScript Name: database start
# Description: Starts the database and waits until it answers.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" start database --timeout 120
