#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What a bare QEMU serves is taken away while it is read: the NBD server, its socket, an export, the snapshot, QEMU
# itself. Argument:
# the strategy, filter or job.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

strategy=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 32M 8M' > "$tmp/io.log"

start ()
{
  start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
  before=$(qemu_names | grep -v ^bitmaps)
}

dirty ()
{
  guest fill vda offset=32M length=8M seed="$SECONDS"
}

# The name of the session's object: job or export 0, or a node.
session_name ()
{
  qmp "$1" | grep -o "varve-[0-9a-f]*-$2-0" | head -n 1
}

delete_export ()
{
  qmp block-export-del "{\"id\": \"$(session_name query-block-exports e)\", \"mode\": \"hard\"}"
}

# What nobody can take away by itself: a filter that a device stands on.
end_snapshot ()
{
  if [ "$strategy" = job ]; then
    qmp job-cancel "{\"id\": \"$(session_name query-jobs j)\"}"
  else
    delete_export
  fi
}

start
backup_job=$tmp/job.xml
write_backup_job "$backup_job" "qmp+unix://$qmp" vm '' \
  "<guard pause='$([ "$strategy" = job ] && echo never || echo brief)'/>" "<speed unit='MiB'>1</speed>"
# The job reads slowly, which the first backup need not; both have the same checkpoints.
varve backup "${backup_args[@]}" --to "images:$store"

dirty
break_backup copy-disk 'NBD server|connection' qmp nbd-server-stop
chain_goes_on 1
dirty
break_backup reading 'NBD server|connection|its export .* is gone' delete_export
chain_goes_on 2
dirty
break_backup reading 'snapshot|view|closed the connection' end_snapshot
chain_goes_on 3
# All is read, and nobody knows yet whether it was the snapshot to the end.
break_backup session-copied 'snapshot .* did not live until all of it was read' end_snapshot
chain_goes_on 4
break_backup copy-disk 'Cannot connect to the NBD server of disk .vdb.' remove_socket
chain_goes_on 5
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$before" "what is in QEMU"
guest stop
assert_guest_unhurt 6000

# QEMU exits in good order: its bitmaps are stored.
dirty
break_backup reading 'QEMU|NBD server' stop_qemu
start
chain_goes_on 6
# It is killed: they are lost.
dirty
break_backup reading 'QEMU|NBD server' kill_qemu
start
chain_goes_on 7 rescan 'bitmap .* is inconsistent, as QEMU was not shut down cleanly; compared with backup'
chain_goes_on 8
guest stop
backup_job=
proved_backup
assert_all_exact
