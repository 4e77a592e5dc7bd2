#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Damage to the checkpoints of a domain of libvirt, whose records and bitmaps part company, while it runs and while it is
# off. Another tool's checkpoint stands beside it all.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_libvirt
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
define_domain check "${disk_files[@]}"
start_domain
backup_args=("$domain")
checkpoint_args=("$domain")

virsh_says_off ()
{
  virsh domstate "$domain" | grep -qx "shut off"
}

# hand_bitmap add|remove|disable DISK NAME: while it is off.
hand_bitmap ()
{
  qemu-img bitmap "--$1" -f qcow2 "$tmp/${2#vd}.qcow2" "$3"
}

names_there ()
{
  virsh checkpoint-list --name "$domain" | sed '/^$/d' | sort
}

virsh checkpoint-create-as "$domain" virtnbdbackup.0 --diskspec vda,checkpoint=bitmap --diskspec vdb,checkpoint=no
proved_backup
first=$last_backup
guest_write vda 1M 64k 1
proved_backup
expect_healthy
names=$(names_there)

# libvirt's records are lost while it runs. The bitmaps are younger than this QEMU, so that no header has them: the store
# has their names.
for name in $(checkpoint_names committed); do
  virsh checkpoint-delete --metadata "$domain" "$name"
done
expect_mended bitmap-without-record 'libvirt has no record of it'
assert_equal "$(names_there)" "$names" "libvirt's checkpoints"
expect_healthy
for name in $(checkpoint_names committed); do
  virsh checkpoint-delete --metadata "$domain" "$name"
done
expect_status 0 checkpoint redefine --from "images:$store"
assert_equal "$(names_there)" "$names" "libvirt's checkpoints"
for name in $(checkpoint_names committed); do
  virsh checkpoint-delete --metadata "$domain" "$name"
done
proved_backup guest_write vda 2M 64k 2
assert_decision vda incremental "changed since backup"
expect_healthy

# Bitmaps are gone that libvirt still has on record.
stop_domain
monitor=off
older=$(checkpoint_names committed | head -n 1)
newer=$(checkpoint_names committed | tail -n 1)
qemu-img bitmap --remove -f qcow2 "$tmp/a.qcow2" "$older"
qemu-img bitmap --remove -f qcow2 "$tmp/b.qcow2" "$older"
expect_damage record-without-bitmap 'does not have its bitmap'
start_domain
expect_mended record-without-bitmap 'does not have its bitmap'
assert_equal "$(names_there | awk -v name="$older" '$0 == name' | wc -l)" 0 "a record without a bitmap"
proved_backup guest_write vdb 2M 64k 3
assert_decision vda incremental
expect_healthy

# One disk too many on record.
stop_domain
monitor=off
older=$(checkpoint_names committed | head -n 1)
qemu-img bitmap --remove -f qcow2 "$tmp/b.qcow2" "$older"
start_domain
expect_mended record-without-bitmap "names disk 'vdb'"
assert_equal "$(checkpoint list | sed -nE "s/^$older +[^ ]+ +//p")" vda "disks of a checkpoint"
expect_healthy

# A disk that is gone, and comes back. (To take it from a guest that runs needs the guest's help.)
stop_domain
virsh detach-disk "$domain" vdb --config
start_domain
expect_mended record-of-lost-disk "names disk 'vdb', which the domain does not have"
expect_healthy
stop_domain
monitor=off
virsh attach-disk "$domain" "$tmp/b.qcow2" vdb --driver qemu --subdriver qcow2 --config --alias ua-vdb
expect_mended bitmap-without-record "Disk 'vdb' has the bitmap"
start_domain
proved_backup guest_write vdb 3M 64k 4
assert_decision vda incremental

# Left over, killed, with and without its record.
guest_write vda 3M 64k 5
damage_no_backup
damage_sessions
damage_store
names=$(names_there)
kill_at session-started varve backup "$domain" --to "images:$store"
rm "$VARVE_STATE_DIR"/sessions/*.session
expect_mended session-unrecorded 'not on record here'
assert_equal "$(names_there)" "$names" "libvirt's checkpoints"
if virsh domjobinfo "$domain" | grep -q Operation; then
  fail "a job is left in libvirt"
fi
kill_at session-started varve backup "$domain" --to "images:$store"
VARVE_STATE_DIR=$tmp/elsewhere expect_refused session-unrecorded "set VARVE_STATE_DIR to that"
varve recover
assert_nothing_left_on_host
expect_healthy

# QEMU killed: all that was stored before is broken, the other tool's too.
stop_domain
start_domain
kill -KILL "$(domain_pid)"
wait_for 120 "libvirt to notice" virsh_says_off
expect_damage image-not-closed 'as QEMU was not shut down cleanly'
start_domain
expect_mended bitmap-broken "reads all of disk 'vda'"
proved_backup guest_write vda 4M 64k 6
assert_decision vda rescan
expect_healthy

# Off.
stop_domain
monitor=off
for name in $(checkpoint_names committed); do
  virsh checkpoint-delete --metadata "$domain" "$name"
done
expect_mended bitmap-without-record 'libvirt has no record of it'
expect_healthy
first=$last_backup
start_domain
proved_backup guest_write vda 5M 64k 7
stop_domain
monitor=off
damage_disabled "$first"
start_domain
proved_backup guest_write vdb 5M 64k 8
stop_domain
monitor=off
expect_healthy
damage_foreign_disk
damage_missing
start_domain
proved_backup guest_write vdb 6M 64k 9
assert_decision vda incremental
assert_decision vdb rescan
expect_healthy
stop_domain
monitor=off

# Disks that were made anew, smaller; and copied for another machine.
cp "$tmp/a.qcow2" "$tmp/copy-a.qcow2"
cp "$tmp/b.qcow2" "$tmp/copy-b.qcow2"
damage_shrunk
expect_mended bitmap-without-record 'libvirt has no record of it'
expect_healthy
original=$domain
define_domain copy vda="$tmp/copy-a.qcow2" vdb="$tmp/copy-b.qcow2"
checkpoint_args=("$domain")
expect_mended image-copied 'the image is a copy'
assert_equal "$(checkpoint_names 'varve\.')" '' "checkpoints of the copy"
expect_healthy
domain=$original
checkpoint_args=("$domain")
expect_healthy
assert_equal "$(names_there | grep -c '^virtnbdbackup.0$')" 1 "the other tool's checkpoint"

# QEMU killed, and mended while it is off.
start_domain
kill -KILL "$(domain_pid)"
wait_for 120 "libvirt to notice" virsh_says_off
monitor=off
expect_mended image-not-closed 'as QEMU was not shut down cleanly'
proved_backup
assert_decision vda rescan
expect_healthy
assert_mended 14
assert_refused 7
assert_all_exact
assert_nothing_left
