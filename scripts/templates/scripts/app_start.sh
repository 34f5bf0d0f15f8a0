#!/usr/bin/env bash
# ---
# RightScript Name: app start
# Description: Starts the application, also one that was stopped to stay. Workers and jobs are left as they are.
# Inputs: {}
# ...
set -euo pipefail

exec "$HOME/bin/svc" start app
