#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Vendors read a domain of libvirt: full, then two increments by the dirty map alone, each with tools of its own, each exact
# at one instant although the guest writes, zeroes and discards meanwhile; and one increment while it is off.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires qemu-storage-daemon
requires_vendors

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 192M
make_disk "$tmp/b.qcow2" 64M
define_domain export vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
start_domain
export_args=("$domain" --owner acme)

disturb ()
{
  guest_write vda 3M 1M 17
  guest_write vda 150M 64k 18
  guest_zero vda 8M 256k
  guest_discard vda 12M 3M
  guest_write vdb 0 300k 19
  guest_discard vdb 50M 1M
}

for tool in python nbd qemu; do
  guest_write vda 0 20M 1
  guest_write vdb 16M 8M 3
  proved_export "$tool" disturb
  guest_write vda 5M 100k 4
  proved_export "$tool" disturb --since "$checkpoint"
  guest_discard vda 10M 4M
  proved_export "$tool" disturb --since "$checkpoint"
  echo "$tool: exact"
done
assert_no_export_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.x-acme\.')" 2 "checkpoints kept"

# A backup meanwhile says whose session is in the way. Somebody who ends libvirt's job breaks the session.
begin_export
expect_status 8 varve backup "$domain" --to "images:$store"
assert_contains "$tmp/said.log" "export session $session of owner 'x-acme'"
virsh domjobabort "$domain"
wait_for 120 "the session to be broken" sh -c "'$VARVE' export list | grep -q '$session.*broken'"
expect_status 5 varve export end "$session" --keep-checkpoint
assert_contains "$tmp/said.log" 'The checkpoint is dropped'
assert_no_export_left
expect_status 4 varve export begin "${export_args[@]}" --socket "$tmp/published" --allow-trim
assert_contains "$tmp/said.log" 'TRIM cannot be allowed'

# Off, and on again.
stop_domain
monitor=off
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 9 60M 1M' > "$tmp/io.log"
proved_export python true --since "$checkpoint"
start_domain
guest_write vda 77M 1M 7
proved_export python disturb --since "$checkpoint"
assert_no_export_left
assert_equal "$(virsh checkpoint-list --name "$domain" | grep -c '^varve\.')" 2 "checkpoints kept"
