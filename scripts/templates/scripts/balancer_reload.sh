#!/usr/bin/env bash
# ---
# RightScript Name: balancer reload
# Description: Checks the configuration and lets HAProxy read it, without losing a connection. What was set at run time
#   only is lost. Ends when a new worker answers.
# Inputs:
#   LB_CONFIG_FILE:
#     Category: Load balancer
#     Default: text:etc/haproxy.cfg
#   LB_RUNTIME_SOCKET:
#     Category: Load balancer
#     Default: text:unix:run/haproxy.sock
# ...
set -euo pipefail

cd "$HOME"
haproxy -c -q -f "$LB_CONFIG_FILE" || {
  echo "balancer reload: HAProxy refuses $LB_CONFIG_FILE; the running configuration stays" >&2
  exit 1
}
read -r master _ <"$HOME/svc/haproxy/pid" || {
  echo "balancer reload: HAProxy does not run; run 'balancer start'" >&2
  exit 1
}
python3 -I -S - "$LB_RUNTIME_SOCKET" "$master" <<'PY'
import os, signal, socket, sys, time

where, master = sys.argv[1], int(sys.argv[2])


def worker():
    """The process that answers the runtime socket, None while nobody does."""
    try:
        if where.startswith("unix:"):
            talk = socket.socket(socket.AF_UNIX)
            talk.settimeout(2)
            talk.connect(where[5:])
        else:
            host, _, port = where[4:].rpartition(":")
            talk = socket.create_connection((host, int(port)), 2)
        with talk:
            talk.sendall(b"show info\n")
            said = b""
            while part := talk.recv(65536):
                said += part
    except OSError:
        return None
    return next((line[5:] for line in said.decode().splitlines() if line.startswith("Pid: ")), None)


before, end = worker(), time.monotonic() + 15
while True:
    # A signal that comes while HAProxy starts is lost, hence again until the worker is another one.
    os.kill(master, signal.SIGUSR2)
    again = time.monotonic() + 2
    while time.monotonic() < again:
        now = worker()
        if now and now != before:
            print(f"worker {before} was followed by {now}")
            sys.exit(0)
        time.sleep(0.01)
    if time.monotonic() > end:
        sys.exit(f"balancer reload: worker {before} still answers: see log/haproxy.log")
PY
