#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The guest is never paused by the test: its program writes one rising number in turn to both disks, and in every
# backup the two highest are neighbours and none is missing. Argument: qmp or libvirt.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 128M
make_disk "$tmp/b.qcow2" 128M
if [ "$driver" = libvirt ]; then
  requires_libvirt
  define_domain --guest 'numbers vda vdb' numbers "${disk_files[@]}"
  start_domain
  backup_args=("$domain")
else
  start_qemu --guest 'numbers vda vdb' "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
fi

for n in 1 2 3 4; do
  sleep 1
  varve backup "${backup_args[@]}" --to "images:$store"
done
assert_decision vda incremental
assert_decision vdb incremental
guest stop
assert_guest_unhurt

n=0
for backup in $(varve list --from "images:$store" | sed 1d | cut -d ' ' -f 1); do
  rm -rf "$tmp/out"
  varve restore --from "images:$store" "$backup" --to "$tmp/out" > "$tmp/restore.log"
  assert_numbers 20 "$tmp/out/vda.raw" "$tmp/out/vdb.raw"
  n=$((n + 1))
done
assert_equal "$n" 4 "number of backups"
assert_nothing_left
