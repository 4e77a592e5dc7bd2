#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks of a libvirt domain that go to targets of their own: a file, a device, an NBD server that hangs and dies. Each copy is
# exact, in full and by a checkpoint, while the domain runs and when it is off; its guest, which writes all the time,
# notices nothing.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_libvirt
requires_targets

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 24M
mkdir "$tmp/out"
truncate -s 32M "$tmp/device.img"
device=$(losetup --find --show "$tmp/device.img") || skip "no loop device is to be had here"
cleanup_fn losetup -d "$device"
define_domain --guest 'numbers vda vdb delay=2000' targets "${disk_files[@]}"
start_domain
before=$(libvirt_names)
backup_args=("$domain")

checkpoints ()
{
  virsh checkpoint-list --name "$domain" | sed -n "/^varve\\./p" | sort
}

assert_clean ()
{
  assert_no_copy_left "$tmp/out"
  assert_equal "$(libvirt_names)" "$before" "what is in QEMU"
}

fill ()
{
  guest fill "$1" "offset=$2" "length=$3" "seed=$RANDOM" > "$tmp/fill.log"
}

disturb ()
{
  fill vda 8M 8M
  fill vdb 4M 1M
}

fill vda 4M 8M
fill vdb 12M 2M
target_args=(--owner copies --target "vda=$tmp/out/a.raw" --target "vdb=$device" --force)
proved_copies disturb
assert_copy vda "$tmp/out/a.raw"
assert_device vdb "$device" 24M
assert_clean

target_args+=(--incremental "$(checkpoints)")
proved_copies disturb
assert_contains "$tmp/backup.log" 'vda: incremental'
assert_copy vda "$tmp/out/a.raw"
assert_device vdb "$device" 24M
assert_equal "$(checkpoints | wc -l)" 2 "checkpoints"
assert_clean
kept=$(checkpoints)

# Push: by libvirt QEMU writes a file and a device of the disk's size; by turns with pull each is an increment on the other.
target_args=(--mode push --target "vda=$tmp/out/push.qcow2,format=qcow2" --target "vdb=$device" --force)
expect_status 4 varve backup "${backup_args[@]}" "${target_args[@]}"
assert_contains "$tmp/said.log" "Disk 'vdb' has 25165824 bytes and its target '$device' 33554432"
assert_clean
truncate -s 24M "$tmp/device.img"
losetup -c "$device"
proved_copies disturb
assert_contains "$tmp/backup.log" 'snapshot taken \(push\)'
assert_copy vda "$tmp/out/push.qcow2" qcow2
assert_device vdb "$device" 24M
assert_equal "$(stat -c '%a %U' "$tmp/out/push.qcow2")" '600 root' "rights to a copy"
assert_clean
target_args=(--owner copies --mode push --target "vda=$tmp/out/a.raw" --target "vdb=$device" --force)
proved_copies disturb
assert_copy vda "$tmp/out/a.raw"
for mode in pull push; do
  fill vda 20M 1M
  target_args=(--owner copies --mode "$mode" --incremental "$(checkpoints | tail -n 1)" --target "vda=$tmp/out/a.raw"
    --target "vdb=$device" --force)
  proved_copies disturb
  assert_contains "$tmp/backup.log" 'vda: incremental'
  assert_copy vda "$tmp/out/a.raw"
  assert_device vdb "$device" 24M
  assert_clean
done
kept=$(checkpoints)

# Killed while QEMU writes: the guard ends the job, and no copy has a name.
kill_push push-wait
assert_clean
assert_equal "$(checkpoints)" "$kept" "checkpoints"

# At 1 MB/s it hangs, the guest writes on, and it is killed.
start_server slow 64M 8M
target_args=(--owner copies --target "vda=$uri" --force)
start_backup_until copy-tick
kill -STOP "$server_pid"
kill -CONT "$backup_pid"
guest latency > "$tmp/latency.log"
fill vda 32M 8M
sleep 3
guest latency
assert_equal "$(process_state "$server_pid")" T "state of the server that hangs"
kill_server
fault_finish 6 "disk 'vda'|Disk 'vda'"
assert_clean
assert_equal "$(checkpoints)" "$kept" "checkpoints"

guest stop > "$tmp/stop.log"
assert_guest_unhurt

# Off: by a storage daemon, and still by the checkpoint.
stop_domain
monitor=off
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 9 20M 1M' > "$tmp/io.log"
start_server off 24M
target_args=(--owner copies --incremental "$(echo "$kept" | tail -n 1)" --target "vda=$tmp/out/a.raw" --force)
proved_copies
assert_contains "$tmp/backup.log" 'vda: incremental'
assert_copy vda "$tmp/out/a.raw"
target_args=(--target "vda=$tmp/out/a.qcow2,format=qcow2" --target "vdb=$uri" --force)
proved_copies
assert_copy vda "$tmp/out/a.qcow2" qcow2
assert_copy vdb "$uri"
assert_no_copy_left "$tmp/out"
