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

disturb ()
{
  guest_write vda 3M 1M "$1"
  guest_write vda 200M 64k "$1"
  guest_write vdb 0 300k "$1"
  guest_discard vdb 50M 1M
}

guest_write vda 0 20M 1
guest_write vdb 50M 2M 3
proved_backup disturb 11
assert_decision vda full 'first backup'
first=$last_backup
guest_write vda 5M 100k 4
proved_backup disturb 12
assert_decision vda incremental "changed since backup $first"
assert_decision vdb incremental "changed since backup $first"
guest_discard vda 10M 4M
proved_backup disturb 13
guest_write vdb 0 100M 6
proved_backup disturb 14
assert_decision vda incremental
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
proved_backup disturb 15
assert_decision vda incremental
assert_all_exact
assert_nothing_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"
