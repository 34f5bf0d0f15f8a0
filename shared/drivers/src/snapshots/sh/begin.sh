# shellcheck shell=sh
# Begins a snapshot: a work folder that nobody else has, locked until we end, removed when we fail.
#   $1 folder of the lineage   $2 work folder's name   $3 pattern of finished folders of the same label, or empty
#   $4 metadata so far         work: the work folder's path, set here
# Exit 75: somebody takes the same just now. Exit 76: the label is there already.
set -eu
umask 077
lineage=$1
work=$lineage/$2
mkdir -p "$lineage"
[ -d "$work" ] || mkdir "$work" 2>/dev/null || [ -d "$work" ] || mkdir "$work"
command exec 9>>"$work/lock" || exit 75
# whoever lists shares the lock for a moment; whoever takes does not
until flock --nonblock 9; do
  flock --shared --nonblock 9 || exit 75
done
# in its place meanwhile, or complete and just about to come there
[ "$work/lock" -ef /proc/self/fd/9 ] || exit 75
[ -z "$(find "$work/ended" -newermt '-10 seconds' 2>/dev/null)" ] || exit 75
# left behind by somebody who is gone
find "$work" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
if [ -n "$3" ]; then
  for there in "$lineage"/????????T??????Z-"$3"; do
    [ ! -d "$there" ] || {
      rm -rf "$work"
      exit 76
    }
  done
fi
options=$work/options.cnf
failed() {
  status=$?
  rm -f "$options"
  # our lock ends here; finish.sh takes it again
  if [ "$status" -eq 0 ]; then : >"$work/ended"; else rm -rf "$work"; fi
  exit "$status"
}
trap failed EXIT
trap 'exit 143' INT TERM HUP
printf '%s' "$4" >"$work/metadata.json"
