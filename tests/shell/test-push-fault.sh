#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What may go wrong while QEMU writes a backup itself, under a guest that writes all the time: the store runs full, somebody
# cancels, a job is ended by somebody else, varve hangs, QEMU dies. Each is told, nothing is left, no write of the
# guest fails, and the chain goes on.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 96M
make_disk "$tmp/b.qcow2" 24M
small_mount "$tmp/small" 200M
store=$tmp/small/store
start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
before=$(qemu_names | grep -v ^bitmaps)

use ()
{
  backup_args=(-c "qmp+unix://$qmp" vm --mode push "$@")
}

assert_clean ()
{
  assert_nothing_left_on_host
  assert_equal "$(qemu_names | grep -v ^bitmaps)" "$before" "what is in QEMU"
  assert_equal "$(qemu_names | grep -o "varve\.[^']*" | sort -u | wc -l)" "$1" "checkpoints on the disks"
}

# What the guest writes over goes to the store, too: it is full while there are such writes.
more_numbers 50
guest fill vda offset=32M length=40M seed=1 > "$tmp/fill.log"
use
resize_mount "$tmp/small" 12M
fault_backup 6 'No space left|paused by an I/O error'
assert_clean 0
resize_mount "$tmp/small" 200M
varve backup "${backup_args[@]}" --to "images:$store"
assert_decision vda full 'first backup'
assert_clean 1

# Through a fleece the guest does not even stand still for that.
guest fill vda offset=32M length=40M seed=3 > "$tmp/fill.log"
guest latency > "$tmp/latency.log"
resize_mount "$tmp/small" 90M
head -c 40M /dev/zero > "$tmp/small/taker"
use --fleece
fault_backup 6 'No space left'
assert_clean 1
rm "$tmp/small/taker"
resize_mount "$tmp/small" 200M

# Cancelled: the first interrupt ends it in good order.
guest fill vda offset=32M length=20M seed=2 > "$tmp/fill.log"
use --speed 2M
start_backup_until push-tick
kill -INT "$backup_pid"
fault_finish 130 .
assert_clean 1

# Somebody else ends a job.
start_backup_until push-wait
id=$(qmp query-jobs | grep -o 'varve-[0-9a-f]*-j-0')
qmp job-cancel "{\"id\": \"$id\"}" > "$tmp/qmp.log"
fault_finish 5 "disk 'vda'"
assert_clean 1

# What QEMU writes loses its directory.
start_backup_until push-wait
rm -r "$store"/vm-*/*.partial
fault_finish 6 '\.partial'
assert_clean 1

# varve is killed, and its guard ends what it left.
guard='' start_backup_until push-wait
kill -KILL "$backup_pid"
wait_for 120 "the guard to end the session" session_is_gone
assert_clean 1

use
chain_goes_on 1
last=$(newest_backup)
guest stop > "$tmp/stop.log"
assert_guest_unhurt
assert_clean 2

# QEMU dies: the next backup is full, as a push does not compare.
use --speed 2M
guest fill vda offset=32M length=20M seed=3 > "$tmp/fill.log"
start_backup_until push-wait
kill_qemu
fault_finish 5 .
start_qemu "${disk_files[@]}"
use
varve backup "${backup_args[@]}" --to "images:$store"
assert_decision vda full '.*a push does not compare'
varve verify --from "images:$store"
assert_nothing_left

# A disk that an iothread serves, which no QEMU of this age can export.
stop_qemu
start_qemu --iothread "${disk_files[@]}"
guest_write vda 1M 1M 7
backup_args=(-c "qmp+unix://$qmp" vm)
fault_backup 4 'an iothread serves it'
use
proved_backup
assert_decision vda incremental
guest_write vda 2M 1M 8
backup_args=(-c "qmp+unix://$qmp" vm --mode auto)
proved_backup
assert_contains "$tmp/backup.log" 'note: QEMU writes the backup itself \(push\), as .* an iothread serves it'
assert_decision vda incremental
assert_all_exact
