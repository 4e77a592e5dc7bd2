#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A running libvirt domain, two disks: full and three incrementals, each exact at one instant; then one while it is off,
# and one after it was started again.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 100M
define_domain main vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
start_domain
backup_args=("$domain")

prove_increments
assert_all_exact
assert_nothing_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"

stop_domain
monitor=off
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 9 60M 1M' > "$tmp/io.log"
proved_backup
assert_decision vda incremental
start_domain
guest_write vda 77M 1M 7
proved_backup disturb_disks 15
assert_decision vda incremental
assert_all_exact
assert_nothing_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"
