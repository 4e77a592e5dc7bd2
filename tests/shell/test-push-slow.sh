#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# QEMU writes a backup to storage that takes 10 s for each write, from a frozen view (--fleece): the guest, which overwrites
# what is not copied yet, waits for none of them, and the backup is exact. The delays are injected into QEMU's own system
# calls.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon strace
requires_root

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 40M
make_disk "$tmp/b.qcow2" 24M
start_qemu --guest 'numbers vda vdb delay=2000' "${disk_files[@]}"
before=$(qemu_names | grep -v ^bitmaps)
backup_args=(-c "qmp+unix://$qmp" vm --mode push --fleece --speed 16M)

is_delayed ()
{
  grep -qE 'DELAYED|unfinished' "$tmp/strace.log"
}

slow_down ()
{
  inject_fault "$qemu_pid" delay_enter=10000000 "$(echo "$store"/*/*.partial)"
  wait_for 60 "a write of the backup" is_delayed
  guest latency > "$tmp/latency.log"
  guest fill vda offset=24M length=12M seed=2 > "$tmp/fill.log"
  guest latency
  end_fault
}

guest fill vda offset=24M length=12M seed=1 > "$tmp/fill.log"
proved_backup slow_down
assert_contains "$tmp/backup.log" 'snapshot taken \(push-filter'
guest stop > "$tmp/stop.log"
assert_guest_unhurt
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$before" "what is in QEMU"
assert_all_exact
assert_nothing_left
