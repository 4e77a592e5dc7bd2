#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The ground that the other tests stand on, on libvirt: daemons that come up, a domain that boots the test guest from
# files that QEMU's own user may read, writes through the device, a console in both directions.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_libvirt

make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
define_domain --guest 'numbers' web vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
start_domain
more_numbers 50
virsh suspend "$domain"
qemu-img convert -U -f qcow2 -O raw "$tmp/a.qcow2" "$tmp/a.raw"
qemu-img convert -U -f qcow2 -O raw "$tmp/b.qcow2" "$tmp/b.raw"
before=$(digest "$tmp/a.qcow2" qcow2)
guest_write vda 1M 64k 17
if [ "$(digest "$tmp/a.qcow2" qcow2)" = "$before" ]; then
  fail "a write does not show in the digest"
fi
virsh resume "$domain"
assert_numbers 20 "$tmp/a.raw" "$tmp/b.raw"
guest stop
assert_guest_unhurt
pid=$(domain_pid)
stop_domain
if [ -e "/proc/$pid" ]; then
  fail "QEMU outlived its domain"
fi
