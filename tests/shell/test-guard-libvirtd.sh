#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# libvirtd is the victim: it is restarted in the middle of a backup, killed, away for too long, and killed at each step.
# The guest notices nothing; the backup goes on, or fails with a clear word; nothing is left, and the next one is
# incremental. The daemon is the test's own, in a mount name space: the host's serves others.
if [ -z "${VARVE_TEST_PRIVATE:-}" ]; then
  if [ "$(id -u)" -ne 0 ] || ! unshare --mount true; then
    echo "skipped: this needs root, and mount name spaces" >&2
    exit 77
  fi
  VARVE_TEST_PRIVATE=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon libvirtd virtlogd virsh
requires_vendors

make_libvirt_private
requires_libvirt
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
define_domain --guest 'numbers vda vdb delay=8000' libvirtd "${disk_files[@]}"
start_domain
backup_args=("$domain")
backup_job=$tmp/job.xml
write_backup_job "$backup_job" qemu:///system "$domain" '' "<speed unit='MiB'>2</speed>"
varve run "$backup_job"
before=$(libvirt_names)
backups=1

dirty ()
{
  guest fill vda offset=32M length="$1" "seed=$RANDOM"
}

# No process of ours is a child of it: it is gone when /proc says so.
kill_libvirtd ()
{
  local pid
  pid=$(cat /run/libvirtd.pid)
  kill "-$1" "$pid"
  wait_for 120 "the end of libvirtd" test ! -e "/proc/$pid"
}

session_is_over ()
{
  [ -z "$(find "$VARVE_STATE_DIR/sessions" -name '*.session')" ]
}

start_slow_backup ()
{
  dirty 16M
  "${varve_command[@]}" run "$backup_job" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the copy to begin" is_copying
  sleep 1
}

# expect_backup STATUS
expect_backup ()
{
  local status=0
  wait "$backup_pid" || status=$?
  cat "$tmp/backup.log"
  assert_equal "$status" "$1" "status of the backup"
  if [ "$status" -eq 0 ]; then
    backups=$((backups + 1))
  fi
}

assert_as_before ()
{
  assert_backups "$backups"
  assert_nothing_left_on_host
  assert_equal "$(libvirt_names)" "$before" "what is in the hypervisor"
  assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" $((backups < 2 ? backups : 2)) \
    "checkpoints kept"
}

next_backup ()
{
  varve backup "${backup_args[@]}" --to "images:$store" > "$tmp/next.log"
  backups=$((backups + 1))
  assert_decision vda incremental 'changed since backup'
  assert_decision vdb incremental 'changed since backup'
  assert_as_before
  assert_nothing_left
}

for signal in TERM KILL; do
  start_slow_backup
  kill_libvirtd "$signal"
  sleep 1
  start_libvirtd
  expect_backup 0
  assert_as_before
  echo "libvirtd restarted by SIG$signal in the copy: the backup went on"
done

# Away for longer than is waited for: the run fails, and the guard ends it when libvirtd is back.
start_slow_backup
kill_libvirtd KILL
expect_backup 5
assert_equal "$(find "$VARVE_STATE_DIR/sessions" -name '*.session' | wc -l)" 1 "sessions while libvirtd is away"
start_libvirtd
wait_for 120 "the guard to end the session" session_is_over
assert_as_before
next_backup
echo "libvirtd away for too long: ended by the guard"

job_is_over ()
{
  virsh domjobinfo "$domain" | grep -q '^Job type: *None'
}

# Killed while the worker is at a step, and back when it goes on. Without a guard: what is left is left to the next run.
for point in libvirt-start-before libvirt-start-after session-started copy-disk session-copied libvirt-end-before \
  libvirt-end-aborted run-committed; do
  dirty 1M > "$tmp/fill.log"
  start_backup_until "$point"
  # In the midst of ending a job libvirtd may forget what it had in QEMU for it (see varve-backup(1)).
  if [ "$point" = libvirt-end-aborted ]; then
    wait_for 120 "libvirt to have ended the job" job_is_over
  fi
  kill_libvirtd KILL
  start_libvirtd
  status=0
  continue_backup
  wait "$backup_pid" || status=$?
  if [ "$status" -eq 0 ]; then
    backups=$((backups + 1))
  fi
  assert_backups "$backups"
  next_backup
  echo "libvirtd killed at $point: status $status, and the next one incremental"
done

# Readers of an export session notice nothing, as they are not connected to it.
export_args=("$domain" --owner acme)
begin_export
kill_libvirtd KILL
vendor full nbd "$(export_get uri vda)" "$tmp/read.raw"
start_libvirtd
end_export --keep-checkpoint
assert_no_export_left
virsh checkpoint-delete "$domain" "$(export_get checkpoint)"
assert_as_before
echo "libvirtd killed and restarted in an export session: it went on"

guest stop
assert_guest_unhurt
backup_job=
proved_backup
assert_all_exact
