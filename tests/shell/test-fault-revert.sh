#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The image that is put back cannot be written: not at all, now and then, from some write on, or not flushed. The revert fails
# with what the storage said, the disk is on record as partly written, its backup is not deleted, and the revert again gives
# the exact disk, whose next backup is an increment. The faults are injected into the storage daemon's own system calls.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires qemu-img qemu-io qemu-storage-daemon strace pgrep
requires_root

mkdir "$tmp/disk"
disk_files=(vda="$tmp/disk/a.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/disk/a.qcow2,format=qcow2")
make_disk "$tmp/disk/a.qcow2" 64M

# All overlap, so that to put back one is to write data, and so many times that one of the storage daemon's threads, of which
# there are 64 at most, writes thrice.
change ()
{
  local i commands=()
  for ((i = 0; i < 140; i++)); do
    commands+=(-c "write -P $1 $((i * 440 + $1 * 8))k 64k")
  done
  qemu-io -f qcow2 "$tmp/disk/a.qcow2" "${commands[@]}" > "$tmp/io.log"
}

change 1
proved_backup
one=$last_backup
change 2
proved_backup

# revert_with FAULT CALLS: when all is open, and nothing is written.
revert_with ()
{
  local pid status=0
  VARVE_FAILPOINT=revert-recorded:stop "${varve_command[@]}" revert "${backup_args[@]}" --from "images:$store" --yes "$one" \
    --no-keep > "$tmp/said.log" 2>&1 &
  pid=$!
  cleanup_fn end_process "$pid" KILL
  wait_for 120 "the revert to reach its first write" ended_or_stopped "$pid"
  inject_fault "$(pgrep -P "$pid" qemu-storage)" "$1" "$tmp/disk" "$2"
  kill -CONT "$pid"
  wait "$pid" || status=$?
  end_fault
  cat "$tmp/said.log"
  assert_equal "$status" 6 "status of a revert whose image meets $1"
}

n=2
# strace counts in each thread, and each call by itself.
for fault in 'error=EIO pwrite64,pwritev' 'error=EIO:when=1 pwrite64,pwritev' 'error=ENOSPC:when=3+ pwrite64,pwritev' \
  'error=EIO fdatasync'; do
  read -r what calls <<< "$fault"
  revert_with "$what" "$calls"
  assert_contains "$tmp/said.log" "partly as at backup $one, and partly not: do not start it"
  assert_equal "$(count_sessions)" 1 "records behind a revert that met $fault"
  expect_status 8 varve delete --from "images:$store" "$one" --with-dependents
  assert_contains "$tmp/said.log" "the revert of domain 'web01' is not done with it"
  varve recover --dry-run > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "would finish the revert to backup $one"
  if [ $((n % 2)) -eq 0 ]; then
    varve recover > "$tmp/recover.log"
    assert_contains "$tmp/recover.log" "finished the revert to backup $one"
  else
    varve revert "${backup_args[@]}" --from "images:$store" --yes "$one" --no-keep > "$tmp/revert.log"
  fi
  # QEMU gives up clusters of which it could not write that they are free: they are lost, and nothing else is wrong.
  if ! qemu-img check -r leaks -f qcow2 "$tmp/disk/a.qcow2" > "$tmp/check.log" 2>&1; then
    cat "$tmp/check.log"
    fail "the image is damaged"
  fi
  assert_disks_as "$one"
  assert_nothing_left
  n=$((n + 1))
  change "$n"
  proved_backup > "$tmp/proved.log"
  assert_decision vda incremental "changed since backup $one"
  echo "$fault: as it should be"
done
assert_all_exact
