#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# SIGKILL, and an error, at every failure point that a revert passes: what is half-written is on record and never looks
# done; whoever comes next finishes it, be it the same revert, a revert to somewhere else, the next backup or `varve
# recover`; then the disks are exact, nothing is left, and the next backup is an increment on the backup that they were
# put back to.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires qemu-img qemu-io qemu-storage-daemon python3 pgrep

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 32M

change ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $1 $(($1 % 31))M 300k" -c "write -P $1 5000 1" > "$tmp/io.log"
  qemu-io -f qcow2 "$tmp/b.qcow2" -c "write -P $1 $(($1 % 31))M 64k" -c "discard $(($1 % 16))M 64k" > "$tmp/io.log"
}

# Nobody takes it for done: all who only look tell of it, and leave it as it is.
assert_not_done ()
{
  varve recover --dry-run > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "would finish the revert to backup $one"
  varve revert "${backup_args[@]}" --from "images:$store" --dry-run "$one" > "$tmp/dry.log"
  assert_contains "$tmp/dry.log" "A revert to backup $one was cut off"
  expect_status 1 varve checkpoint check "${backup_args[@]}" --from "images:$store"
  assert_contains "$tmp/said.log" "A revert to backup $one was cut off"
  assert_equal "$(count_sessions)" 1 "records behind a look"
}

# The next backup is an increment on that one, and nothing is left of anything.
expect_put_back ()
{
  assert_disks_as "$1"
  assert_nothing_left
  change "$n"
  proved_backup > "$tmp/proved.log"
  assert_decision vda incremental "changed since backup $1"
  # Where nothing differed, an older bitmap is as good.
  assert_decision vdb incremental "changed since backup"
}

make_history

n=3
for point in $(failure_points revert) image-checkpoint-changed; do
  for action in kill error; do
    n=$((n + 1))
    # Without a backup of the present, which passes points of these names.
    if [ "$action" = kill ]; then
      kill_at "$point" revert "$one" --no-keep
    else
      status=0
      VARVE_FAILPOINT=$point:error varve revert "${backup_args[@]}" --from "images:$store" --yes "$one" --no-keep \
        > "$tmp/said.log" 2>&1 || status=$?
      assert_equal "$status" 1 "status of a revert that fails at $point"
      assert_contains "$tmp/said.log" "partly as at backup $one, and partly not: do not start it"
    fi
    assert_equal "$(count_sessions)" 1 "records behind a revert that ended at $point"
    if [ "$n" -lt 8 ]; then
      assert_not_done
    fi
    case $((n % 5)) in
    0)
      varve recover > "$tmp/recover.log"
      assert_contains "$tmp/recover.log" "finished the revert to backup $one"
      expect_put_back "$one"
      ;;
    1)
      revert "$one"
      expect_put_back "$one"
      ;;
    2)
      # Who asks for the latest backup means the one that was on its way.
      qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 77 7M 64k' > "$tmp/io.log"
      revert
      assert_contains "$tmp/revert.log" "back to backup $one$"
      expect_put_back "$one"
      ;;
    3)
      revert "$two"
      expect_put_back "$two"
      ;;
    4)
      varve backup "${backup_args[@]}" --to "images:$store" > "$tmp/backup.log"
      assert_contains "$tmp/backup.log" "finished the revert to backup $one"
      between=$(newest_backup)
      for disk in vda vdb; do
        cp "$tmp/digest.$one.$disk" "$tmp/digest.$between.$disk"
      done
      expect_put_back "$between"
      ;;
    esac
    echo "$action at $point: as it should be"
  done
done
if [ "$n" -lt 12 ]; then
  fail "only $((n - 3)) cases were found"
fi

# With the backup of the present: it is kept however the revert ends.
n=$((n + 1))
change "$n"
before=$(disks_sum)
kill_at revert-disk-done revert "$one"
kept=$(newest_backup)
varve recover > "$tmp/recover.log"
assert_disks_as "$one"
revert "$kept" --no-keep
assert_equal "$(disks_sum)" "$before" "the disks, put back to how they were before the revert that was killed"

# A disk that is half-written is not left out.
kill_at revert-disk-done revert "$one" --no-keep
expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --yes --disk vdb "$two"
assert_contains "$tmp/said.log" "Disk 'vda' of domain 'web01' is not to be put back, and is partly as at backup"
revert "$two"
assert_disks_as "$two"

# The storage daemon is killed: all bitmaps are lost, and everything is compared.
VARVE_FAILPOINT=revert-tick:stop "${varve_command[@]}" revert "${backup_args[@]}" --from "images:$store" --yes \
  --no-keep "$one" > "$tmp/stopped.log" 2>&1 &
pid=$!
cleanup_fn end_process "$pid" KILL
wait_for 120 "the revert to reach revert-tick" ended_or_stopped "$pid"
daemon=$(pgrep -x -P "$pid" qemu-storage-da)
kill -KILL "$daemon"
continue_to_end "$pid"
status=0
wait "$pid" || status=$?
if [ "$status" -eq 0 ]; then
  fail "a revert whose storage daemon was killed ended well"
fi
assert_equal "$(count_sessions)" 1 "records behind a storage daemon that was killed"
revert "$one"
assert_contains "$tmp/revert.log" 'all of it is read and compared: bitmap .* is inconsistent'
assert_disks_as "$one"
assert_nothing_left
