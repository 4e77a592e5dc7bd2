#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Damage to the checkpoints in the images of a machine that is off, found and mended there.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
checkpoint_args=("${backup_args[@]}")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
qemu-img bitmap --add -f qcow2 "$tmp/a.qcow2" virtnbdbackup.0

change ()
{
  qemu-io -f qcow2 "$tmp/$1.qcow2" -c "write -P $2 ${2}M 64k" > "$tmp/io.log"
}

# hand_bitmap add|remove|disable DISK NAME: in the image.
hand_bitmap ()
{
  qemu-img bitmap "--$1" -f qcow2 "$tmp/${2#vd}.qcow2" "$3"
}

names_there ()
{
  qemu-img info -f qcow2 "$tmp/a.qcow2" | sed -n 's/ *name: //p'
  qemu-img info -f qcow2 "$tmp/b.qcow2" | sed -n 's/ *name: //p'
}

change a 1
proved_backup
first=$last_backup
change b 2
proved_backup
expect_healthy

damage_disabled "$first"
change a 3
proved_backup
assert_decision vda incremental "changed since backup $first"
expect_healthy
change a 4
damage_no_backup
damage_foreign_disk
damage_shrunk
expect_healthy
damage_sessions
damage_store
damage_missing
change b 5
proved_backup
assert_decision vda incremental
assert_decision vdb rescan
expect_healthy

# Images copied for another machine.
cp "$tmp/a.qcow2" "$tmp/copy.qcow2"
checkpoint_args=(-c image: web02 --image "vda=$tmp/copy.qcow2,format=qcow2")
expect_mended image-copied 'the image is a copy'
expect_healthy
checkpoint_args=("${backup_args[@]}")
expect_healthy

# QEMU killed while it had the images open; the other tool's bitmap is as lost, and is left to it.
start_qemu "${disk_files[@]}"
expect_status 8 checkpoint check
kill_qemu
monitor=off
expect_mended image-not-closed "reads all of disk 'vda'"
assert_contains <(qemu-img info -f qcow2 "$tmp/a.qcow2") 'virtnbdbackup.0'
proved_backup
assert_decision vda rescan
expect_healthy
assert_mended 9
assert_refused 6
assert_all_exact
assert_nothing_left
