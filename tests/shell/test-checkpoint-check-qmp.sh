#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Damage made by hand to the checkpoints of a running QEMU, one kind after the other: `varve checkpoint check` finds it
# and says what the next backup will do; --repair mends it while the machine runs, or says why not; the next backup
# does what was said. Another tool's bitmap stands beside it all.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 8M' > "$tmp/io.log"

start ()
{
  start_qemu "$@" "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" "$vm")
  checkpoint_args=("${backup_args[@]}")
}

# hand_bitmap add|remove|disable DISK NAME [MORE]: in QEMU.
hand_bitmap ()
{
  qmp "block-dirty-bitmap-$1" "{\"node\": \"fmt-$2\", \"name\": \"$3\"${4:+, $4}}" > /dev/null
}

names_there ()
{
  qemu_names
}

newest_checkpoint ()
{
  checkpoint_of "$(newest_backup)"
}

start
hand_bitmap add vda virtnbdbackup.0 '"persistent": true'
hand_bitmap add vda old-tool '"persistent": true, "disabled": true'
proved_backup
first=$last_backup
guest_write vda 1M 64k 2
proved_backup
expect_healthy
names=$(qemu_names)

# Without the store nothing can be said, and nothing is said against them.
expect_status 0 checkpoint check
assert_contains "$tmp/said.log" '^note: store-unknown'

damage_disabled "$first"
proved_backup guest_write vda 2M 64k 3
assert_decision vda incremental "changed since backup $first"
expect_healthy

second=$last_backup
guest_write vda 3M 64k 4
damage_no_backup
damage_missing
proved_backup guest_write vdb 1M 64k 5
assert_decision vda incremental "changed since backup $second"
assert_decision vdb rescan
expect_healthy

# Another owner's are left alone, until he is named.
varve backup "${backup_args[@]}" --to "images:$store" --owner weekly
weekly=$(newest_checkpoint)
hand_bitmap disable vda "$weekly"
hand_bitmap disable vdb "$weekly"
expect_refused bitmap-disabled "'--owner weekly-"
expect_mended bitmap-disabled . --owner weekly
expect_refused bitmap-missing . --owner weekly

# Made by hand: of the right name, and of the wrong kind. They are removed again, as they know nothing.
for kind in 'bitmap-transient "persistent": false' 'bitmap-coarse "persistent": true, "granularity": 1048576'; do
  hand_bitmap add vda "$weekly" "${kind#* }"
  hand_bitmap add vdb "$weekly" '"persistent": true'
  if [ "${kind%% *}" = bitmap-coarse ]; then
    expect_note bitmap-coarse '1024 KiB'
  else
    expect_refused bitmap-transient 'A backup before the machine stops'
  fi
  expect_status 4 checkpoint delete "$weekly"
  expect_status 0 checkpoint delete "$weekly" --owner weekly
done
varve delete --from "images:$store" "$(newest_backup)"
expect_healthy

damage_sessions
damage_foreign_disk

# The record of a session is lost, too: it is found by what is there. (The device goes back to its disk by the frozen bitmap.)
names=$(qemu_names)
kill_at session-started varve backup "${backup_args[@]}" --to "images:$store"
rm "$VARVE_STATE_DIR"/sessions/*.session
expect_mended session-unrecorded 'not on record here'
assert_contains "$tmp/said.log" '^damage: no-backup'
assert_equal "$(qemu_names)" "$names" "what is in QEMU"
assert_nothing_left_on_host
expect_healthy

damage_store

# QEMU killed: what the image had stored before is broken.
stop_qemu
start
kill_qemu
start
foreign=$(foreign_checkpoints)
expect_mended bitmap-broken "reads all of disk 'vda' and stores what differs"
assert_equal "$(foreign_checkpoints)" "$foreign" "checkpoints of others"
proved_backup guest_write vda 4M 64k 6
assert_decision vda rescan
expect_healthy

# A copy of the images, run by another name.
stop_qemu
cp "$tmp/a.qcow2" "$tmp/copy-a.qcow2"
cp "$tmp/b.qcow2" "$tmp/copy-b.qcow2"
start
original=("${checkpoint_args[@]}")
disk_files=(vda="$tmp/copy-a.qcow2" vdb="$tmp/copy-b.qcow2")
start --name clone
expect_mended image-copied "the image is a copy"
assert_equal "$(checkpoint_names 'varve\.')" '' "checkpoints of the copy"
expect_healthy
checkpoint_args=("${original[@]}")
expect_healthy
guest_write vda 5M 64k 7
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
assert_mended 9
assert_refused 7
assert_all_exact
assert_nothing_left
