#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The ground that the other tests stand on, on bare QEMU: what the "guest" writes is in the image, comparisons do
# tell a difference, and the proof of one instant fails where there was none.
. "$(dirname "$0")/functions.sh"
requires_guest

make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
make_disk "$tmp/b2.qcow2" 65M
start_qemu --stopped vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
guest_write vda 1M 64k 17
guest_write vdb 1M 64k 17
digest_one=$(digest "$tmp/a.qcow2" qcow2)
assert_equal "$digest_one" "$(digest "$tmp/b.qcow2" qcow2)" "digest of equal disks"
guest_write vda 1M 512 18
if [ "$(digest "$tmp/a.qcow2" qcow2)" = "$digest_one" ]; then
  fail "a write does not show in the digest"
fi
if (assert_same "$tmp/a.qcow2" qcow2 "$tmp/b.qcow2" qcow2) 2> /dev/null; then
  fail "assert_same takes different disks for equal ones"
fi
if (assert_same "$tmp/b2.qcow2" qcow2 "$tmp/b.qcow2" qcow2) 2> /dev/null; then
  fail "assert_same takes different sizes for equal ones"
fi
guest_write vdb 1M 512 18
guest_write vda 8M 1M 1
guest_discard vda 8M 1M
guest_write vda 16M 1M 1
guest_zero vda 16M 1M
stop_qemu
assert_same "$tmp/a.qcow2" qcow2 "$tmp/b.qcow2" qcow2

# A guest that writes: frozen by `stop`, both disks are of one instant; one of them later, and they are not.
start_qemu --guest 'numbers vda vdb;status' vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
more_numbers 50
qmp stop > /dev/null
qemu-img convert -U -f qcow2 -O raw "$tmp/a.qcow2" "$tmp/a.raw"
qemu-img convert -U -f qcow2 -O raw "$tmp/b.qcow2" "$tmp/b.raw"
qmp cont > /dev/null
assert_numbers 20 "$tmp/a.raw" "$tmp/b.raw"
expect_status 1 guest fill vda offset=8M length=9M
assert_contains "$tmp/said.log" 'numbers are being written there'
guest fill vda offset=32M length=1M seed=5
guest check vda offset=32M length=1M seed=5
guest discard vda offset=32M length=1M
expect_status 1 guest check vda offset=32M length=1M seed=5
guest stop
assert_guest_unhurt
qemu-img convert -U -f qcow2 -O raw "$tmp/b.qcow2" "$tmp/b.raw"
if assert_numbers 20 "$tmp/a.raw" "$tmp/b.raw" > /dev/null 2>&1; then
  fail "check-numbers.py sees one instant in two"
fi
kill_qemu
