#!/usr/bin/env bash
# guide.sh: prints docs/GUIDE.md from the heads of the steps, so that the two cannot differ.
set -euo pipefail
cd "${BASH_SOURCE%/*}/steps"
inlined() { # what steps have in common, as its commands
  local line
  while IFS= read -r line; do
    case ${line%% *} in
    page_on | page_up | members_are_new) sed -n "/^${line%% *}() {/,/^}\$/p" ../lib.sh | sed -e '1d;$d' -e 's/^  //' ;;
    *) printf '%s\n' "$line" ;;
    esac
  done
}
cat <<'X'
# The guide: 38 steps

Numbers are those of RightScale's "Upgrading a Production Deployment". `scripts/upgrade.sh --plan` shows the order in which
they run and every command with the settings of the run; each file also runs alone. This page is made from the heads of the
files by `make golden`.

Not every number runs in its place: 9 before 8 (the address is known only then), 27 before 18 (an enabled array launches old
code in the dark), 24 and 25 in one act, 20, 25 and parts of 19 and 29 beside the migration, 32 begun before 31, the workers
of 29 after 31.

X
for file in [0-9]*.sh; do
  number=${file%%-*}
  printf '## %s. %s\n\n' "$((10#$number))" "$(sed -n '2s/^# Step [0-9]*: //p' "$file")"
  # shellcheck disable=SC2016 # backticks of Markdown
  printf '`scripts/steps/%s`\n\n' "$file"
  printf '```bash\n'
  sed -n '/^step_[0-9a-z_]*() {$/,/^}$/p; /^migrations() {/,/^}$/p' "$file" |
    sed -e '/() {/d' -e '/^}$/d' -e '/^  migrations$/d' -e 's/^  //' -e 's/ "\$@"$//' | inlined
  printf '```\n\n'
  for word in needs leaves proves undo; do
    text=$(sed -n "s/^#   $word *//p" "$file")
    printf -- '- **%s** %s\n' "$word" "$text"
  done
  printf '\n'
done
