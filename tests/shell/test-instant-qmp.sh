#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A guest of a bare QEMU runs on its backup within seconds: it boots, its files are right while the disk is filled, though the
# server is killed and varve too; what it writes stays; in the end the disk depends on nothing, and its next backup is
# an increment on the one that it came from. What was begun and came to nothing goes again. What is refused.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-instant.sh"
requires_guest
requires qemu-io qemu-storage-daemon nbdkit mke2fs pgrep

disk_files=(vda="$tmp/origin.qcow2")
make_files "$tmp/origin.qcow2"
backup_args=(-c image: vm --image "vda=$tmp/origin.qcow2,format=qcow2")
proved_backup
one=$last_backup
build_guest

# start_waiting: a QEMU without disks, whose guest waits for them.
start_waiting ()
{
  local args=(-kernel "$tmp/guest.kernel" -initrd "$tmp/guest.initrd" -append "$(guest_append '')"
              -blockdev driver=null-co,node-name=empty,size=1048576,read-zeroes=on
              -device virtio-blk-pci,id=vda,drive=empty,rerror=stop,werror=stop)
  local options=() arg
  for arg in "${args[@]}"; do
    options+=(--arg "$arg")
  done
  start_qemu --stopped "${options[@]}"
  restore_args=("vm@latest" -c "qmp+unix://$qmp" --disk "vda=$tmp/new.qcow2")
}

# job_speed BYTES: of the job that fills the disk; 0: as fast as it goes.
job_speed ()
{
  local job
  job=$(qmp query-block-jobs | sed -n 's/.*"device": "\(restored-[^"]*\)".*/\1/p')
  qmp block-job-set-speed "{\"device\": \"$job\", \"speed\": $1}" > /dev/null
}

assert_filling ()
{
  if ! qmp query-block-jobs | grep -q '"type": "stream"'; then
    fail "the disk is not being filled any more"
  fi
}

# --- refused ---------------------------------------------------------------------------------------

start_waiting
expect_status 2 varve restore --from "images:$store" --instant "$one" --disk "vda=$tmp/new.qcow2"
assert_contains "$tmp/said.log" 'which guest runs'
expect_status 2 varve restore --from "images:$store" --instant "$one" -c "qmp+unix://$qmp" --disk "vda=$tmp/new.raw,format=raw"
assert_contains "$tmp/said.log" "new files of format qcow2, and '$tmp/new.raw' is none"
expect_status 4 varve restore --from "images:$store" --instant "$one" -c "qmp+unix://$qmp" --disk "vda=$tmp/origin.qcow2"
assert_contains "$tmp/said.log" 'exists already'
qmp cont > /dev/null
expect_status 4 varve restore --from "images:$store" --instant "${restore_args[@]}"
assert_contains "$tmp/said.log" "is 'running'.*start it with -S"
stop_qemu
start_qemu --stopped
restore_args=("vm@latest" -c "qmp+unix://$qmp" --disk "vda=$tmp/new.qcow2")
expect_status 1 varve restore --from "images:$store" --instant "${restore_args[@]}"
assert_contains "$tmp/said.log" "has no device for disk 'vda'"
stop_qemu
start_qemu --stopped --name other
expect_status 1 varve restore --from "images:$store" --instant "$one" -c "qmp+unix://$qmp" --disk "vda=$tmp/new.qcow2"
assert_contains "$tmp/said.log" "is domain 'other', not 'vm'"
stop_qemu
if [ -e "$tmp/new.qcow2" ]; then
  fail "a restore that was refused made its target"
fi
session_is_gone

# --- what came to nothing goes again ---------------------------------------------------------------

start_waiting
before=$(qemu_names)
for point in instant-recorded instant-images instant-prepared; do
  start_instant $point
  kill_instant
  varve recover --dry-run > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "would undo an instant restore of backup $one"
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "undid an instant restore of backup $one, which was cut off before the guest ran"
  assert_nothing_served
  if [ -e "$tmp/new.qcow2" ]; then
    fail "the image of a restore that was undone is there"
  fi
done
for point in instant-images instant-disks-given; do
  VARVE_FAILPOINT=$point:error expect_status 1 varve restore --from "images:$store" --instant "${restore_args[@]}"
  assert_nothing_served
  if [ -e "$tmp/new.qcow2" ]; then
    fail "the image of a restore that failed at $point is there"
  fi
done
assert_equal "$(qemu_names)" "$before" "what is in QEMU behind restores that failed"
qmp query-status | grep -q prelaunch

# --- a guest, its server killed, and varve -----------------------------------------------------------

# This one is killed before the guest runs; the same command begins again.
start_instant instant-images
kill_instant
restore_args+=(--speed 1M)
start_instant instant-tick
kill_instant
wait_for_guest
guest sh 'mount -t ext4 /dev/vda /mnt'
assert_files
assert_filling

# It cannot be deleted behind the guest's back, also by who has no record of it.
expect_status 8 varve delete --from "images:$store" "$one"
assert_contains "$tmp/said.log" "the instant restore of domain 'vm' is not done with it"
VARVE_STATE_DIR=$tmp/elsewhere expect_status 8 varve delete --from "images:$store" "$one"
assert_contains "$tmp/said.log" "$one' is read by a guest that runs on it"

# The same command goes on. The server is not missed for long.
start_instant
wait_for 60 "the restore to go on" grep -q . "$tmp/restore.log"
served=$(server_pid)
kill -KILL "$served"
assert_files
assert_filling
wait_for 60 "another server" grep -q 'had gone, and was started again' "$tmp/restore.log"
guest sh 'head -c 1000000 /dev/urandom > /mnt/written && cd /mnt && md5sum written >> sums && sync'
assert_files
assert_filling
job_speed 0
wait "$restore_pid" || fail "the restore ended with status $?: $(cat "$tmp/restore.log")"
cat "$tmp/restore.log"
assert_nothing_served
assert_whole "$tmp/new.qcow2"
assert_equal "$(qmp query-named-block-nodes | sed -n '/"drv": "nbd"/p')" '' "NBD nodes in QEMU"
assert_files

# What it has is right, and the next backup is an increment on that one, of what the guest wrote.
disk_files=(vda="$tmp/new.qcow2")
backup_args=(-c "qmp+unix://$qmp" vm)
proved_backup
assert_small_increment
guest sh 'echo more > /mnt/more && sync'
proved_backup
assert_decision vda incremental
guest sh 'umount /mnt'
stop_qemu
monitor=off
qemu-img check -q -f qcow2 "$tmp/new.qcow2"
rm "$tmp/new.qcow2"

# --- the guest goes off, and the store is damaged ----------------------------------------------------

start_waiting
restore_args+=(--speed 6M)
start_instant instant-tick
kill_instant
layer=$(echo "$store"/*/"$one"/vda.qcow2)
stop_qemu
monitor=off
cp "$layer" "$tmp/layer"
truncate -s 1M "$layer"
assert_equal "$(server_pid | wc -l)" 1 "processes that serve"
expect_status 3 varve recover
assert_contains "$tmp/said.log" 'cannot be read'
cat "$tmp/layer" > "$layer"
varve recover > "$tmp/recover.log"
assert_contains "$tmp/recover.log" "finished an instant restore"
assert_nothing_served
assert_whole "$tmp/new.qcow2"
assert_digest "$tmp/new.qcow2" qcow2 "$(cat "$tmp/digest.$(newest_backup).vda")" "the disk that was filled without its guest"
backup_args=(-c image: vm --image "vda=$tmp/new.qcow2,format=qcow2")
proved_backup
assert_decision vda incremental
assert_all_exact

# Nothing holds it any more.
varve delete --from "images:$store" "$one" --with-dependents > "$tmp/delete.log"
assert_contains "$tmp/delete.log" "deleted $one"
