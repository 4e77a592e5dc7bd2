#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups of a domain of libvirt, proved by starting them as the machine that its definition describes: with its kernel, and a
# root file system on the disk of the backup. That has no network, whatever the definition has. The root file system that was
# overwritten before the backup is not mounted, and gives no sign; nor does a machine that turns itself off. libvirt
# is not asked: its domain stays off.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_libvirt
requires qemu-ga mkfs.ext4 nbdkit pgrep

export TMPDIR=$tmp/temporary
mkdir "$TMPDIR"

# make_root SCRIPT: a root file system whose /rc is this.
make_root ()
{
  mkdir -p "$tmp/root"
  echo "$1" > "$tmp/root/rc"
  truncate -s 16M "$tmp/root.raw"
  mkfs.ext4 -q -F -O ^has_journal -d "$tmp/root" "$tmp/root.raw"
  qemu-img convert -n -f raw -O qcow2 "$tmp/root.raw" "$tmp/a.qcow2"
}

# boot STATUS [OPTION...]: of the newest backup
boot ()
{
  local status=$1
  shift
  expect_status "$status" varve verify --boot --from "images:$store" "$domain@latest" --timeout 120 "$@"
  assert_no_machine_left
}

guest_agent=agent
disk_files=(vda="$tmp/a.qcow2")
make_disk "$tmp/a.qcow2" 16M
define_domain --guest 'sh mount -t ext4 /dev/vda /mnt;sh sh /mnt/rc' boot vda="$tmp/a.qcow2"
card="<interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/></interface>"
sed -i "s|</devices>|$card</devices>|" "$tmp/$vm.xml"
virsh undefine "$domain"
virsh define "$tmp/$vm.xml"
backup_args=("$domain")

# The guest tells which network interfaces it sees.
# shellcheck disable=SC2016
make_root 'echo "root is well, with interfaces:" $(ls /sys/class/net)"." > /dev/ttyS0'
proved_backup
good=$last_backup
before=$(store_digest)
boot 0 --sign 'console:root is well, with interfaces: lo.'
assert_picture "$VARVE_STATE_DIR/screenshots/$(virsh domuuid "$domain").png"
boot 0
assert_contains "$tmp/said.log" "^Backup $good starts: its guest agent answered after"
boot 0 --sign mounted:/mnt
assert_contains "$tmp/said.log" "^Backup $good starts: its guest agent told of a file system mounted at '/mnt' after"
assert_equal "$(store_digest)" "$before" "the store"
assert_equal "$(virsh domstate "$domain")" 'shut off' "state of the domain"

# It ends before the sign.
make_root 'poweroff -f'
proved_backup
boot 9 --sign 'console:root is well'
assert_contains "$tmp/said.log" "was started, and turned itself off before it had said 'root is well'"

# The root file system is overwritten; the store's sums are right.
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 85 0 16M' > "$tmp/io.log"
proved_backup
varve verify --from "images:$store" "$last_backup" > "$tmp/verify.log"
rm -f "$tmp/screen.png"
boot 9 --sign 'console:root is well' --timeout 15 --screenshot "$tmp/screen.png"
assert_contains "$tmp/said.log" "its time of 15 s was over before it had said 'root is well'"
assert_contains "$tmp/said.log" "serial console said is: 'guest: "
assert_picture "$tmp/screen.png"

# A kernel that this host does not have.
mv "$tmp/guest.kernel" "$tmp/elsewhere"
boot 4
assert_contains "$tmp/said.log" "starts from the kernel '$tmp/guest.kernel', which this host does not have"
