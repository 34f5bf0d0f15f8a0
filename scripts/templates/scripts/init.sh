#!/usr/bin/env bash
# ---
# RightScript Name: init
# Description: Starts the init of this server, which keeps its services up and runs its jobs, and installs `svc`,
#   the command to it. Belongs first in the boot scripts of every template.
# Inputs: {}
# Attachments:
#   - svc.py
# ...
set -euo pipefail

umask 022
mkdir -p "$HOME"/{bin,etc,log,run,svc}

# A new file and a rename: an init that runs from the old one is not disturbed.
install -m 0644 "$RS_ATTACH_DIR/svc.py" "$HOME/bin/svc.py.new"
mv "$HOME/bin/svc.py.new" "$HOME/bin/svc.py"
cat >"$HOME/bin/svc.new" <<'SVC'
#!/bin/sh
exec python3 -I -S "$HOME/bin/svc.py" "$@"
SVC
chmod 0755 "$HOME/bin/svc.new"
mv "$HOME/bin/svc.new" "$HOME/bin/svc"

"$HOME/bin/svc" up
"$HOME/bin/svc" status
