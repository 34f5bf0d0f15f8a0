#!/usr/bin/env bash
# ---
# RightScript Name: backup schedule
# Description: Gives the backup command to the server's own clock, or takes it away. The command itself decides
#   whether a backup is due. Without a command there is nothing to run.
# Inputs:
#   BACKUP_COMMAND:
#     Category: Backup
#     Description: Shell command that takes a backup when one is due and returns quickly when none is.
#     Default: blank
#   BACKUP_POLL_SECONDS:
#     Category: Backup
#     Description: Seconds between two runs of the command.
#     Default: text:60
# ...
set -euo pipefail
umask 077

if [ -z "${BACKUP_COMMAND:-}" ]; then
  "$HOME/bin/svc" uninstall backup
  echo "no BACKUP_COMMAND: nothing scheduled"
  exit 0
fi
[[ $BACKUP_POLL_SECONDS =~ ^[1-9][0-9]*$ ]] || {
  echo "backup schedule: BACKUP_POLL_SECONDS is not a number of seconds: $BACKUP_POLL_SECONDS" >&2
  exit 1
}
printf '%s\n' "$BACKUP_COMMAND" >"$HOME/etc/backup.command.new"
mv "$HOME/etc/backup.command.new" "$HOME/etc/backup.command"
"$HOME/bin/svc" install backup --every "$BACKUP_POLL_SECONDS" --order 30 --grace 30 <<'RUN'
#!/bin/sh
exec bash -e "$HOME/etc/backup.command"
RUN
"$HOME/bin/svc" start backup
