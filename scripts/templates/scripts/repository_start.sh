#!/usr/bin/env bash
# ---
# RightScript Name: repository start
# Description: Starts the repository server and waits until it listens.
# Inputs: {}
# ...
set -euo pipefail

"$HOME/bin/svc" start svnserve
