#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks of a stopped machine, of every kind of image, that go to targets of every kind instead of a store: each copy is exact,
# in full and by a checkpoint. What would be lost by it is refused; what fails or is killed leaves nothing that looks like a
# copy.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires_targets
requires_root
requires qemu-io qemu-nbd

change ()
{
  qemu-io -f "$(disk_format "$1")" "$tmp/$1" "${@:2}" > "$tmp/io.log"
}

# raw; qcow2; qcow2 with its data in another file, which ends within a cluster; on a backing chain that ends before it; LUKS.
make_disk "$tmp/raw.img" 20M raw
make_disk "$tmp/plain.qcow2" 24M
make_disk "$tmp/data.qcow2" $((8 * 1048576 + 512)) qcow2 "data_file=$tmp/data.store"
make_disk "$tmp/base.img" 10M raw
change base.img -c 'write -P 1 0 10M'
qemu-img create -q -f qcow2 -F raw -b "$tmp/base.img" "$tmp/chain.qcow2" 16M
printf secret > "$tmp/key"
chmod 0600 "$tmp/key"
patiently qemu-img create -q -f luks --object "secret,id=k,file=$tmp/key" -o key-secret=k,iter-time=10 "$tmp/luks" 6M
luks=(--object "secret,id=k,file=$tmp/key" --image-opts "driver=luks,key-secret=k,file.filename=$tmp/luks")
change raw.img -c 'write -P 2 1M 3M' -c 'write -P 3 19M 1M'
change plain.qcow2 -c 'write -P 4 0 5M' -c 'write -z 2M 1M'
change data.qcow2 -c 'write -P 5 0 1M' -c 'write -P 6 8M 512'
change chain.qcow2 -c 'write -P 7 4M 1M' -c 'write -z 6M 64k' -c 'write -P 8 15M 1M'
qemu-io "${luks[@]}" -c 'write -P 9 1M 2M' > "$tmp/io.log"

disk_files=(raw="$tmp/raw.img" plain="$tmp/plain.qcow2" data="$tmp/data.qcow2" chain="$tmp/chain.qcow2")
image_args=(--image "raw=$tmp/raw.img,format=raw" --image "plain=$tmp/plain.qcow2,format=qcow2"
  --image "data=$tmp/data.qcow2,format=qcow2" --image "chain=$tmp/chain.qcow2,format=qcow2"
  --image "luks=$tmp/luks,format=luks,key-file=$tmp/key")
backup_args=(-c image: web01 "${image_args[@]}")
mkdir "$tmp/out"

kill_backup_at ()
{
  local status=0
  start_backup_until "$1"
  kill -KILL "$backup_pid"
  wait "$backup_pid" 2> "$tmp/wait.log" || status=$?
  assert_equal "$status" 137 "status of the killed backup"
}

checkpoints ()
{
  qemu-img info -f qcow2 "$tmp/plain.qcow2" | sed -n 's/^ *name: \(varve\..*\)/\1/p' | sort
}

assert_luks_copy ()
{
  qemu-img convert "${luks[@]}" -O raw "$tmp/plain.raw"
  assert_same "$tmp/plain.raw" raw "$@"
}

# Each to another kind of target; that of qemu-nbd ends with its first client, and what is in it was something else.
truncate -s 24M "$tmp/device.img"
device=$(losetup --find --show "$tmp/device.img") || skip "no loop device is to be had here"
cleanup_fn losetup -d "$device"
dd if=/dev/urandom of="$device" bs=1M count=24 status=none
make_disk "$tmp/remote.qcow2" $((8 * 1048576 + 512))
change remote.qcow2 -c 'write -P 99 0 8M'
qemu-nbd -f qcow2 -k "$tmp/remote.sock" "$tmp/remote.qcow2" &
remote_pid=$!
cleanup_fn end_process "$remote_pid" KILL
wait_for 20 "qemu-nbd" test -S "$tmp/remote.sock"
start_server chain 16M
chain_uri=$uri
target_args=(--force --owner copies --target "raw=$tmp/out/raw.qcow2,format=qcow2" --target "plain=$device"
  --target "data=nbd+unix:///?socket=$tmp/remote.sock" --target "chain=$chain_uri" --target "luks=$tmp/out/luks.raw")
proved_copies
wait "$remote_pid"
assert_copy raw "$tmp/out/raw.qcow2" qcow2
qemu-img check -q -f qcow2 "$tmp/out/raw.qcow2"
assert_device plain "$device" 24M
assert_copy data "$tmp/remote.qcow2" qcow2
assert_copy chain "$chain_uri"
assert_luks_copy "$tmp/out/luks.raw" raw
assert_no_copy_left "$tmp/out"

# By the checkpoint, what has changed; the device has the rest already. A raw image has no checkpoint and is written in full.
since=$(checkpoints)
change plain.qcow2 -c 'write -P 10 3M 64k' -c 'discard 4M 64k' -c 'write -z 23M 64k'
change chain.qcow2 -c 'write -P 11 5M 1' -c 'write -z 0 1M'
change raw.img -c 'write -P 12 0 64k'
target_args=(--force --owner copies --incremental "$since" --target "plain=$device" --target "chain=$chain_uri"
  --target "raw=$tmp/out/raw.qcow2,format=qcow2")
# Killed in the middle, it is mended by the same once more.
kill_backup_at copy-disk-done
change plain.qcow2 -c 'write -P 14 12M 64k'
proved_copies
assert_contains "$tmp/backup.log" 'plain: incremental'
assert_contains "$tmp/backup.log" 'chain: incremental'
assert_contains "$tmp/backup.log" 'raw: full'
assert_device plain "$device" 24M
assert_copy chain "$chain_uri"
assert_copy raw "$tmp/out/raw.qcow2" qcow2

# Push: the storage daemon writes. In full, to a device that is larger and to new files; by a checkpoint, in turns with pull.
truncate -s 32M "$tmp/device.img"
losetup -c "$device"
target_args=(--force --owner copies --mode push --target "raw=$tmp/out/raw.qcow2,format=qcow2" --target "plain=$device"
  --target "data=$tmp/out/data.raw" --target "chain=$tmp/out/chain.qcow2,format=qcow2" --target "luks=$tmp/out/luks.raw")
proved_copies
assert_contains "$tmp/backup.log" 'snapshot taken \(image-push\)'
assert_copy raw "$tmp/out/raw.qcow2" qcow2
assert_device plain "$device" 24M
assert_copy data "$tmp/out/data.raw"
assert_copy chain "$tmp/out/chain.qcow2" qcow2
assert_luks_copy "$tmp/out/luks.raw" raw
assert_equal "$(stat -c '%a %U' "$tmp/out/data.raw" "$tmp/out/raw.qcow2" | sort -u)" '600 root' "rights to a copy"
assert_no_copy_left "$tmp/out"
if [ "$(du -k "$tmp/out/data.raw" | cut -f 1)" -gt 2048 ]; then
  fail "a raw copy of 1 MiB of data takes $(du -k "$tmp/out/data.raw" | cut -f 1) KiB"
fi
n=30
for mode in push pull push; do
  n=$((n + 1))
  since=$(checkpoints | tail -n 1)
  change plain.qcow2 -c "write -P $n 3M 64k" -c "write -P $n $((n - 20))M 1M" -c 'discard 9M 64k' -c 'write -z 20M 64k'
  change data.qcow2 -c "write -P $n 4M 100k" -c "write -P $n 8M 512"
  target_args=(--force --owner copies --mode "$mode" --incremental "$since" --target "plain=$device" --target "data=$tmp/out/data.raw")
  proved_copies
  assert_contains "$tmp/backup.log" 'plain: incremental'
  assert_contains "$tmp/backup.log" 'data: incremental'
  assert_device plain "$device" 24M
  assert_copy data "$tmp/out/data.raw"
done

# QEMU is kept from servers: there varve writes, and says so.
start_server push 24M
target_args=(--force --mode push --target "plain=$uri" --target "raw=$tmp/out/raw.raw")
proved_copies
assert_contains "$tmp/backup.log" "The target of disk 'plain' is an NBD server"
assert_contains "$tmp/backup.log" 'snapshot taken \(image\)'
assert_copy plain "$uri"
assert_copy raw "$tmp/out/raw.raw"
kill_server

# Compressed, and killed in the middle: the next one takes the place of what is left.
disk_files=(chain="$tmp/chain.qcow2")
target_args=(--force --mode push --compress --target "chain=$tmp/out/small.qcow2,format=qcow2")
for point in push-image-started push-ready push-adopted; do
  kill_backup_at "$point"
  if [ -e "$tmp/out/small.qcow2" ]; then
    fail "a copy that is not complete has its name"
  fi
done
proved_copies
assert_copy chain "$tmp/out/small.qcow2" qcow2
qemu-img check -q -f qcow2 "$tmp/out/small.qcow2"
assert_no_copy_left "$tmp/out"
if [ "$(du -k "$tmp/out/small.qcow2" | cut -f 1)" -gt 2048 ]; then
  fail "11 MiB of few bytes take $(du -k "$tmp/out/small.qcow2" | cut -f 1) KiB"
fi
disk_files=(raw="$tmp/raw.img" plain="$tmp/plain.qcow2" data="$tmp/data.qcow2" chain="$tmp/chain.qcow2")

# refused STATUS REGEX ARGUMENT...: and nothing has become of any file.
refused ()
{
  local status=$1 words=$2
  shift 2
  expect_status "$status" varve backup "${backup_args[@]}" "$@"
  assert_contains "$tmp/said.log" "$words"
  assert_no_copy_left "$tmp"
}

# The machine's own files, by whatever name; one that another QEMU has; a store.
ln -s "$tmp/plain.qcow2" "$tmp/out/link"
refused 4 "is disk 'plain' of the domain itself" --target "raw=$tmp/out/link" --force
refused 8 'in use by a running QEMU' --target "chain=$tmp/base.img" --force
refused 8 'in use by a running QEMU' --target "chain=$tmp/base.img" --force --mode push
refused 8 'in use by a running QEMU' --target "data=$tmp/data.store" --force
qemu-nbd -f raw -k "$tmp/used.sock" -t "$tmp/device.img" &
used_pid=$!
cleanup_fn end_process "$used_pid" KILL
wait_for 20 "qemu-nbd" test -S "$tmp/used.sock"
refused 8 'in use by a running QEMU' --target "plain=$tmp/device.img" --force
end_process "$used_pid"
varve backup "${backup_args[@]}" --disk raw --to "images:$store" > "$tmp/store.log"
refused 4 "lies inside the store '$store'" --target "raw=$store/web01.raw"

# Which disk, which target, and what to do: whoever copies.
echo precious > "$tmp/out/there"
mkdir "$tmp/out/directory"
truncate -s 4M "$tmp/short.img"
short=$(losetup --find --show "$tmp/short.img")
cleanup_fn losetup -d "$short"
small_mount "$tmp/read-only" 1M
mount -o remount,ro "$tmp/read-only"
for mode in pull push; do
  refused 4 "Disk 'raw': The target '$tmp/out/there' exists already. Name another, or use --force" \
    --target "raw=$tmp/out/there" --mode "$mode"
  refused 4 "Disk 'raw': The target '$tmp/out/directory' is neither .* Name another" \
    --target "raw=$tmp/out/directory" --force --mode "$mode"
  refused 6 "Disk 'raw': The directory of the target '$tmp/nowhere/x' is not there. Make it, or name another" \
    --target "raw=$tmp/nowhere/x" --mode "$mode"
  refused 6 "Disk 'raw': The directory of the target '$tmp/read-only/x' cannot be written; name another: Read-only" \
    --target "raw=$tmp/read-only/x" --mode "$mode"
  refused 4 "Disk 'plain': The target '$short' has 4194304 bytes, .* Name one that is large enough" \
    --target "plain=$short" --force --mode "$mode"
  refused 4 "Disk 'plain': A qcow2 image cannot be written to '$short', which is a block device: use format 'raw'" \
    --target "plain=$short,format=qcow2" --force --mode "$mode"
  refused 2 "The target's format is 'vmdk': it can be 'raw' or 'qcow2'" --target "raw=$tmp/out/x,format=vmdk" --mode "$mode"
  refused 6 "Disk 'raw' .* its target, which must be an NBD export that can be reached and written: .*$tmp/nowhere.sock" \
    --target "raw=nbd+unix:///x?socket=$tmp/nowhere.sock" --force --mode "$mode"
  refused 2 "'http://host/x' of disk 'raw' is neither a path nor the URI of an NBD export" \
    --target "raw=http://host/x" --mode "$mode"
done
assert_equal "$(cat "$tmp/out/there")" precious "a target that was refused"
rm -r "$tmp/out/there" "$tmp/out/directory"

# What makes no sense.
refused 4 'use format .raw.' --target "plain=$device,format=qcow2" --force
refused 4 'a block device, whose content would be lost' --target "plain=$device"
refused 2 'the same target' --target "raw=$tmp/out/x" --target "plain=$tmp/out/./x"
refused 2 "the target of disk 'raw' is raw" --target "raw=$tmp/out/x" --mode push --compress
refused 2 'no sums that anything could be verified by' --target "raw=$tmp/out/x" --mode push --no-verify
refused 2 'each that is backed up needs one' --target "raw=$tmp/out/x" --disk plain
refused 2 'Name one domain, and either a store' --target "raw=$tmp/out/x" --to "images:$store"
refused 2 'key-file= has no meaning' --target "raw=$tmp/out/x,key-file=$tmp/key"
refused 4 "has 16777216 bytes .* Name one that has room for it" --target "raw=$chain_uri" --force

# No room: nothing is left, and what was there stays.
small_mount "$tmp/small" 2M
mkdir "$tmp/small/out"
echo precious > "$tmp/small/out/raw"
refused 6 'No space left' --target "raw=$tmp/small/out/raw" --force
refused 6 'No space left' --target "plain=$tmp/small/out/plain,format=qcow2"
refused 6 'No space left' --target "raw=$tmp/small/out/raw" --force --mode push
refused 6 'No space left' --target "plain=$tmp/small/out/plain,format=qcow2" --mode push
assert_equal "$(cat "$tmp/small/out/raw")" precious "a file that could not be replaced"

# Killed: there is no copy until all of it is there, and the next one takes the place of what is left.
target_args=(--force --owner copies --target "plain=$tmp/out/killed.raw")
disk_files=(plain="$tmp/plain.qcow2")
for point in copy-disk-done run-before-commit run-committed; do
  kill_backup_at "$point"
  if [ -e "$tmp/out/killed.raw" ] && [ "$point" != run-committed ]; then
    fail "a copy that is not complete has its name"
  fi
done
assert_same "$tmp/plain.qcow2" qcow2 "$tmp/out/killed.raw" raw
change plain.qcow2 -c 'write -P 13 10M 64k'
proved_copies
assert_copy plain "$tmp/out/killed.raw"
assert_no_copy_left "$tmp/out"
assert_equal "$(checkpoints | wc -l)" 2 "checkpoints kept"
