#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What a restore refuses, before it writes a byte; and what it writes over when it is told to, exactly: a file, and a
# block device that was full of other data.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" $((3 * 1048576 + 512))
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 1M 1M' -c 'write -P 2 31M 64k' > "$tmp/io.log"
qemu-io -f qcow2 "$tmp/b.qcow2" -c 'write -P 3 3M 512' > "$tmp/io.log"
proved_backup
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -z 1M 64k' -c 'write -P 4 5000k 512' > "$tmp/io.log"
proved_backup
expected=$(cat "$tmp/digest.$last_backup.vda")

# refused STATUS REGEX ARGUMENTS...
refused ()
{
  local status=$1 regex=$2
  shift 2
  expect_status "$status" varve restore --from "images:$store" "$@"
  assert_contains "$tmp/said.log" "$regex"
  assert_equal "$(find "$tmp" -name '*.varve-partial')" '' "what a refused restore leaves"
}

# An existing file; also where it is the second of two, and then the first is not written either.
echo precious > "$tmp/file"
refused 4 "'$tmp/file' exists already" web01@latest --disk "vda=$tmp/file"
mkdir "$tmp/out"
echo precious > "$tmp/out/vdb.raw"
refused 4 'vdb.raw. exists already' web01@latest --to "$tmp/out"
assert_equal "$(ls "$tmp/out")" vdb.raw "what was written before the refusal"
assert_equal "$(cat "$tmp/file" "$tmp/out/vdb.raw" | tr '\n' ' ')" 'precious precious ' "files that were in the way"
ln -s nowhere "$tmp/dangling"
refused 4 'a symbolic link to what is not there' web01@latest --disk "vda=$tmp/dangling"
refused 4 'neither a regular file nor a block device' web01@latest --disk "vda=$tmp/out" --force
mkfifo "$tmp/pipe"
refused 4 'neither a regular file nor a block device' web01@latest --disk "vda=$tmp/pipe" --force

# Inside the store: by its path, by another way to it, and where nothing is yet; whatever is forced.
image=$(echo "$store"/*/"$last_backup/vda.qcow2")
sum=$(cksum < "$image")
ln -s "$store" "$tmp/shortcut"
refused 4 'lies inside the store' web01@latest --disk "vda=$image" --force
refused 4 'lies inside the store' web01@latest --disk "vda=$store/new.raw"
refused 4 'lies inside the store' web01@latest --disk "vda=$tmp/shortcut/new.raw" --force
refused 4 'lies inside the store' web01@latest --to "$tmp/shortcut/deep/er"
ln -s "$image" "$tmp/innocent.raw"
refused 4 'lies inside the store' web01@latest --disk "vda=$tmp/innocent.raw" --force
assert_equal "$(cksum < "$image")" "$sum" "an image of the store"

# Names that are none.
refused 1 "has no disk 'vdx'. It has: 'vda', 'vdb'" web01@latest --disk "vdx=$tmp/new.raw"
refused 1 "has no backup '20200101T000000Z-0123456789abcdef'" 20200101T000000Z-0123456789abcdef --disk "vda=$tmp/new.raw"
refused 1 "no backup of domain 'web02'" web02@latest --disk "vda=$tmp/new.raw"
refused 1 'that old: the oldest is' web01@2001-01-01 --disk "vda=$tmp/new.raw"
refused 2 'format' web01@latest --disk "vda=$tmp/new.raw,format=floppy"
refused 2 '' web01@latest
# Two disks to one file: the second would take the first's place.
ln -s . "$tmp/here"
refused 2 'Two disks are to be restored to' web01@latest --disk "vda=$tmp/new.raw" --disk "vdb=$tmp/new.raw"
refused 2 'the same target' web01@latest --disk "vda=$tmp/new.raw" --disk "vdb=$tmp/here/new.raw" --force
refused 2 'named twice' web01@latest --disk "vda=$tmp/new.raw" --disk "vda=$tmp/new2.raw"
expect_status 1 varve restore --from "images:$tmp/out" web01@latest --disk "vda=$tmp/new.raw"
assert_contains "$tmp/said.log" 'no varve store'
assert_equal "$(find "$tmp" -name 'new*')" '' "what refused restores wrote"

# A file that a machine has in use, of either format.
make_disk "$tmp/busy.qcow2" 32M
make_disk "$tmp/busy.raw" 32M raw
start_qemu one="$tmp/busy.qcow2" two="$tmp/busy.raw"
refused 8 'in use|lock' web01@latest --disk "vda=$tmp/busy.qcow2,format=qcow2" --force
refused 8 'in use|lock' web01@latest --disk "vda=$tmp/busy.raw" --force
stop_qemu
monitor=off
# Forced over what nobody uses.
varve restore --from "images:$store" web01@latest --disk "vda=$tmp/busy.raw" --force
assert_digest "$tmp/busy.raw" raw "$expected" 'a file that was written over'
varve restore --from "images:$store" web01@latest --disk "vda=$tmp/busy.qcow2,format=qcow2" --force
assert_digest "$tmp/busy.qcow2" qcow2 "$expected" 'a file that was written over'
assert_all_exact

# A block device that is full of 0xff: every byte of it is written, zeros too.
requires_root
device_of ()
{
  truncate -s "$2" "$1"
  head -c "$2" /dev/zero | tr '\0' '\377' | dd of="$1" conv=notrunc bs=1M iflag=fullblock status=none
  device=$(losetup --find --show "$1") || skip "no loop device is to be had here"
  cleanup_fn losetup -d "$device"
}
device_of "$tmp/device" $((33 * 1048576))
refused 4 'is a block device, whose content would be lost' web01@latest --disk "vda=$device"
refused 4 "use format 'raw'" web01@latest --disk "vda=$device,format=qcow2" --force
varve restore --from "images:$store" web01@latest --disk "vda=$device" --force
head -c $((32 * 1048576)) "$device" > "$tmp/read-back.raw"
assert_digest "$tmp/read-back.raw" raw "$expected" 'the block device'
assert_equal "$(tail -c 1048576 "$device" | tr -d '\377' | wc -c)" 0 "bytes changed behind the disk's end"
# The odd size, whose last sector is half a block.
varve restore --from "images:$store" web01@latest --disk "vdb=$device" --force
head -c $((3 * 1048576 + 512)) "$device" > "$tmp/read-back.raw"
assert_digest "$tmp/read-back.raw" raw "$(cat "$tmp/digest.$last_backup.vdb")" 'the block device'
# Mounted, or too small.
mkfs.ext4 -q "$device"
mkdir "$tmp/mnt"
mount "$device" "$tmp/mnt"
cleanup_fn umount -l "$tmp/mnt"
refused 8 'in use|busy' web01@latest --disk "vda=$device" --force
umount "$tmp/mnt"
device_of "$tmp/small" $((31 * 1048576))
refused 4 "has 32505856 bytes, and disk 'vda' needs 33554432" web01@latest --disk "vda=$device" --force
