# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Checkpoints as a user sees them. Sourced by functions.sh. A test sets $checkpoint_args: what stands behind
# `varve checkpoint VERB` for its domain.

# checkpoint VERB [ARGUMENT]...
checkpoint ()
{
  local verb=$1
  shift
  varve checkpoint "$verb" "${checkpoint_args[@]}" "$@"
}

# checkpoint_names [REGEX]: of state and name, as `varve checkpoint list` shows them, with $store at hand.
checkpoint_names ()
{
  local from=()
  if [ -e "$store/varve-store.xml" ]; then
    from=(--from "images:$store")
  fi
  checkpoint list "${from[@]}" | sed 1d | sed -nE "/${1:-.}/s/ .*//p"
}

# checkpoint_of BACKUP: its name.
checkpoint_of ()
{
  checkpoint_names "\\.$1\\."
}

# changed_since CHECKPOINT DISK: bytes, as --size tells them.
changed_since ()
{
  checkpoint list --size --json | python3 -c '
import json, sys
for line in map(json.loads, sys.stdin):
    if line.get("checkpoint") == sys.argv[1]:
        print(*(d.get("changed") for d in line["disks"] if d["disk"] == sys.argv[2]))' "$1" "$2"
}

# What the check and its repairs must leave as it is.
foreign_checkpoints ()
{
  checkpoint list | tr -s ' ' | grep ' foreign ' | sort || true
}

# expect_healthy: nothing is wrong, and there is not so much as a note.
expect_healthy ()
{
  expect_status 0 checkpoint check --from "images:$store" "$@"
  assert_equal "$(cat "$tmp/said.log")" 'The checkpoints are in good health.' "what the check says"
}

# expect_note KIND REGEX: worth knowing, and no damage.
expect_note ()
{
  expect_status 0 checkpoint check --from "images:$store"
  assert_contains "$tmp/said.log" "^note: $1"
  assert_contains "$tmp/said.log" "$2"
}

# expect_damage KIND REGEX [OPTION...]: the check finds it, and says so.
expect_damage ()
{
  expect_status 1 checkpoint check --from "images:$store" "${@:3}"
  assert_contains "$tmp/said.log" "^damage: $1"
  assert_contains "$tmp/said.log" "$2"
}

# expect_mended KIND REGEX [OPTION...]: the check finds it, `--repair` mends all that it finds, and what others have on
# the domain is as it was. Kinds that were mended are counted in $tmp/mended.
expect_mended ()
{
  local foreign
  foreign=$(foreign_checkpoints)
  expect_damage "$@"
  assert_contains "$tmp/said.log" '^  --repair: '
  expect_status 0 checkpoint check --from "images:$store" --repair "${@:3}"
  assert_contains "$tmp/said.log" "^damage: $1"
  assert_contains "$tmp/said.log" '^  mended: '
  assert_equal "$(foreign_checkpoints)" "$foreign" "checkpoints of others"
  echo "$1" >> "$tmp/mended"
}

# expect_refused KIND REGEX [OPTION...]: the check finds it, and `--repair` leaves it alone, for the reason.
expect_refused ()
{
  local before
  before=$(checkpoint list)
  expect_damage "$1" . "${@:3}"
  expect_status 4 checkpoint check --from "images:$store" --repair "${@:3}"
  assert_contains "$tmp/said.log" "^damage: $1"
  assert_contains "$tmp/said.log" "^  no repair: .*$2"
  assert_equal "$(checkpoint list)" "$before" "checkpoints, after a repair that was refused"
}

# assert_mended NUMBER: so many different kinds of damage were mended.
assert_mended ()
{
  local kinds
  kinds=$(sort -u "$tmp/mended")
  echo "mended:" $kinds
  assert_equal "$(wc -l <<< "$kinds")" "$1" "kinds of damage mended"
}
