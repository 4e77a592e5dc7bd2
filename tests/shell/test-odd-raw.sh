#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Raw disks, which store no bitmap. A bare QEMU keeps one as long as it lives, so that backups are incremental until it
# ends; behind that, stopped, and on libvirt the disk is read whole, and stored is what differs. One disk has a size that
# is no multiple of a sector.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

driver=$1
disk_files=(vda="$tmp/a.raw" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.raw" 64M raw
make_disk "$tmp/b.qcow2" 32M
qemu-io -f raw "$tmp/a.raw" -c 'write -P 1 0 8M' -c 'write -P 2 63M 1M' > "$tmp/io.log"

# assert_stored_at_most DISK BYTES: by the newest backup.
assert_stored_at_most ()
{
  local stored
  stored=$(sed -n "/<disk name=.$1./,/<.disk>/s/.*stored='\([0-9]*\)'.*/\1/p" "$store"/*/"$(newest_backup)/manifest.xml")
  if [ -z "$stored" ] || [ "$stored" -gt "$2" ]; then
    fail "${stored:-nothing} bytes of $1 were stored instead of $2 at most"
  fi
}

start ()
{
  start_qemu "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
}

case "$driver" in
qmp)
  start
  proved_backup
  assert_decision vda full 'first backup'
  guest_write vda 4M 64k 3
  guest_write vdb 4M 64k 3
  proved_backup guest_write vda 4M 1M 4
  assert_decision vda incremental
  assert_decision vdb incremental
  assert_stored_at_most vda 65536
  proved_backup guest_discard vda 0 2M
  assert_decision vda incremental
  stop_qemu
  # While it was off.
  qemu-io -f raw "$tmp/a.raw" -c 'write -P 5 20M 64k' > "$tmp/io.log"
  start
  proved_backup guest_write vda 5M 64k 6
  assert_decision vda rescan 'no bitmap: .*; compared with backup'
  assert_decision vdb incremental
  assert_stored_at_most vda $((3 * 1048576))
  guest_write vda 6M 64k 7
  proved_backup
  assert_decision vda incremental
  assert_stored_at_most vda $((2 * 65536))
  guest_write vda 7M 64k 8
  backup_args+=(--mode push)
  proved_backup
  assert_decision vda incremental
  assert_decision vdb incremental
  kill_qemu
  start
  proved_backup
  assert_decision vda rescan
  assert_decision vdb rescan '.*not shut down cleanly'
  assert_stored_at_most vda 0
  assert_stored_at_most vdb 0
  ;;
image)
  monitor=off
  truncate -s $((64 * 1048576 + 65536 + 100)) "$tmp/a.raw"
  backup_args=(-c image: web01 --image "vda=$tmp/a.raw,format=raw" --image "vdb=$tmp/b.qcow2,format=qcow2")
  proved_backup
  assert_decision vda full 'first backup'
  printf tail | dd of="$tmp/a.raw" bs=1 seek=$((64 * 1048576 + 65536 + 96)) conv=notrunc status=none
  proved_backup
  assert_decision vda rescan 'no bitmap: a raw image cannot store bitmaps; compared with backup'
  assert_decision vdb incremental
  assert_stored_at_most vda 65536
  proved_backup
  assert_stored_at_most vda 0
  # Larger, and smaller.
  truncate -s $((70 * 1048576 + 7)) "$tmp/a.raw"
  proved_backup
  assert_decision vda rescan
  assert_stored_at_most vda 65536
  truncate -s $((10 * 1048576 + 1)) "$tmp/a.raw"
  proved_backup
  assert_decision vda full 'no bitmap: .*; the disk has shrunk from'
  ;;
libvirt)
  requires_libvirt
  define_domain raw "${disk_files[@]}"
  start_domain
  backup_args=("$domain")
  proved_backup
  assert_decision vda full 'first backup'
  guest_write vda 4M 64k 3
  guest_write vdb 4M 64k 3
  proved_backup guest_write vda 4M 1M 4
  assert_decision vda rescan 'no bitmap: .*; compared with backup'
  assert_decision vdb incremental
  assert_stored_at_most vda 65536
  guest_write vdb 5M 64k 5
  backup_args=("$domain" --mode push)
  proved_backup guest_write vda 4M 1M 6
  assert_decision vda full 'no bitmap: .*; a push does not compare'
  assert_decision vdb incremental
  backup_args=("$domain")
  stop_domain
  monitor=off
  proved_backup
  assert_decision vda rescan
  assert_decision vdb incremental
  ;;
esac
assert_all_exact
assert_nothing_left
