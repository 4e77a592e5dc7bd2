#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What happens to a libvirt domain between backups: another tool's checkpoints, disks plugged in and out, a disk grown
# while it runs, a bitmap removed behind libvirt, two stores, a clone of the domain.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 16M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 8M' > "$tmp/io.log"
define_domain odd "${disk_files[@]}"
start_domain
backup_args=("$domain")

foreign_checkpoint ()
{
  virsh checkpoint-create-as "$domain" "$1" --diskspec vda,checkpoint=bitmap
}

foreign_checkpoint before
proved_backup guest_write vda 1M 64k 2
assert_decision vda full 'first backup'
first=$last_backup
foreign_checkpoint between
guest_write vda 2M 64k 3
proved_backup
assert_decision vda incremental "changed since backup $first"
guest_write vda 3M 64k 4

# A disk plugged in while it runs, and out again.
disk_files+=(vdb="$tmp/b.qcow2")
virsh attach-disk "$domain" "$tmp/b.qcow2" vdb --driver qemu --subdriver qcow2 --live --config --alias ua-vdb
guest_write vdb 1M 1M 5
proved_backup
assert_decision vda incremental
assert_decision vdb full 'first backup'
guest_write vdb 2M 64k 6
virsh blockresize "$domain" vda $((40 * 1024 + 64))k
guest_write vda 40M 64k 7
proved_backup
assert_decision vda incremental
assert_decision vdb incremental

# A second store in between has checkpoints of its own.
two=$tmp/two
for decision in full incremental; do
  guest_write vda 4M 64k 8
  varve backup "$domain" --to "images:$two"
  store=$two assert_decision vda "$decision"
  proved_backup
  assert_decision vda incremental
  assert_decision vdb incremental
done
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -cE '^(before|between)$')" 2 "checkpoints of another tool"
virsh detach-disk "$domain" vdb --live --config
disk_files=(vda="$tmp/a.qcow2")
proved_backup
assert_decision vda incremental

# Its bitmaps are removed behind libvirt, which still has the checkpoints.
stop_domain
monitor=off
for name in $(qemu-img info -f qcow2 "$tmp/a.qcow2" | sed -n 's/^ *name: \(varve\.varve-[^ ]*\)$/\1/p'); do
  qemu-img bitmap --remove -f qcow2 "$tmp/a.qcow2" "$name"
done
start_domain
guest_write vda 5M 64k 9
proved_backup
assert_decision vda rescan '.*; compared with backup'
guest_write vda 6M 64k 10
proved_backup
assert_decision vda incremental
assert_all_exact
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -cE '^(before|between)$')" 2 "checkpoints of another tool"

# A clone: the same image under another name and uuid.
stop_domain
cp "$tmp/a.qcow2" "$tmp/clone.qcow2"
original=$domain
define_domain clone vda="$tmp/clone.qcow2"
start_domain
guest_write vda 7M 64k 11
expected=$(digest "$tmp/clone.qcow2" qcow2)
varve backup "$domain" --to "images:$store"
assert_decision vda full "the image is a copy: its bitmap belongs to a backup of domain '$original'"
varve restore --from "images:$store" "$domain@latest" --disk "vda=$tmp/clone.raw" > "$tmp/restore.log"
assert_digest "$tmp/clone.raw" raw "$expected" 'the clone'
guest_write vda 8M 64k 12
varve backup "$domain" --to "images:$store"
assert_decision vda incremental
assert_nothing_left
