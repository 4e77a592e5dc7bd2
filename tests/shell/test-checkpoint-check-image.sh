#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Damage to the checkpoints in the images of a machine that is off, found and mended there.
. "$(dirname "$0")/functions.sh"
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

change a 1
proved_backup
first=$last_backup
change b 2
proved_backup
expect_healthy

# Disabled.
name=$(checkpoint_of "$last_backup")
qemu-img bitmap --disable -f qcow2 "$tmp/a.qcow2" "$name"
qemu-img bitmap --disable -f qcow2 "$tmp/b.qcow2" "$name"
expect_mended bitmap-disabled "since $first"
change a 3
proved_backup
assert_decision vda incremental "changed since backup $first"
expect_healthy

# A deleted backup.
change a 4
varve backup "${backup_args[@]}" --to "images:$store"
varve delete --from "images:$store" "$(newest_backup)"
expect_mended no-backup 'does not have backup'
expect_healthy

# Disks that were made anew, smaller, with a bitmap of the old name.
make_smaller ()
{
  mv "$tmp/$1.qcow2" "$tmp/$1.kept"
  make_disk "$tmp/$1.qcow2" 8M
  qemu-img bitmap --add -f qcow2 "$tmp/$1.qcow2" "$2"
}

name=$(checkpoint_of "$last_backup")
make_smaller b "$name"
expect_refused disk-shrunk "can still be used on disk 'vda'"
make_smaller a "$name"
expect_mended disk-shrunk "full one of disk 'vdb'"
assert_equal "$(checkpoint_names 'varve\.')" '' "checkpoints of disks that have shrunk"
mv "$tmp/a.kept" "$tmp/a.qcow2"
mv "$tmp/b.kept" "$tmp/b.qcow2"
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
assert_mended 5
assert_all_exact
assert_nothing_left
