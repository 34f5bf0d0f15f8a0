#!/usr/bin/env bash
# ---
# RightScript Name: repository stop
# Description: Stops the repository server.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" stop svnserve
