#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A stopped machine: the storage daemon is killed while it serves, a cluster of the image cannot be read, the machine has
# been started.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2" --speed 1M)

dirty ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $((SECONDS % 200 + 1)) 32M 4M" > "$tmp/io.log"
}

# The daemons that the stopped backup has, but not those of others.
kill_daemons ()
{
  local pid
  for pid in $(ps -o pid= --ppid "$backup_pid"); do
    if [ "$(ps -o comm= -p "$pid")" = qemu-storage-da ]; then
      kill -KILL "$pid"
      wait_for 120 "the end of the daemon" has_ended "$pid"
    fi
  done
}

# The place of the L2 entry of the cluster at guest offset 32M: entry 512 of the table that L1 entry 0 names.
l2_entry ()
{
  python3 - "$tmp/a.qcow2" << 'END'
import struct, sys
with open(sys.argv[1], "rb") as image:
    image.seek(40)
    image.seek(struct.unpack(">Q", image.read(8))[0])
    print((struct.unpack(">Q", image.read(8))[0] & 0xfffffffffffe00) + 512 * 8)
END
}

# flip FILE OFFSET: one bit of that byte.
flip ()
{
  python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); b = f.read(1)[0]
    f.seek(int(sys.argv[2])); f.write(bytes([b ^ 2]))' "$1" "$2"
}

dirty
varve backup "${backup_args[@]}" --to "images:$store"
dirty
break_backup copy-disk 'NBD server|connection' kill_daemons
chain_goes_on 1
dirty
break_backup reading 'NBD server|connection|storage daemon' kill_daemons
chain_goes_on 2
dirty
break_backup session-copied 'storage daemon' kill_daemons
chain_goes_on 3

# A damaged table: QEMU answers with an error to reads of that cluster.
dirty
entry=$(($(l2_entry) + 6))
flip "$tmp/a.qcow2" "$entry"
fault_backup 5 "Disk 'vda' of domain 'web01'.* with an error: Input/output error"
assert_nothing_left
flip "$tmp/a.qcow2" "$entry"
chain_goes_on 4

# Started: refused as busy, and nothing is done.
start_qemu "${disk_files[@]}"
fault_backup 8 'in use|lock'
assert_nothing_left
assert_backups 5
stop_qemu
chain_goes_on 5
# The same with a raw image, which by itself keeps nobody out; and the other way round: none starts while it is read.
make_disk "$tmp/c.raw" 16M raw
start_qemu vdc="$tmp/c.raw"
expect_status 8 varve backup -c image: web02 --image "vdc=$tmp/c.raw,format=raw" --to "images:$tmp/raw"
assert_contains "$tmp/said.log" "Disk 'vdc' of domain 'web02'.* is in use"
stop_qemu
(
  store=$tmp/raw
  backup_args=(-c image: web02 --image "vdc=$tmp/c.raw,format=raw")
  start_backup_until session-started
  if qemu-io -f raw "$tmp/c.raw" -c 'write 0 1M' > "$tmp/io.log" 2>&1; then
    fail "an image was written to while it was backed up"
  fi
  assert_contains "$tmp/io.log" 'lock'
  finish_backup
  qemu-io -f raw "$tmp/c.raw" -c 'write 0 1M' > "$tmp/io.log"
)
monitor=off
proved_backup
assert_all_exact
