#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The QEMU of a libvirt domain writes its backups itself, as a user of its own into a store that is closed to it: two
# disks, full and three incrementals, each exact at one instant although the guest writes over what is not copied yet.
# Then pull and push by turns, with the domain off, and on again. The store is closed again afterwards.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.qcow2" 100M
define_domain push vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
start_domain
before=$(libvirt_names)

use ()
{
  backup_args=("$domain" --mode "$@")
}

use push
prove_increments --speed 20M
assert_contains "$tmp/backup.log" 'snapshot taken \(push\)'

# auto reads what can be read; and while the domain is off, a storage daemon pushes.
for mode in auto push pull off-push; do
  last=$last_backup
  use "${mode#off-}"
  if [[ "$mode" == off-* ]]; then
    stop_domain
    monitor=off
    qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 9 60M 1M' > "$tmp/io.log"
    proved_backup
    start_domain
  else
    guest_write vda 30M 1M "$((proof_count * 2))"
    proved_backup disturb_disks "$proof_count"
  fi
  cp "$tmp/backup.log" "$tmp/$mode.log"
  assert_decision vda incremental "changed since backup $last"
  assert_decision vdb incremental "changed since backup $last"
done
assert_contains "$tmp/auto.log" 'snapshot taken \(overlay\)'
assert_contains "$tmp/off-push.log" 'snapshot taken \(image-push\)'
assert_all_exact
assert_nothing_left
assert_equal "$(libvirt_names)" "$before" "what is in QEMU"
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"

# QEMU's user passes through the store, and gets into none of its backups.
for backup in "$store"/*/2*; do
  assert_equal "$(stat -c '%a %u %U' "$backup")" '700 0 root' "rights of $backup"
  assert_equal "$(stat -c '%a %u' "$backup/vda.qcow2")" '400 0' "rights of its layer"
done

# A store that he cannot get to at all.
mkdir -m 0700 "$tmp/closed"
store=$tmp/closed/store
fault_status=0
varve backup "$domain" --mode push --to "images:$store" > "$tmp/closed.log" 2>&1 || fault_status=$?
assert_equal "$fault_status" 1 "status of a push to where QEMU cannot get"
assert_contains "$tmp/closed.log" "QEMU's user may not pass through the directory '$tmp/closed'"
assert_nothing_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"
