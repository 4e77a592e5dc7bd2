#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The guard of a session: the worker is killed or stopped while the guest writes, and within the guard's bound nothing
# of the session is left, without any other varve being run. The guest has seen no error and no stall beyond the bound,
# what is in the hypervisor is as before, and the next backup is incremental and exact. Then the guard is the victim.
# Argument: filter, job or libvirt.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

strategy=$1
# What the manual promises, in seconds: from the worker's death or standstill to the end of the session.
bound=5
guard=
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 128M
make_disk "$tmp/b.qcow2" 64M
small_mount "$tmp/scratch" 300M
if [ "$strategy" = libvirt ]; then
  requires_libvirt
  define_domain --guest 'numbers vda vdb delay=8000' guard "${disk_files[@]}"
  start_domain
  # Where QEMU's user may write.
  chown libvirt-qemu: "$tmp/scratch"
  uri=qemu:///system
  name=$domain
  backup_args=("$domain")
else
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  uri=qmp+unix://$qmp
  name=vm
  backup_args=(-c "$uri" vm)
fi
pause=$([ "$strategy" = job ] && echo never || echo brief)
write_backup_job "$tmp/job.xml" "$uri" "$name" '' "<scratch directory='$tmp/scratch'/>" \
  "<guard scratch-limit='280' unit='MiB' pause='$pause'/>" "<speed unit='MiB'>2</speed>"

# What is in the hypervisor, but for the checkpoints that are kept.
names ()
{
  if [ "$strategy" = libvirt ]; then
    libvirt_names
  else
    qemu_names | sed -E "/^bitmaps/s/\('[^']*', 'varve\.[^']*'\)(, )?//g"
  fi
}

count_sessions ()
{
  find "$VARVE_STATE_DIR/sessions" -name '*.session' | wc -l
}

session_is_over ()
{
  [ "$(count_sessions)" = 0 ] && [ -z "$(find "$VARVE_STATE_DIR/sockets" "$tmp/scratch" -mindepth 1)" ]
}

# Nothing of it is left but the record, with the tentative checkpoint.
snapshot_is_over ()
{
  [ "$(names)" = "$before" ] && [ -z "$(find "$tmp/scratch" -mindepth 1)" ]
}

# Starts a backup that takes long enough; $backup_pid. Arguments are set in its environment.
start_slow_backup ()
{
  guest fill vda offset=32M length=16M "seed=$RANDOM"
  env "$@" "${varve_command[@]}" run "$tmp/job.xml" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the copy to begin" is_copying
}

# expect_end [STATUS]: the session ends by itself within the bound of now, and then all is as it was.
expect_end ()
{
  local started status=0
  started=$(date +%s%N)
  wait_for "$bound" "the guard to end the session" session_is_over
  took=$((($(date +%s%N) - started) / 1000000))
  wait "$backup_pid" 2> /dev/null || status=$?
  assert_equal "$status" "${1:-137}" "status of the worker"
  assert_as_before
}

assert_as_before ()
{
  assert_equal "$(names)" "$before" "what is in the hypervisor"
  assert_nothing_left_on_host
  assert_equal "$(qmp_status)" running "state of the guest"
}

qmp_status ()
{
  if [ "$strategy" = libvirt ]; then
    virsh domstate "$domain" | head -n 1
  else
    qmp query-status | sed 's/.*"status": "\([a-z-]*\)".*/\1/'
  fi
}

# next_backup: goes well, increments on the last good one.
next_backup ()
{
  varve backup "${backup_args[@]}" --to "images:$store" > "$tmp/next.log"
  backups=$((backups + 1))
  assert_backups "$backups"
  assert_decision vda incremental 'changed since backup'
  assert_nothing_left
  assert_as_before
}

say ()
{
  echo "$*: as it should be${took:+ ($took ms)}"
}

varve run "$tmp/job.xml"
backups=1
watch_stalls
before=$(names)

start_slow_backup
sleep 1
kill -KILL "$backup_pid"
expect_end
assert_contains "$tmp/backup.log" "varve-guard: The worker \(pid $backup_pid\) of session [0-9a-f]{16} has died"
say "worker killed in the copy"

start_slow_backup
kill -STOP "$backup_pid"
expect_end
assert_contains "$tmp/backup.log" 'varve-guard: The worker .* was stopped, and has been killed'
say "worker stopped in the copy"
next_backup

# The guest runs into full scratch: QEMU pauses it, save for the filter. Room is made by what is written over.
fill_scratch ()
{
  resize_mount "$tmp/scratch" 8M
  guest fill vda offset=64M length=32M "seed=$RANDOM"
}

has_stalled ()
{
  tail -n "+$((stalls + 1))" "$tmp/stalls" | grep stop
}

# It stood still, as it had to, and went on within the bound.
expect_stall ()
{
  if [ "$strategy" != filter ]; then
    wait_for 60 "the guest to be paused by full scratch" has_stalled
  fi
  wait_for 60 "the guest to go on" stalls_are_over
  tail -n "+$((stalls + 1))" "$tmp/stalls" > "$tmp/stalls.new"
  stalls=$(wc -l < "$tmp/stalls")
  took=$("$shell_dir/stalls.py" longest "$tmp/stalls.new")
  if [ "$took" -gt $((bound * 1000)) ]; then
    fail "the guest stood still for $took ms"
  fi
}

stalls=$(wc -l < "$tmp/stalls")
guest fill vda offset=64M length=32M seed=3
start_slow_backup
kill -STOP "$backup_pid"
fill_scratch
expect_end
resize_mount "$tmp/scratch" 300M
expect_stall
say "worker stopped, scratch full, stall of the guest"

# Nobody reads what the worker says, so that its main thread hangs: its watch ends the snapshot all the same. (A filter
# needs no help.)
hang ()
{
  local reader status=0
  mkfifo "$tmp/unread"
  python3 -c '
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
os.write(fd, b" " * 2000)
time.sleep(120)' "$tmp/unread" &
  reader=$!
  cleanup_fn end_process "$reader" KILL
  guest fill vda offset=32M length=16M "seed=$RANDOM"
  "${varve_command[@]}" run --json "$tmp/job.xml" > "$tmp/unread" 2> "$tmp/backup.log" &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the copy to begin" is_copying
  sleep 3
  fill_scratch
  wait_for "$bound" "the end of the snapshot" snapshot_is_over
  assert_equal "$(process_state "$backup_pid")" S "state of the worker"
  end_process "$reader" KILL
  wait_for 120 "the worker to end the session" session_is_over
  wait "$backup_pid" || status=$?
  assert_equal "$status" 6 "status of the worker"
  assert_as_before
  resize_mount "$tmp/scratch" 300M
  expect_stall
  say "worker hangs, scratch full, stall of the guest"
}

if [ "$strategy" != filter ]; then
  hang
fi

# The worker is well: it gives up in time, and says why.
give_up ()
{
  local status=0
  wait "$backup_pid" || status=$?
  assert_equal "$status" 6 "status of the backup"
  assert_contains "$tmp/backup.log" "$1"
  assert_as_before
  resize_mount "$tmp/scratch" 300M
  expect_stall
}
start_slow_backup
fill_scratch
give_up '[Ss]cratch'
say "scratch full, stall of the guest"
next_backup

# Whoever comes at once waits for the guard, or is quicker.
start_slow_backup
kill -KILL "$backup_pid"
took=
next_backup
say "next run right behind a kill"

# Points at which the guest stands still, and others.
points='session-guarded session-started session-copied session-closed run-committed'
case "$strategy" in
filter) points+=' qmp-start-stopped qmp-start-switched qmp-end-switched' ;;
job) points+=' qmp-start-transaction qmp-end-exports' ;;
libvirt) points+=' libvirt-start-after libvirt-end-aborted' ;;
esac
for point in $points; do
  status=0
  { VARVE_FAILPOINT=$point:kill varve run "$tmp/job.xml" > "$tmp/backup.log" 2>&1; } 2> /dev/null || status=$?
  assert_equal "$status" 137 "status of a run that is killed at $point"
  backup_pid=$$
  started=$(date +%s%N)
  wait_for "$bound" "the guard to end what was killed at $point" session_is_over
  took=$((($(date +%s%N) - started) / 1000000))
  assert_as_before
  if [ "$point" = run-committed ]; then
    backups=$((backups + 1))
  fi
  assert_backups "$backups"
  say "worker killed at $point"
done
if [ "$strategy" = filter ]; then
  VARVE_FAILPOINT=qmp-start-switched:stop "${varve_command[@]}" run "$tmp/job.xml" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the worker to stop while the guest stands" is_stopped "$backup_pid"
  expect_end
  say "worker stopped while the guest stands"
fi
next_backup

# A worker that owes nothing any more may stand as long as it likes.
start_backup_until run-before-commit
sleep 4
finish_backup
backups=$((backups + 1))
assert_backups "$backups"
took=
say "worker stopped behind the snapshot"

# The guard is the victim: another takes its place, and the run goes on.
start_slow_backup
victim=$(guard_pid)
kill -KILL "$victim"
wait_for 120 "another guard" guard_is_there
wait_for 120 "the end of the backup" session_is_over
wait "$backup_pid"
backups=$((backups + 1))
assert_backups "$backups"
assert_as_before
took=
say "guard killed"

# Both at once, and a guard that dies at its work: the next run does it.
start_slow_backup
victim=$(guard_pid)
kill -STOP "$backup_pid"
kill -KILL "$victim"
kill -KILL "$backup_pid"
wait "$backup_pid" 2> /dev/null || assert_equal "$?" 137 "status of the worker"
sleep 0.5
assert_equal "$(count_sessions)" 1 "sessions that nobody guards"
next_backup
say "worker and guard killed"

case "$strategy" in
libvirt) point=libvirt-end-aborted ;;
*) point=qmp-end-exports ;;
esac
start_slow_backup VARVE_GUARD_FAILPOINT=$point:kill
kill -KILL "$backup_pid"
wait "$backup_pid" 2> /dev/null || assert_equal "$?" 137 "status of the worker"
wait_for "$bound" "the guard to die at its work" guard_is_gone
assert_equal "$(count_sessions)" 1 "sessions that a guard left half ended"
next_backup
say "worker killed, guard killed at its work"

guest stop
assert_guest_unhurt $((bound * 1000))
assert_stalls $((bound * 1000))
guard=none
proved_backup
assert_all_exact
