#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Readers of each kind, stopped or killed in the middle of a disk: the session ends within 5 s, and the guest, which writes
# all the while, does not notice. Argument: qmp or libvirt.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_vendors

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 192M
make_disk "$tmp/b.qcow2" 64M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 5 64M 128M' > "$tmp/io.log"
if [ "$driver" = libvirt ]; then
  requires_libvirt
  define_domain --guest 'numbers vda vdb' hang "${disk_files[@]}"
  start_domain
  export_args=("$domain" --owner acme)
else
  start_qemu --guest 'numbers vda vdb' "${disk_files[@]}"
  export_args=(-c "qmp+unix://$qmp" vm --owner acme)
  before=$(qemu_names)
fi

hang_all_readers
guest status
assert_guest_unhurt 5000
assert_no_export_left
if [ "$driver" = libvirt ]; then
  assert_equal "$(virsh checkpoint-list --name "$domain")" '' "checkpoints left"
  assert_contains <(virsh domjobinfo "$domain") 'None'
else
  assert_equal "$(qemu_names)" "$before" "what is in QEMU"
fi
guest stop
