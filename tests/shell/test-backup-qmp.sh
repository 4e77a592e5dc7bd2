#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A running QEMU, two disks: full and three incrementals, each exact at one instant although the guest goes on writing
# before the first byte is copied. Afterwards QEMU is as it was.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 100M
start_qemu vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
backup_args=(-c "qmp+unix://$qmp" vm)
before=$(qemu_names)

# Over what was there, and where nothing was.
disturb ()
{
  guest_write vda 3M 1M "$1"
  guest_write vda 200M 64k "$1"
  guest_write vdb 0 300k "$1"
  guest_discard vdb 50M 1M
  guest_zero vda 8M 256k
}

guest_write vda 0 20M 1
guest_write vda 255M 1M 2
guest_write vdb 50M 2M 3
proved_backup disturb 11
assert_decision vda full 'first backup'
first=$last_backup

guest_write vda 5M 100k 4
guest_write vda 100M 1k 5
proved_backup disturb 12
assert_decision vda incremental "changed since backup $first"
assert_decision vdb incremental "changed since backup $first"

guest_discard vda 10M 4M
proved_backup disturb 13
guest_write vdb 0 100M 6
proved_backup disturb 14
assert_decision vda incremental
assert_decision vdb incremental

assert_all_exact
assert_nothing_left
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$(echo "$before" | grep -v ^bitmaps)" "what is in QEMU"
assert_equal "$(qemu_names | grep -o "varve\.[^']*" | sort -u | wc -l)" 2 "checkpoints kept"

# A clean end of QEMU keeps the bitmaps: the next start goes on, and so does the machine while it is off.
stop_qemu
monitor=off
backup_args+=(--image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
proved_backup
assert_decision vda incremental
start_qemu vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
guest_write vda 77M 1M 7
proved_backup disturb 15
assert_decision vda incremental
assert_all_exact
assert_nothing_left
