#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The guest is never paused by the test: its program writes one rising number in turn to both disks, and in every
# backup the two highest are neighbours and none is missing. Argument: qmp or libvirt, or one of them with
#   -push      QEMU writes three of the backups itself, slowly, while the guest writes to the same places
#   -fleece    the same from a frozen view
#   -iothread  an iothread serves the disks, and QEMU writes all of the backups
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

driver=${1%%-*}
options=()
case "$1" in
*-push) modes=('push --speed 40M' 'push --speed 4M' pull 'push --speed 4M') ;;
*-fleece) modes=('push --fleece --speed 40M' 'push --fleece --speed 4M' pull 'push --fleece --speed 4M') ;;
*-iothread) modes=('push --speed 40M' 'auto --speed 4M' push 'push --speed 4M') options=(--iothread) ;;
*) modes=(pull pull pull pull) ;;
esac
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 128M
make_disk "$tmp/b.qcow2" 128M
if [ "$driver" = libvirt ]; then
  requires_libvirt
  define_domain "${options[@]}" --guest 'numbers vda vdb' numbers "${disk_files[@]}"
  start_domain
  backup_args=("$domain")
else
  start_qemu "${options[@]}" --guest 'numbers vda vdb' "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
fi

for mode in "${modes[@]}"; do
  more_numbers 50
  varve backup "${backup_args[@]}" --mode $mode --to "images:$store"
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
