#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A stopped machine, two disks, whose layers a storage daemon writes itself: full and increments, each exact, and pull
# and push by turns. A disk with a backing chain, one whose data lies in a file of its own, an encrypted and a raw one.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon python3 xmllint

requires_root

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
images=(--image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")

use ()
{
  backup_args=(-c image: web01 "${images[@]}" --mode "$@")
}

change ()
{
  qemu-io -f qcow2 "$tmp/$1.qcow2" "${@:2}" > "$tmp/io.log"
}

# another FILE FORMAT: from here on this is the disk, and the store is one of its own.
another ()
{
  images=(--image "vda=$1,format=$2")
  disk_files=(vda="$1")
  store=$tmp/store-${1##*/}
  proof_count=0
  rm -f "$tmp"/digest.2*
}

# vda has a backing chain, vdb its data in another file.
make_disk "$tmp/base.qcow2" 200M
change base -c 'write -P 9 150M 3M'
qemu-img create -q -f qcow2 -F qcow2 -b "$tmp/base.qcow2" "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 100M qcow2 "data_file=$tmp/b.data"
change a -c 'write -P 1 0 20M' -c 'write -z 30M 2M' -c 'write -P 2 255M 1M'
change b -c 'write -P 3 1000 70000'
use push
proved_backup
assert_contains "$tmp/backup.log" 'snapshot taken \(image-push\)'
assert_decision vda full 'first backup'
assert_decision vdb full 'first backup'

modes=(push pull push)
# Under valgrind, where a run takes half a minute, an increment says all that there is to say.
if [ -n "${VARVE_VALGRIND:-}" ]; then
  modes=(push)
fi
for mode in "${modes[@]}"; do
  last=$last_backup
  change a -c "write -P $((proof_count + 3)) 5M 100k" -c 'discard 10M 4M' -c 'write -P 5 100M 1' -c 'write -z 151M 64k'
  change b -c 'write -z 0 128k' -c "write -P $proof_count 99M 1M"
  use "$mode"
  proved_backup
  assert_decision vda incremental "changed since backup $last"
  assert_decision vdb incremental "changed since backup $last"
done

if [ -n "${VARVE_VALGRIND:-}" ]; then
  varve verify --from "images:$store"
  assert_nothing_left
  exit 0
fi

# Slow, and killed in the middle: the daemon goes with it, and the next run is an increment.
change a -c 'write -P 77 20M 30M'
use push --speed 4M
status=0
start_backup_until push-tick
kill -KILL "$backup_pid"
wait "$backup_pid" 2> "$tmp/wait.log" || status=$?
assert_equal "$status" 137 "status of the killed backup"
use push
proved_backup
assert_decision vda incremental "changed since backup"

assert_all_exact
assert_nothing_left
assert_equal "$(qemu-img info -f qcow2 "$tmp/a.qcow2" | grep -c 'name: varve\.')" 2 "checkpoints kept"

# A disk that holds no bitmaps is full each time, and an encrypted one is pushed as its guest sees it.
another "$tmp/r.raw" raw
make_disk "$tmp/r.raw" 20M raw
qemu-io -f raw "$tmp/r.raw" -c 'write -P 4 1M 3M' > "$tmp/io.log"
use push
proved_backup
proved_backup
assert_decision vda full '.*a push does not compare'
assert_all_exact

printf secret > "$tmp/key"
qemu-img create -q -f luks --object "secret,id=k,file=$tmp/key" -o key-secret=k,iter-time=10 "$tmp/l.luks" 20M
qemu-io --object "secret,id=k,file=$tmp/key" --image-opts "driver=luks,key-secret=k,file.filename=$tmp/l.luks" \
  -c 'write -P 4 1M 3M' > "$tmp/io.log"
varve backup -c image: secret --image "vda=$tmp/l.luks,format=luks,key-file=$tmp/key" --mode push --to "images:$store"
varve restore --from "images:$store" secret@latest --disk "vda=$tmp/l.raw"
qemu-img compare -q --object "secret,id=k,file=$tmp/key" --image-opts \
  "driver=luks,key-secret=k,file.filename=$tmp/l.luks" "driver=raw,file.filename=$tmp/l.raw"

# Compressed: what the storage daemon wrote takes less room, and is as exact; an increment on it, too.
another "$tmp/c.qcow2" qcow2
qemu-img create -q -f qcow2 "$tmp/c.qcow2" 20M
change c -c 'write -P 4 1M 15M'
use push --compress
proved_backup
change c -c 'write -P 5 2M 3M'
proved_backup
assert_decision vda incremental
assert_all_exact
size=$(du -k "$store"/web01-*/2*/vda.qcow2 | awk '{ n += $1 } END { print n }')
if [ "$size" -gt 4096 ]; then
  fail "18 MiB of one byte took $size KiB"
fi

# Not read back: it has no sums, and says so; the next increment does not mind.
another "$tmp/n.qcow2" qcow2
qemu-img create -q -f qcow2 "$tmp/n.qcow2" 20M
change n -c 'write -P 4 1M 3M'
use push --no-verify
proved_backup
varve list --from "images:$store" > "$tmp/list.log"
assert_contains "$tmp/list.log" 'vda full \(no sums\)'
expect_status 7 varve verify --from "images:$store"
assert_contains "$tmp/said.log" 'has no sums'
varve delete --from "images:$store" "$last_backup"
rm -f "$tmp"/digest.2*
proof_count=0
use push
proved_backup
change n -c 'write -P 6 1M 1M'
proved_backup
assert_decision vda incremental
assert_all_exact
store=$tmp/store-r.raw

# What QEMU wrote is held against its sums like any other layer.
chmod 0600 "$store"/secret-*/2*/vda.qcow2
qemu-io -f qcow2 "$store"/secret-*/2*/vda.qcow2 -c 'write -P 5 2M 64k' > "$tmp/io.log"
expect_status 7 varve verify --from "images:$store" secret@latest
assert_contains "$tmp/said.log" 'differ from their sum'
