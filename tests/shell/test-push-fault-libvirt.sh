#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What may go wrong while libvirt's QEMU writes a backup itself, under a guest that writes all the time: the store runs full,
# somebody cancels, somebody ends the job, varve is killed, the domain ends. Each is told, nothing is left, no write of the
# guest fails, and the chain goes on. A third disk, which is slow to read, makes each backup take seconds.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_libvirt
requires qemu-storage-daemon nbdkit

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 96M
make_disk "$tmp/b.qcow2" 24M
head -c 8M /dev/urandom > "$tmp/slow.raw"
nbdkit -f -U "$tmp/slow.sock" --filter=rate file "$tmp/slow.raw" rate=16M > "$tmp/nbdkit.log" 2>&1 &
cleanup_fn end_process "$!"
wait_for 120 "nbdkit" test -S "$tmp/slow.sock"
chmod 0666 "$tmp/slow.sock"
small_mount "$tmp/small" 200M
store=$tmp/small/store
define_domain --guest 'numbers vda vdb delay=8000' push "${disk_files[@]}"
sed -i "s|<serial type='unix'>|<disk type='network' device='disk'><driver name='qemu' type='raw'/>\
<source protocol='nbd'><host transport='unix' socket='$tmp/slow.sock'/></source><target dev='vdc' bus='virtio'/></disk>&|" "$tmp/$vm.xml"
virsh undefine "$domain"
virsh define "$tmp/$vm.xml"
start_domain
before=$(libvirt_names)
backup_args=("$domain" --mode push)

assert_clean ()
{
  assert_nothing_left_on_host
  assert_equal "$(libvirt_names)" "$before" "what is in QEMU"
  assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" "$1" "checkpoints of the domain"
}

guest fill vda offset=32M length=40M seed=1 > "$tmp/fill.log"
resize_mount "$tmp/small" 12M
fault_backup 6 'No space left|paused by an I/O error'
virsh checkpoint-list --name "$domain" > "$tmp/checkpoints.log"
assert_equal "$(grep -c '^varve\.' "$tmp/checkpoints.log" || [ $? -eq 1 ])" 0 "checkpoints after a full store"
resize_mount "$tmp/small" 200M
varve backup "${backup_args[@]}" --to "images:$store"
assert_decision vda full 'first backup'
assert_decision vdc full 'first backup'
assert_clean 1

# Cancelled: the first interrupt ends it in good order.
start_backup_until push-wait
kill -INT "$backup_pid"
fault_finish 130 .
assert_clean 1

# Somebody else ends the job.
start_backup_until push-wait
virsh domjobabort "$domain"
fault_finish 5 'ended by somebody else'
assert_clean 1

# varve is killed, and its guard ends what it left.
guard='' start_backup_until push-wait
kill -KILL "$backup_pid"
wait_for 120 "the guard to end the session" session_is_gone
assert_clean 1

chain_goes_on 1
guest stop > "$tmp/stop.log"
assert_guest_unhurt
assert_clean 2

# The domain ends: its bitmaps are stored, and the chain goes on with the storage daemon.
start_backup_until push-wait
virsh destroy "$domain"
fault_finish 5 'shut down, or its QEMU died|domain was shut down'
varve backup "${backup_args[@]}" --disk vda --disk vdb --to "images:$store"
assert_decision vda incremental
assert_nothing_left
