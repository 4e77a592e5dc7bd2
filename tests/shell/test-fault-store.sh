#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A store that is damaged: verify names backup, disk and place with status 7, what cannot be trusted is never built
# upon nor restored, and the next backup falls back to what is sound, for a reason that it tells.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")

dirty ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $1 $2 $3" > "$tmp/io.log"
}

# damage FILE OFFSET: one byte of it; negative: from the end. `heal` undoes the last one.
damage ()
{
  cp -a "$1" "$tmp/sound"
  damaged=$1
  python3 -c 'import os, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]), os.SEEK_END if int(sys.argv[2]) < 0 else os.SEEK_SET); at = f.tell(); b = f.read(1)[0]
    f.seek(at); f.write(bytes([b ^ 0x55]))' "$1" "$2"
}

heal ()
{
  rm -f "$damaged"
  cp -a "$tmp/sound" "$damaged"
}

# Where the layer FILE keeps the guest's OFFSET.
host_offset ()
{
  qemu-img map -f qcow2 --output=json "$1" | python3 -c 'import json, sys
wanted = int(sys.argv[1])
for e in json.load(sys.stdin):
    if e["start"] <= wanted < e["start"] + e["length"] and e["depth"] == 0:
        print(e["offset"] + wanted - e["start"])' "$2"
}

# assert_damaged BACKUP DISK REGEX: verify says so, of the store and of the backup.
assert_damaged ()
{
  local what
  for what in '' "$1"; do
    expect_status 7 varve verify --from "images:$store" $what
    assert_contains "$tmp/said.log" "backup $1, disk '$2': $3"
  done
}

dirty 1 0 8M
proved_backup
first=$last_backup
dirty 2 2M 1M
proved_backup
second=$last_backup
dirty 3 20M 1M
proved_backup
third=$last_backup
varve verify --from "images:$store"
directory=$(echo "$store"/*/"$second")

# A byte of data.
damage "$directory/vda.qcow2" "$(host_offset "$directory/vda.qcow2" $((2 << 20)))"
assert_damaged "$second" vda 'offset 2097152: [0-9]+ bytes differ from their sum'
# The newest stands on it, so it is named there too, by the chain.
expect_status 7 varve verify --from "images:$store" "$third"
varve verify --from "images:$store" "$first"
heal
# The sums themselves, in a hash and in the head.
damage "$directory/vda.sums" -8
assert_damaged "$second" vda 'The sums file .* is damaged'
heal
damage "$directory/vda.sums" 9
assert_damaged "$second" vda 'The sums file .* is damaged'
heal

# assert_not_restored BACKUP: what is seen to be damaged is not restored, and leaves no file.
assert_not_restored ()
{
  expect_status 7 varve restore --from "images:$store" "$1" --disk "vda=$tmp/never.raw"
  assert_equal "$(find "$tmp" -maxdepth 1 -name 'never.raw*')" '' "what a refused restore leaves"
}

# The newest layer is cut off: its disk goes on from the backup before it, whose bitmap is still there.
directory=$(echo "$store"/*/"$third")
cp -a "$directory/vda.qcow2" "$tmp/sound"
damaged=$directory/vda.qcow2
truncate -s -4096 "$damaged"
assert_damaged "$third" vda '.* has [0-9]+ bytes instead of'
assert_not_restored "$third"
dirty 4 30M 1M
proved_backup
assert_decision vda incremental "changed since backup $second"
assert_decision vdb incremental "changed since backup $third"
fourth=$last_backup
heal

# Another backing file in its header.
directory=$(echo "$store"/*/"$fourth")
python3 -c 'import sys
data = open(sys.argv[1], "rb").read(4096)
print(data.index(b"../") + 5)' "$directory/vda.qcow2" > "$tmp/place"
damage "$directory/vda.qcow2" "$(cat "$tmp/place")"
assert_damaged "$fourth" vda '.*header.*'
assert_not_restored "$fourth"
dirty 5 31M 1M
proved_backup
assert_decision vda incremental "changed since backup $third"
assert_decision vdb incremental "changed since backup $fourth"
fifth=$last_backup

# With it the newest, too: no bitmap is left that a sound backup belongs to.
lost=$(echo "$store"/*/"$fifth/vda.qcow2")
mv "$lost" "$tmp/lost"
assert_damaged "$fifth" vda '.* is missing'
dirty 6 32M 1M
proved_backup
assert_decision vda rescan "the image of disk 'vda' in backup $fifth is missing; compared with backup $third"
assert_decision vdb incremental "changed since backup $fifth"
sixth=$last_backup
heal
mv "$tmp/lost" "$lost"
varve verify --from "images:$store" > "$tmp/verify.log"

# A manifest that cannot be read: told by list and verify, nothing is built on its backup.
damage "$store"/*/"$sixth/manifest.xml" 20
expect_status 7 varve verify --from "images:$store"
assert_contains "$tmp/said.log" "$sixth"
expect_status 7 varve list --from "images:$store"
assert_contains "$tmp/said.log" "$sixth.*manifest"
expect_status 1 varve restore --from "images:$store" "$sixth" --disk "vda=$tmp/never.raw"
dirty 7 33M 1M
proved_backup heal
assert_decision vda incremental "changed since backup $fifth"
assert_decision vdb incremental "changed since backup $fifth"
assert_contains "$tmp/backup.log" "$sixth.*manifest"
assert_all_exact
assert_nothing_left

# The lowest layer is gone: nothing of that disk can be trusted, so it begins anew, and the other goes on.
seventh=$last_backup
rm -f "$store"/*/"$first/vda.qcow2"
assert_damaged "$first" vda '.* is missing'
assert_not_restored "$seventh"
proved_backup
assert_decision vda full "the image of disk 'vda' in backup $first is missing"
assert_decision vdb incremental "changed since backup $seventh"
eighth=$last_backup
expected=$(cat "$tmp/digest.$eighth.vda")
varve restore --from "images:$store" "$eighth" --disk "vda=$tmp/eighth.raw"
assert_digest "$tmp/eighth.raw" raw "$expected" "disk vda at backup $eighth"
