#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Scratch space that the guest's writes outgrow while the disk is read: the backup gives up, the guest does not notice,
# and the next one is incremental all the same. Argument: filter (QEMU gives up by itself), job (QEMU pauses the guest,
# varve gives up and resumes it) or libvirt (likewise).
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 64M
small_mount "$tmp/scratch" 400M
if [ "$driver" = libvirt ]; then
  requires_libvirt
  define_domain --guest 'numbers vda vdb delay=8000' scratch "${disk_files[@]}"
  start_domain
  # Where QEMU's user may write.
  chown libvirt-qemu: "$tmp/scratch"
  uri=qemu:///system
  backup_args=("$domain")
else
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  uri=qmp+unix://$qmp
  domain=vm
  backup_args=(-c "$uri" vm)
fi
pause=brief
if [ "$driver" = job ]; then
  pause=never
fi

watch_stalls

# slow_job SCRATCH-LIMIT: reads slowly, so that the guest has time to write.
slow_job ()
{
  backup_job=$tmp/job.xml
  write_backup_job "$backup_job" "$uri" "$domain" '' "<scratch directory='$tmp/scratch'/>" \
    "<guard scratch-limit='$1' unit='MiB' pause='$pause'/>" "<speed unit='MiB'>4</speed>"
}

guest fill vda offset=32M length=96M seed=1
varve backup "${backup_args[@]}" --to "images:$store"
assert_backups 1

# give_up [FILE]: the guest overwrites what has not been read yet; FILE takes room of the scratch space.
give_up ()
{
  guest fill vda offset=32M length=96M seed=2
  start_backup_until copy-disk
  if [ -n "${1:-}" ]; then
    cp "$1" "$tmp/scratch/taker"
  fi
  kill -CONT "$backup_pid"
  guest fill vda offset=64M length=64M seed=3
  fault_finish 6 '[Ss]cratch'
  rm -f "$tmp/scratch/taker"
  assert_nothing_left
  assert_equal "$(find "$tmp/scratch" -mindepth 1)" '' "what is left of scratch"
  assert_backups 1
  guest status
}

# Beyond the limit of the job, with room left.
slow_job 16
give_up
# Full before the limit is reached, as somebody else has taken the room.
slow_job 40
resize_mount "$tmp/scratch" 41M
head -c 30M /dev/zero > "$tmp/taker"
give_up "$tmp/taker"

# No room from the start: nothing is begun.
resize_mount "$tmp/scratch" 30M
expect_status 6 varve run "$backup_job"
assert_contains "$tmp/said.log" 'scratch directory .* has .* MiB free, and the backup may need 40 MiB'

backup_job=
varve backup "${backup_args[@]}" --to "images:$store"
assert_decision vda incremental
assert_decision vdb incremental
guest stop
# A filter lets a write wait for the default time-out; the others pause the guest, whose clock stands still then.
assert_guest_unhurt 6000
assert_stalls 5000
proved_backup
assert_decision vda incremental
assert_all_exact
assert_nothing_left
