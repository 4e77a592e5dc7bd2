#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks of a running QEMU that go to targets of their own instead of a store: files, and an NBD server that is slow, hangs,
# dies. Each copy is exact, the guest, which writes all the time, notices nothing of what becomes of a target, and nothing
# is left.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_targets
requires_root

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 24M
mkdir "$tmp/out"
start_qemu --guest 'numbers vda vdb delay=1000' "${disk_files[@]}"
backup_args=(-c "qmp+unix://$qmp" vm)
before=$(qemu_names | grep -v ^bitmaps)

checkpoints ()
{
  { qemu_names | grep -o "varve\.[^']*" || [ $? -eq 1 ]; } | sort -u
}

assert_clean ()
{
  assert_no_copy_left "$tmp/out"
  assert_equal "$(qemu_names | grep -v ^bitmaps)" "$before" "what is in QEMU"
}

fill ()
{
  guest fill "$1" "offset=$2" "length=$3" "seed=$RANDOM" > "$tmp/fill.log"
}

disturb ()
{
  fill vda 8M 2M
  fill vdb 4M 1M
}

# start_slow: at 1 MB/s, up to where some of it has been copied; then the guest writes over the rest.
start_slow ()
{
  start_server vda 64M 8M
  target_args=(--owner copies --target "vda=$uri" --force)
  start_backup_until copy-tick
}

# Full copies, of one instant.
fill vda 4M 3M
fill vdb 12M 2M
start_server vdb 24M
target_b=$uri
target_args=(--owner copies --target "vda=$tmp/out/a.raw" --target "vdb=$target_b" --force)
proved_copies disturb
assert_copy vda "$tmp/out/a.raw"
assert_copy vdb "$target_b"
assert_clean

# What is there is not written over by mistake, nor is the machine itself.
expect_status 4 varve backup "${backup_args[@]}" --target "vda=$tmp/out/a.raw"
assert_contains "$tmp/said.log" 'exists already'
expect_status 4 varve backup "${backup_args[@]}" --target "vdb=$target_b"
assert_contains "$tmp/said.log" 'is an NBD export, whose content would be lost'
expect_status 4 varve backup "${backup_args[@]}" --target "vda=$tmp/b.qcow2" --force
assert_contains "$tmp/said.log" "is disk 'vdb' of the domain itself"

# A copy is brought up to date by a checkpoint of its owner.
target_args+=(--incremental "$(checkpoints)")
fill vda 20M 1M
proved_copies disturb
assert_contains "$tmp/backup.log" 'vda: incremental'
assert_contains "$tmp/backup.log" 'vdb: incremental'
assert_copy vda "$tmp/out/a.raw"
assert_copy vdb "$target_b"
assert_equal "$(checkpoints | wc -l)" 2 "checkpoints"
assert_clean
kept=$(checkpoints)

# Push: QEMU writes files and devices itself, slowly enough for the guest to be ahead of it; a larger device keeps what is behind the
# disk. By turns with pull each is an increment on the other, also where it is written from a frozen view.
truncate -s 32M "$tmp/device.img"
device=$(losetup --find --show "$tmp/device.img") || skip "no loop device is to be had here"
cleanup_fn losetup -d "$device"
printf behind | dd of="$device" bs=1M seek=24 conv=notrunc status=none
target_args=(--owner copies --mode push --speed 40M --target "vda=$tmp/out/a.raw" --target "vdb=$device" --force)
proved_copies disturb
assert_contains "$tmp/backup.log" 'snapshot taken \(push\)'
assert_copy vda "$tmp/out/a.raw"
assert_device vdb "$device" 24M
for mode in pull "push --fleece" push; do
  read -ra words <<< "$mode"
  fill vda 20M 1M
  target_args=(--owner copies --mode "${words[@]}" --incremental "$(checkpoints | tail -n 1)"
    --target "vda=$tmp/out/a.raw" --target "vdb=$device" --force)
  proved_copies disturb
  assert_contains "$tmp/backup.log" 'vda: incremental'
  assert_contains "$tmp/backup.log" 'vdb: incremental'
  assert_copy vda "$tmp/out/a.raw"
  assert_device vdb "$device" 24M
  assert_clean
done
assert_equal "$(dd if="$device" bs=1M skip=24 count=1 status=none | head -c 6)" behind "what is behind the disk's end"
kept=$(checkpoints)

# Killed anywhere: the guard ends the job, no copy has a name, and the guest goes on.
for point in push-opened push-adopted; do
  kill_push "$point"
  assert_clean
  assert_equal "$(checkpoints)" "$kept" "checkpoints"
done

# Compressed; without an owner no checkpoint stays.
target_args=(--mode push --compress --target "vda=$tmp/out/push.qcow2,format=qcow2")
proved_copies disturb
assert_copy vda "$tmp/out/push.qcow2" qcow2
assert_clean

# Cancelled; its directory goes away; there is no room, which the guest meets too, as it writes over what is not copied yet.
target_args=(--owner copies --mode push --speed 2M --target "vda=$tmp/out/killed.raw")
start_backup_until push-tick
kill -INT "$backup_pid"
fault_finish 130 .
assert_clean
mkdir "$tmp/out/gone"
target_args=(--owner copies --mode push --target "vda=$tmp/out/gone/a.raw")
start_backup_until push-wait
rm -r "$tmp/out/gone"
fault_finish 6 'gone/a.raw'
assert_clean
small_mount "$tmp/small" 2M
target_args=(--owner copies --mode push --target "vda=$tmp/small/a.qcow2,format=qcow2")
start_backup_until push-wait
fault_finish 6 'No space left|paused by an I/O error'
assert_equal "$(ls "$tmp/small")" '' "what is left in a full file system"
assert_clean
assert_equal "$(checkpoints)" "$kept" "checkpoints"

# Of a server QEMU gets to know nothing, whatever the mode: varve passes on what it reads.
start_server push 24M
target_args=(--mode push --target "vdb=$uri" --force)
proved_copies disturb
assert_contains "$tmp/backup.log" "note: The target of disk 'vdb' is an NBD server"
assert_copy vdb "$uri"
assert_clean
kill_server

# 1 MB/s: exact, too, while the guest is far ahead.
start_server slow 24M 8M
target_args=(--target "vdb=$uri" --force)
proved_copies fill vdb 12M 4M
assert_copy vdb "$uri"
assert_clean
kill_server

# It hangs: the guest writes on. Then it is killed.
start_slow
kill -STOP "$server_pid"
kill -CONT "$backup_pid"
guest latency > "$tmp/latency.log"
fill vda 32M 4M
sleep 3
guest latency
assert_equal "$(process_state "$server_pid")" T "state of the server that hangs"
kill_server
fault_finish 6 "disk 'vda'|Disk 'vda'"
assert_clean

# It hangs, and somebody has had enough of it.
start_slow
kill -STOP "$server_pid"
kill -CONT "$backup_pid"
sleep 1
kill -INT "$backup_pid"
fault_finish 130 .
assert_clean
kill_server

# It hangs, and varve is killed: its guard ends what it left.
guard='' start_slow
kill -STOP "$server_pid"
kill -KILL "$backup_pid"
wait_for 15 "the guard to end the session" session_is_gone
assert_clean
kill_server

# There is none: that is told before anything is started.
expect_status 6 varve backup "${backup_args[@]}" --target "vda=$tmp/out/b.raw" --target "vdb=$uri" --force
assert_contains "$tmp/said.log" "Disk 'vdb' cannot be copied to its target"
assert_equal "$(grep -c 'snapshot taken' "$tmp/said.log" || [ $? -eq 1 ])" 0 "snapshots for a server that is not there"

# The directory goes away.
expect_status 6 varve backup "${backup_args[@]}" --target "vda=$tmp/out/gone/a.raw"
assert_contains "$tmp/said.log" "directory of the target '.*gone/a.raw' is not there"
mkdir "$tmp/out/gone"
target_args=(--target "vda=$tmp/out/gone/a.raw")
start_backup_until copy-disk-done
rm -r "$tmp/out/gone"
fault_finish 6 'gone/a.raw'
assert_clean

assert_equal "$(checkpoints)" "$kept" "checkpoints"
guest stop > "$tmp/stop.log"
assert_guest_unhurt
