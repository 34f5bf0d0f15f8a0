#!/usr/bin/env bash
# Stands before every tool on the operator's PATH. The first call that is the one to be struck stops itself, so that
# the test can look at it, and goes on as the tool when it is let; or fails in the tool's place.
place=${0%/*/*} tool=${0##*/}
[[ -z ${FAULT_STEP:-} || ! -e $place/script-$FAULT_STEP ]] || mv "$place/script-$FAULT_STEP" "$place/script"
if [[ -n ${FAULT_STEP:-} && -r $place/armed ]]; then
  { read -r step && read -r how && IFS= read -r call; } <"$place/armed"
  if [[ $step == "$FAULT_STEP" && "$tool $* " == "$call "* ]] && mkdir "$place/struck" 2>/dev/null; then
    printf '%s %s\n' "$tool" "$*" >"$place/struck/call"
    if [[ $how == fail ]]; then
      echo "$tool: the fault struck: this call fails" >&2
      exit 1
    fi
    echo "$$" >"$place/struck/pid.new"
    mv "$place/struck/pid.new" "$place/struck/pid"
    kill -STOP "$$"
  fi
fi
exec "$FAULT_TOOLS/$tool" "$@"
