#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A running QEMU writes its backups itself: two disks, full and three incrementals, each exact at one instant although the
# guest writes over what is not copied yet. Then pull and push by turns, each an increment on the other. Afterwards QEMU
# is as it was.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 100M
start_qemu vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
before=$(qemu_names)

use ()
{
  backup_args=(-c "qmp+unix://$qmp" vm --mode "$@")
}

# A job that is told to be slow has not copied all of this yet: so it must save the old data first.
disturb ()
{
  qmp query-jobs > "$tmp/jobs.$1"
  disturb_disks "$1"
}

use push
prove_increments --speed 40M
assert_contains "$tmp/backup.log" 'snapshot taken \(push\)'
assert_contains "$tmp/jobs.11" "running"
assert_contains "$tmp/jobs.14" "running"

# auto reads what can be read.
for mode in pull push auto push; do
  guest_write vda 30M 1M "$((proof_count * 2))"
  last=$last_backup
  use "$mode"
  proved_backup disturb "$proof_count"
  cp "$tmp/backup.log" "$tmp/$mode.log"
  assert_decision vda incremental "changed since backup $last"
  assert_decision vdb incremental "changed since backup $last"
done

# Compressed, and with requests of a number and size that are not QEMU's own.
write_backup_job "$tmp/job.xml" "qmp+unix://$qmp" vm '' "<mode compress='yes' workers='2' chunk='128'>push</mode>"
backup_job=$tmp/job.xml
guest_write vda 70M 5M 42
proved_backup disturb 43
assert_decision vda incremental
backup_job=

# Through a fleece: the jobs write from a frozen view, and are slow enough for the guest to be ahead of them.
guest_write vda 20M 30M 45
use push --fleece --speed 20M
proved_backup disturb 46
assert_decision vda incremental
assert_contains "$tmp/backup.log" 'snapshot taken \(push-filter'
use push --fleece --incremental never
proved_backup disturb 49
assert_decision vda full
assert_contains "$tmp/auto.log" 'snapshot taken \(filter'
assert_all_exact
assert_nothing_left
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$(echo "$before" | grep -v ^bitmaps)" "what is in QEMU"
assert_equal "$(qemu_names | grep -o "varve\.[^']*" | sort -u | wc -l)" 2 "checkpoints kept"
