#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The storage below a running guest's disk cannot be read for a while (nbdkit's error filter): the backup fails with the
# place, the guest's writes do not, and the next backup is incremental.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon qemu-io nbdkit

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 32M 8M' > "$tmp/io.log"
# An NBD export does not grow: room for what the image will need.
truncate -s 128M "$tmp/a.qcow2"
nbdkit -f -U "$tmp/below.sock" --filter=error file "file=$tmp/a.qcow2" \
  error-pread=EIO error-pread-rate=100% error-pread-file="$tmp/inject" > "$tmp/nbdkit.log" 2>&1 &
cleanup_fn end_process $!
wait_for 120 "nbdkit" test -S "$tmp/below.sock"
start_qemu --guest 'numbers vda vdb delay=8000' \
  --arg -blockdev --arg "driver=nbd,node-name=file-vda,server.type=unix,server.path=$tmp/below.sock" \
  --arg -blockdev --arg driver=qcow2,node-name=fmt-vda,file=file-vda,discard=unmap \
  --arg -device --arg virtio-blk-pci,id=vda,drive=fmt-vda \
  vdb="$tmp/b.qcow2"
backup_args=(-c "qmp+unix://$qmp" vm)
varve backup "${backup_args[@]}" --to "images:$store"

for point in copy-disk session-started; do
  guest fill vda offset=32M length=8M seed="$SECONDS"
  start_backup_until "$point"
  touch "$tmp/inject"
  fault_finish 5 "[Dd]isk 'vda'.*(Input/output error|snapshot behind it is lost|could not be read|connection .* broke)"
  rm "$tmp/inject"
  assert_contains "$tmp/vm.log" 'Input/output error|Invalid argument'
  guest status
  assert_nothing_left
  assert_backups 1
done
chain_goes_on 1
guest stop
assert_guest_unhurt 20000
proved_backup
assert_decision vda incremental
assert_all_exact
