#!/usr/bin/env bash
# ---
# RightScript Name: heartbeat start
# Description: Starts the writer that touches one row a second while this server is a master that takes writes, so
#   that slaves can be seen to be alive. On a slave it waits.
# Inputs:
#   DB_SOCKET:
#     Category: Database
#     Default: text:run/mysqld.sock
#   DBHEARTBEAT_USER:
#     Category: Database
#     Default: text:heartbeat
#   DBHEARTBEAT_PASSWORD:
#     Category: Database
#     Required: true
# Attachments:
#   - heartbeat.py
# ...
set -euo pipefail
umask 077

install -m 0644 "$RS_ATTACH_DIR/heartbeat.py" "$HOME/bin/heartbeat.py.new"
mv "$HOME/bin/heartbeat.py.new" "$HOME/bin/heartbeat.py"
python3 - "$HOME/etc/heartbeat.json" <<'PY'
import json, os, sys
home, file = os.environ["HOME"], sys.argv[1]
settings = {"socket": os.path.join(home, os.environ["DB_SOCKET"]),
            "user": os.environ["DBHEARTBEAT_USER"], "password": os.environ["DBHEARTBEAT_PASSWORD"]}
with open(file + ".new", "w", encoding="utf-8") as opened:
    json.dump(settings, opened)
os.rename(file + ".new", file)
PY
"$HOME/bin/svc" install heartbeat --order 20 --grace 3 <<'RUN'
#!/bin/sh
exec python3 "$HOME/bin/heartbeat.py" "$HOME/etc/heartbeat.json"
RUN
"$HOME/bin/svc" start heartbeat
