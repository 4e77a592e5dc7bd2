#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups of a running libvirt domain that are cut. Argument:
#   varve  is killed at failure points, while the guest writes both disks all the time: the next run is incremental
#   push   the same of backups that QEMU writes itself
#   qemu   is killed while varve stands at a point: the run fails, unless all was read; the next run is a rescan that
#          stores only what differs
# Nothing half-made is listed, nothing is left, and every backup is exact.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_libvirt
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 32M

# The block nodes and the bitmaps that QEMU has, without those of checkpoints.
node_names ()
{
  virsh qemu-monitor-command "$domain" '{"execute":"query-named-block-nodes","arguments":{"flat":true}}' |
    python3 -c '
import json, sys
for node in json.load(sys.stdin)["return"]:
    print("node", node["node-name"])
    for bitmap in node.get("dirty-bitmaps", []):
        if not bitmap.get("name", "").startswith("varve."):
            print("bitmap", node["node-name"], bitmap.get("name"))
' | sort
}

# assert_domain_clean CHECKPOINTS
assert_domain_clean ()
{
  assert_equal "$(virsh domstate "$domain" | head -n 1)" running "state of the domain"
  assert_equal "$(virsh domjobinfo "$domain" | sed -n 's/^Job type: *\([A-Za-z]*\).*/\1/p')" None "job of the domain"
  assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" "$1" "checkpoints kept"
  assert_equal "$(node_names)" "$before" "what is in QEMU"
}

domain_is_off ()
{
  [ "$(virsh domstate "$domain" | head -n 1)" = 'shut off' ]
}

kill_varve ()
{
  local point started
  define_domain --guest 'numbers vda vdb delay=8000' kill "${disk_files[@]}"
  start_domain
  backup_args=("$domain" --mode "$1")
  before=$(node_names)
  more_numbers 50
  backup_again full
  backup_again incremental
  for point in "${@:2}"; do
    started=$SECONDS
    kill_backup_at "$point"
    assert_equal "$(count_sessions)" 1 "sessions on record after a kill at $point"
    case "$point" in
    libvirt-start-after | copy-disk | push-wait | libvirt-checkpoint-before)
      varve recover > "$tmp/recover.log"
      assert_contains "$tmp/recover.log" ' ended session [0-9a-f]+ of backup 2'
      assert_nothing_left_on_host
      expect_list 0
      ;;
    esac
    backup_again incremental 'changed since backup'
    assert_domain_clean 2
    echo "varve killed at $point: as it should be ($((SECONDS - started)) s)"
  done
  guest stop
  assert_guest_unhurt
  prove_list 20
}

kill_qemu_of_domain ()
{
  local point started status pid n=2
  define_domain kill "${disk_files[@]}"
  start_domain
  backup_args=("$domain")
  before=$(node_names)
  guest_write vda 0 12M 1
  guest_write vdb 8M 12M 2
  proved_backup
  expect_backup_again full 'first backup'
  for point in libvirt-start-before libvirt-start-after copy-disk session-copied libvirt-end-before \
    store-before-rename libvirt-checkpoint-before; do
    started=$SECONDS
    n=$((n + 1))
    guest_write vda "$((n * 2))M" 64k "$n"
    backup_again incremental
    prove_new
    guest_write vdb "$((n * 2))M" 100k "$n"
    start_backup_until "$point"
    status=0
    pid=$(domain_pid)
    kill -KILL "$pid"
    wait_for 120 "libvirt to see the end of its QEMU" domain_is_off
    kill -CONT "$backup_pid"
    wait "$backup_pid" || status=$?
    case "$point" in
    libvirt-end-* | store-* | libvirt-checkpoint-*)
      # All was read and proven; that the checkpoint is lost is for the next run to find.
      assert_equal "$status" 0 "status of the backup ($(cat "$tmp/backup.log"))"
      expect_list 1
      prove_new
      ;;
    *)
      assert_equal "$status" 5 "status of the backup ($(cat "$tmp/backup.log"))"
      expect_list 0
      ;;
    esac
    tail -n 1 "$tmp/backup.log"
    start_domain
    guest_write vdb 30M 64k "$n"
    backup_again rescan '.* QEMU was not shut down cleanly; compared with'
    prove_new
    assert_small_layers 4000000
    # Those that were lost with QEMU are removed.
    assert_domain_clean 1
    echo "QEMU killed at $point: as it should be ($((SECONDS - started)) s)"
  done
  backup_again incremental
  prove_new
  prove_list
}

if [ "$1" = varve ]; then
  requires_guest
  kill_varve pull session-recorded $(failure_points libvirt-start libvirt-end libvirt-checkpoint) \
    session-started copy-disk store-before-rename run-committed
elif [ "$1" = push ]; then
  requires_guest
  kill_varve push session-recorded $(failure_points libvirt-start) session-started push-wait push-ready \
    session-copied session-closed push-adopted store-before-rename run-committed
else
  kill_qemu_of_domain
fi
assert_equal "$(ls "$TMPDIR")" '' "what is left of temporary files"
