#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The guard is the victim: SIGKILL while its worker is at a step, and while it ends by itself what a dead worker left.
#   guard killed            another takes its place, and the backup goes on to a good end
#   worker and guard killed the next run ends what was left
#   guard killed at work    likewise
# Each time the next backup is incremental and nothing is left; in the end all are exact, and the guest has noticed
# nothing. Argument: filter, job or libvirt.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_guest
requires qemu-storage-daemon pgrep

strategy=$1
# The runs under test have a guard, which kills a worker that stands still for two seconds; those in between have none.
guard=
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 24M
make_disk "$tmp/b.qcow2" 24M
case "$strategy" in
filter)
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  points='session-guarded qmp-start-scratch qmp-start-stopped qmp-start-switched session-started copy-disk
    session-copied qmp-end-switched session-closed run-committed session-torn-down'
  guard_points='guard-recover qmp-end-exports qmp-end-switched qmp-end-nodes qmp-end-bitmaps qmp-end-scratch
    qmp-checkpoint-changed'
  ;;
job)
  start_qemu --no-id --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  points='session-guarded qmp-start-transaction copy-disk qmp-end-exports run-committed'
  guard_points='guard-recover qmp-end-exports qmp-end-switched'
  ;;
libvirt)
  requires_libvirt
  define_domain --guest 'numbers vda vdb delay=8000' victim "${disk_files[@]}"
  start_domain
  points='session-guarded libvirt-start-before libvirt-start-after copy-disk libvirt-end-before libvirt-end-aborted
    run-committed'
  guard_points='guard-recover libvirt-end-before libvirt-end-aborted libvirt-checkpoint-before
    libvirt-checkpoint-after'
  ;;
esac
if [ "$strategy" = libvirt ]; then
  backup_args=("$domain")
  before=$(libvirt_names)
else
  backup_args=(-c "qmp+unix://$qmp" vm)
  before=$(qemu_names)
fi

assert_clean ()
{
  assert_nothing_left
  if [ "$strategy" != libvirt ]; then
    assert_qemu_clean 2
    return
  fi
  assert_equal "$(virsh domstate "$domain" | head -n 1)" running "state of the domain"
  assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"
  assert_equal "$(libvirt_names)" "$before" "what is in the hypervisor"
}

# The worker stands at POINT; its guard is killed.
kill_guard_at ()
{
  start_backup_until "$1"
  kill -KILL $(guard_pid)
  wait_for 120 "the end of the guard" guard_is_gone
}

next_backup ()
{
  backup_again incremental 'changed since backup'
  assert_clean
}

more_numbers 50
# It would kill a worker that stands for as long as digests take.
guard=none proved_backup
expect_backup_again full 'first backup'
backup_again incremental

for point in $points; do
  kill_guard_at "$point"
  status=0
  continue_backup
  wait "$backup_pid" || status=$?
  assert_equal "$status" 0 "status of a backup whose guard was killed at $point"
  expect_list 1
  assert_clean
  guard_is_gone || fail "a guard is left"

  kill_guard_at "$point"
  kill -KILL "$backup_pid"
  wait "$backup_pid" 2> /dev/null || assert_equal "$?" 137 "status of the worker"
  assert_equal "$(count_sessions)" 1 "sessions that nobody guards"
  expect_list "$(is_committed_at "$point" && echo 1 || echo 0)"
  next_backup
  echo "guard killed at $point, alone and with the worker: as it should be"
done

for point in $guard_points; do
  VARVE_GUARD='' VARVE_GUARD_FAILPOINT=$point:kill kill_backup_at copy-disk
  wait_for 120 "the guard to die at $point" guard_is_gone
  assert_equal "$(count_sessions)" 1 "sessions of a guard that died at $point"
  next_backup
  echo "guard killed at its work, at $point: as it should be"
done

guest stop
assert_guest_unhurt
prove_list 20
assert_equal "$(ls "$TMPDIR")" '' "what is left of temporary files"
