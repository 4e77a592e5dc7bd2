#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Bitmaps that are not as varve left them: of another granularity, removed, disabled, another tool's, another store's, on
# a copy of the image; and an image that was written to behind QEMU. None of it fails, and none of it is believed.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2")
make_disk "$tmp/a.qcow2" 16M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 16M' > "$tmp/io.log"

start ()
{
  start_qemu "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
}

# bitmap ACTION NAME [MORE]
bitmap ()
{
  qmp "block-dirty-bitmap-$1" "{\"node\": \"fmt-vda\", \"name\": \"$2\"${3:+, $3}}" > /dev/null
}

our_bitmaps ()
{
  qemu_names | grep -o "varve\.varve-[^']*" | sort
}

# assert_foreign NAME...: what others put on the disk is as they left it.
assert_foreign ()
{
  assert_equal "$(qemu_names | grep -oE "'(foreign|varve.somebody|other-tool.1)'" | sort | tr -d "'" | tr '\n' ' ')" "$* " \
    "bitmaps of others"
}

start
bitmap add foreign '"persistent": true'
bitmap add "varve.somebody" '"persistent": true, "disabled": true'
bitmap add other-tool.1 '"granularity": 4096'
proved_backup
# Ours, of 4 KiB, and of 1 MiB.
for granularity in 4096 1048576; do
  name=$(our_bitmaps | grep "\.$(newest_backup)\.")
  bitmap remove "$name"
  bitmap add "$name" "\"persistent\": true, \"granularity\": $granularity"
  guest_write vda $((3 * 65536 + 4096)) 4k 2
  guest_write vda $((9 * 65536 - 512)) 1k 3
  guest_write vda $((16 * 1048576 - 512)) 512 "$((granularity % 251))"
  proved_backup guest_write vda $((3 * 65536)) 4k 4
  assert_decision vda incremental 'changed since'
done
assert_foreign foreign other-tool.1 varve.somebody
name=$(our_bitmaps | grep "\.$(newest_backup)\.")
stop_qemu
monitor=off
# The same on the stopped image, whose bitmap is exported as it is.
qemu-img bitmap --remove -f qcow2 "$tmp/a.qcow2" "$name"
qemu-img bitmap --add -g 4096 -f qcow2 "$tmp/a.qcow2" "$name"
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 5 204800 4k' -c 'write -P 6 5000k 1k' -c 'discard 8M 12k' > "$tmp/io.log"
backup_args+=(--image "vda=$tmp/a.qcow2,format=qcow2")
proved_backup
assert_decision vda incremental 'changed since'

# Two stores in turn, each with increments of its own.
start
two=$tmp/two
for n in 1 2 3; do
  guest_write vda "$n"M 64k $((20 + n))
  varve backup "${backup_args[@]}" --to "images:$two"
  store=$two assert_decision vda "$([ "$n" = 1 ] && echo full || echo incremental)"
  digest "$tmp/a.qcow2" qcow2 > "$tmp/two.$(store=$two newest_backup)"
  guest_write vda "$n"M 4k $((30 + n))
  proved_backup
  assert_decision vda incremental "changed since backup $(backup_ids | tail -n 2 | head -n 1)"
done
for id in $(store=$two backup_ids); do
  varve restore --from "images:$two" "$id" --disk "vda=$tmp/two.raw" --force > "$tmp/restore.log"
  assert_digest "$tmp/two.raw" raw "$(cat "$tmp/two.$id")" "backup $id of the second store"
done
varve verify --from "images:$two" > "$tmp/verify.log"

# Disabled: it has not recorded all. Then removed.
for name in $(our_bitmaps); do
  bitmap disable "$name"
done
guest_write vda 10M 64k 40
proved_backup
assert_decision vda rescan 'bitmap .* is disabled and has not recorded every write; compared with backup'
for name in $(our_bitmaps); do
  bitmap remove "$name"
done
guest_write vda 11M 64k 41
proved_backup
assert_decision vda rescan "the disk has no bitmap of owner 'varve-[0-9a-f]*'.*; compared with backup"
guest_write vda 12M 64k 42
proved_backup
assert_decision vda incremental
assert_foreign foreign varve.somebody

# A copy of the image under another name, while the original goes on.
stop_qemu
cp "$tmp/a.qcow2" "$tmp/copy.qcow2"
start
guest_write vda 13M 64k 43
proved_backup
assert_decision vda incremental
assert_all_exact
start_qemu --name clone vda="$tmp/copy.qcow2"
guest_write vda 1M 64k 50
expected=$(digest "$tmp/copy.qcow2" qcow2)
varve backup -c "qmp+unix://$qmp" clone --to "images:$store"
assert_decision vda full "the image is a copy: its bitmap belongs to a backup of domain 'vm'"
varve restore --from "images:$store" clone@latest --disk "vda=$tmp/clone.raw" > "$tmp/restore.log"
assert_digest "$tmp/clone.raw" raw "$expected" 'the copy'
guest_write vda 2M 64k 51
expected=$(digest "$tmp/copy.qcow2" qcow2)
varve backup -c "qmp+unix://$qmp" clone --to "images:$store"
assert_decision vda incremental
varve restore --from "images:$store" clone@latest --disk "vda=$tmp/clone.raw" --force > "$tmp/restore.log"
assert_digest "$tmp/clone.raw" raw "$expected" 'the copy'
stop_qemu

# Written to behind QEMU, where its bitmaps do not see it: the clean sample does.
monitor=off
write_behind_qemu "$tmp/copy.qcow2"
expected=$(digest "$tmp/copy.qcow2" qcow2)
varve backup -c "qmp+unix://$qmp" clone --image "vda=$tmp/copy.qcow2,format=qcow2" --to "images:$store"
assert_decision vda rescan 'the bitmap calls offset [0-9]+ unchanged, and it differs from the base; compared with backup'
varve restore --from "images:$store" clone@latest --disk "vda=$tmp/clone.raw" --force > "$tmp/restore.log"
assert_digest "$tmp/clone.raw" raw "$expected" 'the image that was written behind QEMU'
assert_nothing_left
