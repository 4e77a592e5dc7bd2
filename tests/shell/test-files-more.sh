#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Files out of a backup where no operating system tells of file systems, to stdout, over what exists; what there is, in
# words; a journal that is replayed; an end that comes early; a damaged superblock. The same by guestfish and guestmount.
# A boot of the appliance each.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-files.sh"
requires qemu-img python3 mke2fs debugfs sfdisk mkfs.xfs guestfish guestmount guestunmount
requires_appliance

make_tree "$tmp/system/top"
mkdir -p "$tmp/data/below"
seq 1000 > "$tmp/data/below/numbers"
make_system "$tmp/a.raw" 64 "$tmp/system"
make_xfs "$tmp/b.raw" "$tmp/data"
truncate -s 8M "$tmp/c.raw"
from=(--from "images:$store")
images=()
for disk in a b c; do
  images+=(--image "disk$((16#$disk - 10))=$tmp/$disk.raw,format=raw")
done
varve backup -c image: web01 "${images[@]}" --to "images:$store"

# said STATUS REGEX ARGUMENT...
said ()
{
  expect_status "$1" varve files "${from[@]}" web01@latest "${@:3}"
  assert_contains "$tmp/said.log" "$2"
}

# What there is. The name of a disk that ends with a number keeps that of a partition apart.
said 0 '^disk0  64.0 MiB'
assert_contains "$tmp/said.log" '^  disk0p1 +ext4 +63.0 MiB  label system$'
assert_contains "$tmp/said.log" '^  disk1 +xfs +320.0 MiB  label data$'
assert_contains "$tmp/said.log" '^  no file system|^  disk2 +unknown'

# Which file system.
said 2 'name one of them by --filesystem: .*disk0p1 \(ext4\)' /top
said 1 "no file system 'disk9', but" /top --filesystem disk9
said 1 'no file system that can be read' --disk disk2 /top
said 0 ' 1048576 .* known$' --disk disk0 /top
varve files "${from[@]}" web01@latest --filesystem disk1 /below/numbers --to - > "$tmp/stream"
cmp "$tmp/data/below/numbers" "$tmp/stream"

# To stdout, behind what is there; over what exists.
mkdir "$tmp/top"
varve files "${from[@]}" web01@latest --disk disk0 /top --to - | tar -C "$tmp/top" -x
"$shell_dir/same-tree.py" "$tmp/system/top" "$tmp/top"
echo other > "$tmp/top/numbers"
rm -r "$tmp/top/sub"
varve files "${from[@]}" web01@latest --disk disk0 /top --to "$tmp" --force
"$shell_dir/same-tree.py" "$tmp/system/top" "$tmp/top"
rm -r "$tmp/top"
{
  echo before
  varve files "${from[@]}" web01@latest --filesystem disk1 /below/numbers --to -
} > "$tmp/stream"
cmp <(echo before; cat "$tmp/data/below/numbers") "$tmp/stream"

# An early end leaves nothing behind.
"${varve_command[@]}" files "${from[@]}" web01@latest --disk disk0 /top --to "$tmp" > "$tmp/early.log" 2>&1 &
early=$!
nap 2
kill -TERM "$early"
status=0
wait "$early" || status=$?
assert_equal "$status" 143 "status of what was ended"
if [ -e "$tmp/top" ]; then
  fail "what was ended left its target"
fi

# By other programs.
varve serve "${from[@]}" web01@latest --socket "$tmp/web01.sock" --pid-file "$tmp/serve.pid" > "$tmp/serve.log" 2>&1 &
cleanup_fn end_process $!
wait_for 60 "nbdkit" test -s "$tmp/serve.pid"
guestfish --ro --format=raw -a "nbd:///disk0?socket=$tmp/web01.sock" -m /dev/sda1 download /top/numbers "$tmp/fished"
cmp "$tmp/system/top/numbers" "$tmp/fished"
if [ -w /dev/fuse ]; then
  mkdir "$tmp/mount"
  guestmount --ro --format=raw -a "nbd:///disk0?socket=$tmp/web01.sock" -m /dev/sda1 "$tmp/mount"
  cleanup_fn guestunmount --quiet "$tmp/mount"
  "$shell_dir/same-tree.py" "$tmp/system/top" "$tmp/mount/top"
  guestunmount "$tmp/mount"
fi

# A journal that nobody has replayed: it has a block of a file anew.
make_system "$tmp/dirty.raw" 64 "$tmp/system"
debugfs -R 'blocks /top/numbers' "$tmp/dirty.raw?offset=1048576" > "$tmp/blocks" 2> "$tmp/debugfs.log"
head -c 1024 /dev/zero | tr '\0' 'j' > "$tmp/block"
read -r block _ < "$tmp/blocks"
debugfs -w "$tmp/dirty.raw?offset=1048576" << END > "$tmp/debugfs.log" 2>&1
jo
jw -b $block $tmp/block
jc
q
END
varve backup -c image: dirty --image "vda=$tmp/dirty.raw,format=raw" --to "images:$store"
varve files "${from[@]}" dirty@latest /top/numbers --to "$tmp/replayed"
cmp -n 1024 "$tmp/replayed" "$tmp/block"
cmp -i 1024 "$tmp/replayed" "$tmp/system/top/numbers"

# A file system whose beginning cannot be read is not taken for none.
"$shell_dir/damage-layer.py" "$store"/*/*/vda.qcow2 $((1 << 20))
expect_status 7 varve files "${from[@]}" dirty@latest
assert_contains "$tmp/said.log" 'damaged at guest offset'
