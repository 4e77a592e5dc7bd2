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

prove_increments
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
proved_backup disturb_disks 15
assert_decision vda incremental
assert_all_exact
assert_nothing_left
