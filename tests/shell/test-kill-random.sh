#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# SIGKILL at random moments: to backups, also to several in a row, each of which ends first what the one before it left;
# to `varve recover`; and to restores. What must be true is the same as behind a kill at a failure point. With and
# without a guard. Arguments: qmp (the guest writes both disks all the time) or image; and how many rounds (10), as does
# VARVE_KILL_ROUNDS. The moments are chosen by VARVE_KILL_SEED, up to VARVE_KILL_MS of a backup: each run prints its
# own, to have them again.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires qemu-img qemu-io qemu-storage-daemon python3

driver=$1
rounds=${VARVE_KILL_ROUNDS:-${2:-10}}
seed=${VARVE_KILL_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$seed

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 24M
make_disk "$tmp/b.qcow2" 24M
if [ "$driver" = qmp ]; then
  requires_guest
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
  before=$(qemu_names)
  more_numbers 50
else
  backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
fi

# What a stopped machine wrote when it ran last, as soon as its images were free; the guest of the other needs no help.
changes=0
change ()
{
  local write
  changes=$((changes + 1))
  if [ "$driver" = image ]; then
    write="write -P $((changes % 256)) $((changes % 22))M"
    wait_for 120 "a write to vda" qemu-io -f qcow2 "$tmp/a.qcow2" -c "$write 300k"
    wait_for 120 "a write to vdb" qemu-io -f qcow2 "$tmp/b.qcow2" -c "$write 2M"
  fi
}

# The disks of a stopped machine are as they were at the last backups.
prove_stopped ()
{
  if [ "$driver" = image ]; then
    prove_new
  fi
}

assert_clean ()
{
  local spec
  if [ "$driver" = qmp ]; then
    assert_qemu_clean 2
    return
  fi
  for spec in "${disk_files[@]}"; do
    assert_image_bitmaps "${spec#*=}" 2
  done
}

# kill_within MILLISECONDS COMMAND...: of varve, which is killed at a moment within that time. $killed_status is 137, or
# 0 where it was quicker.
kill_within ()
{
  local pid moment=$((RANDOM * $1 / 32768))
  shift
  killed_status=0
  "${varve_command[@]}" "$@" > "$tmp/killed.log" 2>&1 &
  pid=$!
  sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
  kill -KILL "$pid" 2> /dev/null || killed_status=0
  { wait "$pid" || killed_status=$?; } 2> /dev/null
  story+=" $1 at $moment ms: $killed_status;"
  if [ "$killed_status" -ne 137 ] && [ "$killed_status" -ne 0 ]; then
    cat "$tmp/killed.log" >&2
    fail "status $killed_status of what was to be killed"
  fi
}

# Ends what a kill left, but with a chance of one in three is killed at that.
kill_recovery ()
{
  if [ $((RANDOM % 3)) -eq 0 ]; then
    kill_within 150 recover
    expect_list 0
  fi
}

kill_backups ()
{
  local n options
  for ((n = RANDOM % 3; n >= 0; n--)); do
    change
    options=()
    # A slow one is killed while it copies, a quick one anywhere.
    if [ $((RANDOM % 3)) -eq 0 ]; then
      options=(--speed 512K)
    fi
    kill_within $((${#options[@]} > 0 ? 3 * typical : typical)) \
      backup "${backup_args[@]}" "${options[@]}" --to "images:$store"
    if [ "$killed_status" -eq 0 ]; then
      expect_list 1
    else
      expect_list '0|1'
    fi
    prove_stopped
    kill_recovery
  done
}

# A restore of the newest backup: the file has its name when it is whole, and not before.
kill_restore ()
{
  local target=$tmp/killed.raw newest
  newest=$(tail -n 1 "$tmp/listed")
  rm -f "$target"*
  kill_within 60 restore --from "images:$store" "$newest" --disk "vda=$target"
  if [ "$killed_status" -eq 0 ] || [ -e "$target" ]; then
    mv "$target" "$target.first"
  fi
  varve restore --from "images:$store" "$newest" --disk "vda=$target" > "$tmp/restore.log"
  assert_equal "$(ls "$target"* | grep -vFx "$target.first")" "$target" "what a killed restore and the next one left"
  if [ -e "$target.first" ]; then
    cmp "$target" "$target.first"
  fi
}

change
proved_backup
expect_backup_again full 'first backup'
change
started=${EPOCHREALTIME/./}
backup_again incremental
typical=${VARVE_KILL_MS:-$(((${EPOCHREALTIME/./} - started) / 1000))}
prove_stopped
echo "VARVE_KILL_SEED=$seed VARVE_KILL_MS=$typical VARVE_KILL_ROUNDS=$rounds"

for ((round = 1; round <= rounds; round++)); do
  story=''
  if [ $((RANDOM % 2)) -eq 0 ]; then
    unset VARVE_GUARD
    story=' guarded;'
  else
    export VARVE_GUARD=none
  fi
  kill_backups
  backup_again incremental 'changed since backup'
  prove_stopped
  assert_clean
  if [ $((RANDOM % 4)) -eq 0 ]; then
    kill_restore
  fi
  echo "round $round:$story as it should be"
done

if [ "$driver" = qmp ]; then
  guest stop
  assert_guest_unhurt
  prove_list 20
else
  prove_list
fi
assert_clean
assert_equal "$(ls "$TMPDIR")" '' "what is left of temporary files"
