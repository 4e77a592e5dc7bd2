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
  checkpoint list | tr -s ' ' | awk '/ foreign /' | sort
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

# expect_left KIND REGEX [OPTION...]: the check finds it, and `--repair` leaves it alone, for the reason.
expect_left ()
{
  expect_damage "$1" . "${@:3}"
  expect_status 4 checkpoint check --from "images:$store" --repair "${@:3}"
  assert_contains "$tmp/said.log" "^damage: $1"
  assert_contains "$tmp/said.log" "^  no repair: .*$2"
  echo "$1" >> "$tmp/refused"
}

# expect_refused KIND REGEX [OPTION...]: likewise, and nothing else is found that would be mended.
expect_refused ()
{
  local before
  before=$(checkpoint list)
  expect_left "$@"
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

# ---- damage by hand that is the same with every driver; each leaves the domain in good health ----------
#
# Of the test they want $backup_args, $checkpoint_args and functions-kill.sh, and a function
#   hand_bitmap add|remove|disable DISK NAME    which does it behind varve's back, and another
#   names_there                                 which says what there is in the hypervisor

# Kinds that were refused are counted as those that were mended: assert_refused NUMBER.
assert_refused ()
{
  local kinds
  kinds=$(sort -u "$tmp/refused")
  echo "refused:" $kinds
  assert_equal "$(wc -l <<< "$kinds")" "$1" "kinds of damage refused"
}

# has_open PID FILE
has_open ()
{
  find "/proc/$1/fd" -lname "$2" | grep -q .
}

# damage_sessions: of runs that were killed something is left, or a record, or files; or a record that cannot be read.
damage_sessions ()
{
  local scratch=$VARVE_STATE_DIR/scratch/0123456789abcdee-vda.qcow2 holder before
  before=$(names_there)
  kill_at session-started varve backup "${backup_args[@]}" --to "images:$store"
  expect_mended session-dead 'a checkpoint whose backup is not complete'
  assert_equal "$(names_there)" "$before" "what is there"
  assert_nothing_left_on_host
  expect_healthy
  kill_at session-torn-down varve backup "${backup_args[@]}" --to "images:$store"
  rm -rf "$VARVE_STATE_DIR"/sockets/*
  expect_mended session-empty 'nothing of it is left'
  assert_nothing_left_on_host

  mkdir -p "$VARVE_STATE_DIR/sockets/0123456789abcdef" "$VARVE_STATE_DIR/scratch"
  touch "$VARVE_STATE_DIR/scratch/0123456789abcdef-vda.qcow2"
  expect_mended session-files '0123456789abcdef'
  assert_nothing_left_on_host
  make_disk "$scratch" 1M
  qemu-io -f qcow2 "$scratch" -c 'sleep 600000' > "$tmp/io.log" &
  holder=$!
  cleanup_fn end_process "$holder" KILL
  # To try its lock could keep the holder from it.
  wait_for 120 'the scratch image to be open' has_open "$holder" "$scratch"
  expect_refused session-files 'QEMU has .* open'
  end_process "$holder" KILL
  expect_mended session-files '0123456789abcdee'

  echo '[session]' > "$VARVE_STATE_DIR/sessions/0123456789abcdef.session"
  expect_refused session-unreadable 'not acted upon'
  rm "$VARVE_STATE_DIR/sessions/0123456789abcdef.session"
  expect_healthy
}

# damage_store: a file of the newest backup is too short. The bitmap is not at fault.
damage_store ()
{
  local file
  file=$(echo "$store"/*/"$(newest_backup)/vda.qcow2")
  cp -p "$file" "$tmp/layer"
  truncate -s -65536 "$file"
  expect_refused backup-damaged "'varve verify' says more"
  cp -p "$tmp/layer" "$file"
  expect_healthy
}

# damage_disabled: a newest checkpoint that was disabled; the one before it, of backup OLDER, still serves.
damage_disabled ()
{
  local older=$1 name
  name=$(checkpoint_of "$(newest_backup)")
  hand_bitmap disable vda "$name"
  expect_damage bitmap-disabled 'can still be used on disk .vdb.'
  hand_bitmap disable vdb "$name"
  expect_mended bitmap-disabled "incremental on disk 'vda', since $older"
  expect_note bitmap-missing "incremental on disk 'vdb', since $older"
}

# damage_missing: all bitmaps of one disk are gone, which only a backup makes good.
damage_missing ()
{
  local name names newest
  newest=$(newest_backup)
  names=$(checkpoint_names committed)
  for name in $names; do
    hand_bitmap remove vdb "$name"
  done
  expect_left bitmap-missing 'known to nobody'
  assert_contains "$tmp/said.log" "reads all of disk 'vdb' and stores what differs from $newest"
  assert_equal "$(checkpoint_names committed)" "$names" "checkpoints"
}

# damage_foreign_disk: the bitmap of a backup on a disk that the backup does not have.
damage_foreign_disk ()
{
  local name
  varve backup "${backup_args[@]}" --disk vda --to "images:$store"
  name=$(checkpoint_of "$(newest_backup)")
  hand_bitmap add vdb "$name"
  expect_refused disk-not-in-backup "can still be used on disk 'vda'"
  hand_bitmap remove vda "$name"
  expect_mended disk-not-in-backup 'the backup does not have this disk'
  varve delete --from "images:$store" "$(newest_backup)"
  expect_healthy
}

# damage_no_backup: a backup that was deleted leaves a checkpoint that nothing can use.
damage_no_backup ()
{
  varve backup "${backup_args[@]}" --to "images:$store"
  varve delete --from "images:$store" "$(newest_backup)"
  expect_mended no-backup 'does not have backup'
  expect_healthy
}

# damage_shrunk: disks that were made anew, smaller, with bitmaps of the old name. For machines that are off, with
# $tmp/a.qcow2 and $tmp/b.qcow2; both come back as they were, and so do their bitmaps.
damage_shrunk ()
{
  local names
  names=$(checkpoint_names committed)
  make_smaller b $names
  expect_refused disk-shrunk "can still be used on disk 'vda'"
  make_smaller a $names
  expect_mended disk-shrunk "full one of disk 'vdb'"
  assert_equal "$(checkpoint_names 'varve\.')" '' "checkpoints of disks that have shrunk"
  mv "$tmp/a.kept" "$tmp/a.qcow2"
  mv "$tmp/b.kept" "$tmp/b.qcow2"
}

# make_smaller a|b BITMAP...
make_smaller ()
{
  local name file=$tmp/$1.qcow2
  mv "$file" "$tmp/$1.kept"
  make_disk "$file" 8M
  for name in "${@:2}"; do
    qemu-img bitmap --add -f qcow2 "$file" "$name"
  done
}
