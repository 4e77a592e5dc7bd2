#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# SIGKILL, and an error, in a restore: no file has its name before it is complete, an older one is kept, the next restore to
# the same target is exact and leaves nothing beside it, and the store is as it was.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires qemu-img qemu-io qemu-storage-daemon python3

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 8M
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 1M 6M' > "$tmp/io.log"
qemu-io -f qcow2 "$tmp/b.qcow2" -c 'write -P 2 0 3M' > "$tmp/io.log"
backup_again full
prove_new
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 3 5000k 1k' -c 'write -z 2M 1M' > "$tmp/io.log"
backup_again incremental
prove_new
backup=$(tail -n 1 "$tmp/listed")
store_sum ()
{
  find "$store" -type f -print0 | sort -z | xargs -0 b2sum | b2sum
}
sum=$(store_sum)

# assert_target FORMAT: it is disk vda, and nothing is beside it.
assert_target ()
{
  assert_digest "$target" "$1" "$(cat "$tmp/digest.$backup.vda")" "disk vda at backup $backup"
  assert_equal "$(find "$tmp" -name '*.varve-partial')" '' "what the restore left beside $target"
}

restore ()
{
  varve restore --from "images:$store" "$backup" "$@" > "$tmp/restore.log"
}

# fail_at POINT ARGUMENT...: it says so, and leaves nothing that was not there.
fail_at ()
{
  local before
  before=$(find "$tmp" -name "${target##*/}*" -exec b2sum {} +)
  VARVE_FAILPOINT=$1:error expect_status 1 varve restore --from "images:$store" "$backup" "${@:2}"
  assert_contains "$tmp/said.log" "The failure point '$1' was reached"
  assert_equal "$(find "$tmp" -name "${target##*/}*" -exec b2sum {} +)" "$before" "what a restore that failed at $1 left"
}

for point in $(failure_points restore); do
  for format in raw qcow2; do
    target=$tmp/$point.$format
    fail_at "$point" --disk "vda=$target,format=$format"
    kill_at "$point" restore --disk "vda=$target,format=$format"
    assert_equal "$(ls "$target"*)" "$target.varve-partial" "what a restore killed at $point left"
    restore --disk "vda=$target,format=$format"
    assert_target "$format"
    # Over an older file, which is another disk.
    qemu-img convert -O "$format" "$tmp/b.qcow2" "$target"
    older=$(b2sum < "$target")
    fail_at "$point" --disk "vda=$target,format=$format" --force
    kill_at "$point" restore --disk "vda=$target,format=$format" --force
    assert_equal "$(b2sum < "$target")" "$older" "the older file behind a kill at $point"
    restore --disk "vda=$target,format=$format" --force
    assert_target "$format"
  done

  # A directory: the disk that was on its way has no name yet, and nothing is in the way of doing it again.
  target=$tmp/$point/vda.raw
  kill_at "$point" restore --to "$tmp/$point"
  assert_equal "$(ls "$tmp/$point")" vda.raw.varve-partial "what a restore killed at $point left"
  restore --to "$tmp/$point"
  assert_target raw
  assert_digest "$tmp/$point/vdb.raw" raw "$(cat "$tmp/digest.$backup.vdb")" "disk vdb at backup $backup"
  echo "restore killed, and failed, at $point: as it should be"
done

assert_equal "$(store_sum)" "$sum" "what is in the store"
assert_nothing_left
prove_list

# A device is partly written, and has no name to be withheld: restored again, it is exact.
requires_root
truncate -s 16M "$tmp/device"
target=$(losetup --find --show "$tmp/device") || skip "no loop device is to be had here"
cleanup_fn losetup -d "$target"
kill_at restore-copied restore --disk "vda=$target" --force
VARVE_FAILPOINT=restore-copied:error expect_status 1 varve restore --from "images:$store" "$backup" --disk "vda=$target" --force
restore --disk "vda=$target" --force
assert_target raw
