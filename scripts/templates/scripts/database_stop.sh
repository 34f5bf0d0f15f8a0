#!/usr/bin/env bash
# ---
# RightScript Name: database stop
# Description: Stops the database and waits until its process is gone, so that its data can be copied or replaced.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" stop database
