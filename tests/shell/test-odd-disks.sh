#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A domain whose disks come, go, grow and shrink between backups; and sizes that fit no cluster. Each disk is settled by
# itself, with its reason, and every backup is exact.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

start_with ()
{
  disk_files=("$@")
  start_qemu "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
}

make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 32M
# No multiple of a cluster, and the second one not even of a sector of 4 KiB.
make_disk "$tmp/c.qcow2" $((10 * 1048576 + 65536 + 512))
make_disk "$tmp/d.qcow2" $((3 * 1048576 + 4096))

start_with vda="$tmp/a.qcow2" vdc="$tmp/c.qcow2"
guest_write vda 0 8M 1
guest_write vdc 0 10M 2
guest_write vdc $((10 * 1048576 + 65536)) 512 3
proved_backup
assert_decision vda full 'first backup of this disk'
first=$last_backup

# Two disks more, by a restart as on a bare machine.
stop_qemu
start_with vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2" vdc="$tmp/c.qcow2" vdd="$tmp/d.qcow2"
guest_write vda 1M 64k 4
guest_write vdb 1M 1M 5
guest_write vdc $((10 * 1048576 + 65536)) 512 6
guest_write vdd 3M 4k 7
proved_backup guest_write vdc $((10 * 1048576 + 65536)) 512 8
assert_decision vda incremental "changed since backup $first"
assert_decision vdb full 'first backup of this disk'
assert_decision vdc incremental "changed since backup $first"
assert_decision vdd full 'first backup of this disk'
proved_backup guest_zero vdc 10M $((65536 + 512))
assert_decision vdb incremental
second=$last_backup

# One of them is gone, and comes back later.
stop_qemu
start_with vda="$tmp/a.qcow2" vdc="$tmp/c.qcow2" vdd="$tmp/d.qcow2"
guest_discard vdd 3M 4k
proved_backup
if varve show --from "images:$store" "$last_backup" | grep -q '^vdb: '; then
  fail "a disk that is gone was backed up"
fi
stop_qemu
start_with vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2" vdc="$tmp/c.qcow2" vdd="$tmp/d.qcow2"
guest_write vdb 2M 64k 9
proved_backup
assert_decision vdb incremental "changed since backup $second"

# Grown while it runs, to a size that fits no cluster; then while it is off. Both stay incremental.
qmp block_resize "{\"node-name\": \"fmt-vda\", \"size\": $((80 * 1048576 + 512))}" > /dev/null
qmp block_resize "{\"node-name\": \"fmt-vdc\", \"size\": $((12 * 1048576))}" > /dev/null
guest_write vda 70M 1M 10
guest_write vda 80M 512 11
guest_write vdc $((10 * 1048576 + 65536)) 1k 12
proved_backup
assert_decision vda incremental
assert_decision vdc incremental
proved_backup
assert_decision vda incremental
stop_qemu
qemu-img resize -q -f qcow2 "$tmp/b.qcow2" 40M
qemu-img resize -q -f qcow2 "$tmp/d.qcow2" 4M
start_with vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2" vdc="$tmp/c.qcow2" vdd="$tmp/d.qcow2"
guest_write vdb 39M 1M 13
proved_backup guest_write vdd 3M 1M 14
assert_decision vdb incremental
assert_decision vdd incremental
third=$last_backup

# Shrunk: that disk begins anew.
stop_qemu
qemu-img resize -q --shrink -f qcow2 "$tmp/b.qcow2" $((20 * 1048576 + 512))
start_with vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2" vdc="$tmp/c.qcow2" vdd="$tmp/d.qcow2"
proved_backup
assert_decision vda incremental
assert_decision vdb full "the disk has shrunk from 41943040 to 20972032 bytes since backup $third"
guest_write vdb 20M 512 15
proved_backup
assert_decision vdb incremental

assert_all_exact
assert_nothing_left
