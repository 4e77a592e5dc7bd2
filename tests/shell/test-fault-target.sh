#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The store, or the target of a restore, has no room or may not be written. At whatever step it runs full: status 6, no
# half-made backup, and the chain goes on when there is room again.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires_root
requires qemu-storage-daemon qemu-io nbdkit

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
store=$tmp/full/store
small_mount "$tmp/full" 64M

dirty ()
{
  qemu-io -f qcow2 "$tmp/$1.qcow2" -c "write -P $((RANDOM % 200 + 1)) 1M $2" > "$tmp/io.log"
}

used_kib ()
{
  df --output=used -k "$tmp/full" | tail -n 1
}

dirty a 8M
dirty b 2M
proved_backup

# In the data.
dirty a 8M
resize_mount "$tmp/full" 14M
fault_backup 6 "Disk 'vda'.*No space left on device"
assert_nothing_left
assert_backups 1

# In whatever comes behind it: the last pages are short, one by one, until it fits.
dirty a 300k
dirty b 70k
before=$(used_kib)
resize_mount "$tmp/full" 64M
cp -r "$store" "$tmp/aside"
varve backup "${backup_args[@]}" --to "images:$store"
need=$(($(used_kib) - before))
assert_decision vda incremental
first=$(backup_ids | head -n 1)
varve delete --from "images:$store" "$(newest_backup)"
assert_equal "$(used_kib)" "$before" "KiB used behind the deletion"
failed=0
for short in 4 8 12 16 20 24 32 48 64 128 $((need - 8)) $((need - 4)); do
  resize_mount "$tmp/full" "$((before + need - short))k"
  fault_backup 6 'No space left on device'
  assert_nothing_left
  assert_backups 1
  failed=$((failed + 1))
done
echo "no room at $failed steps"
resize_mount "$tmp/full" 64M
proved_backup
assert_decision vda incremental "changed since backup $first"

# A store that may only be read: nothing is begun, and what it holds can be listed, verified and restored.
dirty a 1M
mount -o remount,ro "$tmp/full"
fault_backup 6 'Read-only file system'
assert_nothing_left
assert_backups 2
assert_all_exact

# The restore's target is full.
small_mount "$tmp/small" 4M
expect_status 6 varve restore --from "images:$store" "web01@latest" --disk "vda=$tmp/small/vda.raw"
assert_contains "$tmp/said.log" "'vda' .*'$tmp/small/vda.raw'.*No space left on device"
expect_status 6 varve restore --from "images:$store" "web01@latest" --disk "vda=$tmp/small/vda.qcow2,format=qcow2"
assert_contains "$tmp/said.log" 'No space left on device'
assert_equal "$(find "$tmp/small" -mindepth 1)" '' "what a failed restore leaves"
# … and with it the file that was to be replaced stays what it was.
echo precious > "$tmp/small/vda.raw"
expect_status 6 varve restore --from "images:$store" "web01@latest" --disk "vda=$tmp/small/vda.raw" --force
assert_equal "$(cat "$tmp/small/vda.raw")" precious "a file that could not be replaced"
mount -o remount,ro "$tmp/small"
expect_status 6 varve restore --from "images:$store" "web01@latest" --disk "vda=$tmp/small/vdx.raw"
assert_contains "$tmp/said.log" 'Read-only file system'

# An NBD server answers writes with errors, for as long as a file says so.
nbdkit --foreground --unix "$tmp/target.sock" --filter=error memory 64M error-pwrite=EIO error-pwrite-rate=100% \
  error-pwrite-file="$tmp/fail" &
server=$!
cleanup_fn end_process "$server"
wait_for 60 "nbdkit" test -S "$tmp/target.sock"
target="nbd+unix:///?socket=$tmp/target.sock"
touch "$tmp/fail"
expect_status 6 varve restore --from "images:$store" "web01@latest" --disk "vda=$target" --over
assert_contains "$tmp/said.log" "answered a write of .* with an error: Input/output error"
rm "$tmp/fail"
varve restore --from "images:$store" "web01@latest" --disk "vda=$target" --over > "$tmp/restore.log"
qemu-img convert -f raw -O raw "$target" "$tmp/from-server.raw"
assert_digest "$tmp/from-server.raw" raw "$(cat "$tmp/digest.$(newest_backup).vda")" "what the server has got"

mount -o remount,rw "$tmp/full"
proved_backup
assert_decision vda incremental
assert_all_exact
assert_nothing_left
