#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# SIGKILL at every failure point that a backup of a running QEMU passes, while its guest writes both disks all the
# time: nothing half-made is listed, the next run (or `varve recover`) ends what was left, that run is incremental,
# every backup listed is exact, and the guest has noticed nothing. Argument: the strategy, filter, job, push, or
# fleece: a push through one.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_guest
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 24M
make_disk "$tmp/b.qcow2" 24M
if [ "$1" = filter ]; then
  points=$(failure_points session store copy qmp-start qmp-end run)
  least=28
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
elif [ "$1" = push ]; then
  points=$(echo session-{recorded,guarded,started} push-opened qmp-start-transaction push-wait push-tick push-ready
    echo session-copied qmp-end-{switched,nodes,bitmaps} session-closed push-adopted store-before-rename store-renamed
    echo run-committed)
  least=16
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
elif [ "$1" = fleece ]; then
  points=$(echo push-opened qmp-start-exported push-tick qmp-end-{exports,switched} session-closed)
  least=6
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
else
  # Without ids the drives cannot be switched to filters of ours: the backup is a job.
  points=$(echo session-started; failure_points copy qmp-end; echo qmp-start-{server,transaction,exported})
  least=11
  start_qemu --no-id --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
fi
backup_args=(-c "qmp+unix://$qmp" vm)
if [ "$1" = push ]; then
  backup_args+=(--mode push)
elif [ "$1" = fleece ]; then
  backup_args+=(--mode push --fleece)
fi
before=$(qemu_names)
more_numbers 50

# At some points the guest stands still for the instant, as the page says; at any other it runs.
assert_guest_as_documented ()
{
  case "$strategy-$1" in
  filter-qmp-start-stopped | filter-qmp-start-transaction | filter-qmp-start-switched)
    assert_guest_state paused "after a kill at $1"
    ;;
  *)
    assert_guest_state running "after a kill at $1"
    ;;
  esac
}

# What a point needs to be reached, as options of the run in $options: ticks come with a copy of seconds.
prepare_point ()
{
  options=()
  if [[ "$1" == *-tick ]]; then
    guest fill vda offset=8M length=6M "seed=$RANDOM" > "$tmp/fill.log"
    options=(--speed 2M)
  fi
}

kill_here ()
{
  local sessions=1
  prepare_point "$1"
  kill_backup_at "$1" "${options[@]}"
  assert_guest_as_documented "$1"
  if [ "$1" = store-begun ]; then
    sessions=0
  fi
  assert_equal "$(count_sessions)" "$sessions" "sessions on record after a kill at $1"
}

strategy=$1
proved_backup
expect_backup_again full 'first backup'
# Two checkpoints are kept, so that there is one to retire from the third backup on.
backup_again incremental

n=0
for point in $points; do
  started=$SECONDS
  kill_here "$point"
  n=$((n + 1))
  case "$point" in
  # Not behind a kill within the start: recovery would let the guest run, which is paused for the proof.
  copy-tick | push-tick | qmp-end-switched | session-closed | store-before-rename | run-committed)
    proved_backup > "$tmp/proved.log"
    expect_backup_again incremental 'changed since backup'
    ;;
  *)
    backup_again incremental 'changed since backup'
    ;;
  esac
  assert_qemu_clean 2
  echo "killed at $point: as it should be ($((SECONDS - started)) s)"
done
if [ "$n" -lt "$least" ]; then
  fail "only $n failure points were found"
fi

# `varve recover` in place of the next run. A dry run tells, and changes nothing.
recover_from_kill_at ()
{
  local names
  kill_here "$1"
  names=$(qemu_names)
  varve recover --dry-run > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" 'would end session [0-9a-f]+ of backup 2'
  assert_equal "$(qemu_names)" "$names" "what is in QEMU after a dry run"
  assert_equal "$(count_sessions)" 1 "sessions after a dry run"
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" ' ended session [0-9a-f]+ of backup 2'
  if is_committed_at "$1"; then
    assert_qemu_clean 3
  else
    assert_qemu_clean 2
  fi
  assert_nothing_left_on_host
  varve recover > "$tmp/recover.log"
  assert_equal "$(cat "$tmp/recover.log")" '' "what a second recovery says"
  expect_list 0
  backup_again incremental 'changed since backup'
  assert_qemu_clean 2
  echo "killed at $1, recovered by itself: as it should be"
}

if [ "$strategy" = filter ]; then
  for point in qmp-start-transaction copy-disk qmp-end-switched session-closed store-renamed; do
    recover_from_kill_at "$point"
  done
fi

guest stop
assert_guest_unhurt
prove_list 20
assert_qemu_clean 2
assert_equal "$(ls "$TMPDIR")" '' "what is left of temporary files"
