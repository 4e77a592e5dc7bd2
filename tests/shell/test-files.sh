#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Files out of a backup: listed in one file system, and extracted from four that an operating system has mounted, the same
# as they were put there. A damaged store is an error and never zeros. The same files by fuse2fs. And what is refused,
# most of it before anything is booted. test-files-more.sh has the rest.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-files.sh"
requires qemu-img python3 mke2fs sfdisk mkfs.xfs mkntfs ntfscp mkfs.vfat mcopy
requires_appliance

root=$tmp/root
mkdir -p "$root"/{etc,bin,usr,data/{xfs,ntfs,fat}} "$tmp/more/below"
make_tree "$root/srv/tree"
make_strange "$root/srv/strange"
seq 50000 > "$tmp/more/Numbers.txt"
head -c 200000 /dev/urandom > "$tmp/more/below/random.bin"
cat > "$root/etc/fstab" << 'END'
/dev/vda1   /          ext4 defaults 0 1
/dev/vdb    /data/xfs  xfs  defaults 0 2
LABEL=WIN   /data/ntfs ntfs defaults 0 2
/dev/vdd    /data/fat  vfat defaults 0 2
END
printf 'PRETTY_NAME="Varve Linux 1"\nNAME=Varve\nID=varve\nVERSION_ID=1\n' > "$root/etc/os-release"
echo web01 > "$root/etc/hostname"
make_system "$tmp/a.raw" 64 "$root"
make_xfs "$tmp/b.raw" "$tmp/more"
make_ntfs "$tmp/c.raw" "$tmp/more/Numbers.txt" "$tmp/more/below/random.bin"
make_fat "$tmp/d.raw" "$tmp/more"
from=(--from "images:$store")
images=()
for disk in a b c d; do
  images+=(--image "vd$disk=$tmp/$disk.raw,format=raw")
done
varve backup -c image: web01 "${images[@]}" --to "images:$store"

# ---- refused before anything is begun -----------------------------------------------------------------
# refused STATUS REGEX ARGUMENT...
refused ()
{
  expect_status "$1" varve files "${@:3}"
  assert_contains "$tmp/said.log" "^varve: .*$2"
}

mkdir "$tmp/out"
echo mine > "$tmp/out/tree"
refused 2 'Name one backup' "${from[@]}"
refused 2 'Say which files' "${from[@]}" web01@latest --to "$tmp/out"
refused 2 'Several paths' "${from[@]}" web01@latest /etc /srv --to "$tmp/new"
refused 2 'One path alone' "${from[@]}" web01@latest /etc /srv --to -
refused 2 'has no name' "${from[@]}" web01@latest / --to "$tmp/out"
refused 2 'With --json' "${from[@]}" web01@latest /etc --to - --json
refused 2 '--force goes with --to' "${from[@]}" web01@latest /etc --force
refused 1 "'$tmp/out/tree' exists already" "${from[@]}" web01@latest /srv/tree --to "$tmp/out"
refused 1 "no directory '$tmp/nowhere'" "${from[@]}" web01@latest /etc --to "$tmp/nowhere/etc"
refused 1 "has no disk 'vdz'" "${from[@]}" web01@latest --disk vdz
refused 1 'no backup' "${from[@]}" web02@latest
LIBGUESTFS_HV=/bin/false refused 1 'appliance of libguestfs does not start' "${from[@]}" web01@latest
VARVE_LIBEXEC_DIR=$tmp refused 1 'reads file systems by libguestfs, cannot be started' "${from[@]}" web01@latest
assert_equal "$(cat "$tmp/out/tree")" mine "a file that was in the way"
rm "$tmp/out/tree"

# ---- listed -------------------------------------------------------------------------------------------
# The condition of Python is true of the list `lines` of objects, and of `at`: those of files, by their path.
assert_json ()
{
  python3 - "$1" "$2" << 'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
at = {line["path"]: line for line in lines if line["event"] == "file"}
assert eval("(" + sys.argv[2] + ")"), lines
END
}

# With the file system named, nothing is looked for, which takes as long as a boot.
varve files "${from[@]}" web01@latest --filesystem vda1 / /srv/tree /srv/strange /etc/hostname --json > "$tmp/list.json"
assert_json "$tmp/list.json" '{"/etc", "/bin", "/data", "/srv"} <= at.keys()
  and at["/srv/tree/numbers"]["size"] == '"$(stat -c %s "$root/srv/tree/numbers")"'
  and at["/srv/tree/numbers"]["mode"] == "0640" and at["/srv/tree/numbers"]["time"] == 1580608922
  and at["/srv/tree/sub"]["type"] == "directory" and at["/srv/strange/fifo"]["type"] == "fifo"
  and at["/srv/strange/absolute"]["target"] == "/etc/hostname" and at["/srv/strange/absolute"]["type"] == "symlink"
  and at["/srv/strange/set-user-id"]["mode"] == "4755"
  and "/srv/strange/new\\012line" in at and "/srv/strange/\\033[31mred" in at and "/srv/strange/not\\377utf8" in at
  and at["/etc/hostname"]["size"] == 6'

# ---- extracted, from a store that is damaged in the midst of one file ---------------------------------
# The table of the layer leads nowhere for 64 KiB of what is known.
damaged=$(python3 - "$tmp/a.raw" << 'END'
import sys
disk = open(sys.argv[1], 'rb').read()
print(disk.index(b'what is known is found again\n' * 9000) + 131072 & ~65535)
END
)
"$shell_dir/damage-layer.py" "$store"/*/*/vda.qcow2 "$damaged"
refused 7 'damaged' "${from[@]}" web01@latest /srv/tree /srv/strange /data /no/such --to "$tmp/out"
assert_contains "$tmp/said.log" "warning: '/srv/tree/known' cannot be read"
assert_contains "$tmp/said.log" "warning: There is no '/no/such'"
assert_contains "$tmp/said.log" "'/srv/strange/fifo' is left out: it is a fifo"
assert_contains "$tmp/said.log" "at guest offset $damaged"
assert_contains "$tmp/said.log" "/data: 6 files, .* to $tmp/out/data"
if [ -e "$tmp/out/tree/known" ]; then
  fail "a file that could not be read is there"
fi
mv "$root/srv/tree/known" "$tmp/known"
for name in tree strange; do
  # When a file is removed, that changes the time of its directory.
  touch -r "$tmp/out/$name" "$root/srv/$name"
  "$shell_dir/same-tree.py" "$root/srv/$name" "$tmp/out/$name"
done
"$shell_dir/same-tree.py" --content "$tmp/more" "$tmp/out/data/xfs"
"$shell_dir/same-tree.py" --content "$tmp/more" "$tmp/out/data/fat"
cmp "$tmp/more/Numbers.txt" "$tmp/out/data/ntfs/Numbers.txt"
cmp "$tmp/more/below/random.bin" "$tmp/out/data/ntfs/random.bin"
assert_equal "$(find "$tmp/out" -perm /7000 -o -name '.varve*')" '' "set-user-id, and what is half done"
assert_equal "$(ls "$tmp/out")" $'data\nstrange\ntree' "what is in the target"
assert_equal "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -user "$(id -u)" -name 'varve-files-*')" '' "directories left behind"

# ---- the same by fuse2fs ------------------------------------------------------------------------------
# A partition of the served disk as a file, and that as a directory: root mounts nothing.
if [ -w /dev/fuse ] && command -v nbdfuse fuse2fs fusermount3 > /dev/null; then
  mkdir "$tmp/part" "$tmp/mount"
  # shellcheck disable=SC2016
  nbdfuse "$tmp/part" --command nbdkit -s --exit-with-parent --filter=partition \
    "${VARVE_LIBEXEC_DIR:-$builddir/lib/libexec}/nbdkit-varve-plugin.so" "store=images:$store" backup=web01@latest \
    disk=vda partition=1 > "$tmp/nbdfuse.log" 2>&1 &
  fuse=$!
  cleanup_fn end_process "$fuse"
  cleanup_fn fusermount3 -uq "$tmp/part"
  wait_for 60 "nbdfuse" test -e "$tmp/part/nbd"
  fuse2fs "$tmp/part/nbd" "$tmp/mount" -o ro,fakeroot
  cleanup_fn fusermount3 -uq "$tmp/mount"
  cmp "$root/srv/tree/numbers" "$tmp/mount/srv/tree/numbers"
  # What it cannot read is not there; fuse2fs has no error for it, but an end.
  expect_status 1 cmp "$tmp/known" "$tmp/mount/srv/tree/known"
  assert_contains "$tmp/said.log" 'EOF on .*/mount/|Input/output error'
  fusermount3 -u "$tmp/mount"
  fusermount3 -u "$tmp/part"
fi
