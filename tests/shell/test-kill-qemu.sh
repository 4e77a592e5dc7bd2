#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# QEMU is killed while a backup of it is on its way: the backup fails and says so, unless all was read already; what
# was half-made is listed nowhere; and when the machine runs again the next backup is a rescan, as its bitmaps are
# inconsistent, that reads all and stores only what differs.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_qemu
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 32M
start_qemu "${disk_files[@]}"
before=$(qemu_names)
backup_args=(-c "qmp+unix://$qmp" vm)
guest_write vda 0 12M 1
guest_write vdb 8M 12M 2
proved_backup
expect_backup_again full 'first backup'

# continue_without_qemu STATUS: QEMU is gone, and the stopped backup goes on.
continue_without_qemu ()
{
  local status=0
  kill_qemu
  kill -CONT "$backup_pid"
  wait "$backup_pid" || status=$?
  assert_equal "$status" "$1" "status of the backup ($(cat "$tmp/backup.log"))"
}

n=2
for point in qmp-start-server qmp-start-switched session-started copy-disk session-copied qmp-end-exports \
  store-before-rename run-retire; do
  started=$SECONDS
  n=$((n + 1))
  guest_write vda "$((n * 2))M" 64k "$n"
  guest_write vdb "$((n * 2))M" 100k "$n"
  # A checkpoint too many, so that there is one to retire.
  backup_again incremental
  prove_new
  reason="the disk has no bitmap .* lost as QEMU was not shut down cleanly"
  if [ $((n % 2)) -eq 1 ]; then
    stop_qemu
    start_qemu "${disk_files[@]}"
    reason="bitmap '.*' is inconsistent, as QEMU was not shut down cleanly"
  fi
  guest_write vda 28M 64k "$n"
  start_backup_until "$point"
  case "$point" in
  qmp-end-* | store-* | run-*)
    # All was read and proven; that the checkpoint cannot be kept in order is a warning.
    continue_without_qemu 0
    expect_list 1
    prove_new
    ;;
  *)
    continue_without_qemu 5
    expect_list 0
    ;;
  esac
  tail -n 1 "$tmp/backup.log"
  if [ "$point" = copy-disk ]; then
    varve recover > "$tmp/recover.log"
    assert_nothing_left_on_host
  fi

  start_qemu "${disk_files[@]}"
  guest_write vdb 30M 64k "$n"
  backup_again rescan "$reason; compared with"
  prove_new
  assert_small_layers 4000000
  assert_equal "$(qemu_names | grep -v ^bitmaps)" "$(grep -v ^bitmaps <<< "$before")" "what is in QEMU"
  echo "QEMU killed at $point: as it should be ($((SECONDS - started)) s)"
done
backup_again incremental
prove_new
prove_list
