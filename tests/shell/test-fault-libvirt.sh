#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# libvirt's backup job is ended by somebody else while it is read, behind the last read, and by the end of the domain;
# and its socket is removed.
. "$(dirname "$0")/functions.sh"
requires_guest
requires_libvirt
requires qemu-storage-daemon

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 64M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 32M 8M' > "$tmp/io.log"
define_domain --guest 'numbers vda vdb delay=8000' faults "${disk_files[@]}"
start_domain
backup_args=("$domain")
backup_job=$tmp/job.xml
write_backup_job "$backup_job" qemu:///system "$domain" '' "<speed unit='MiB'>1</speed>"
# The job reads slowly, which the first backup need not; both have the same checkpoints.
varve backup "${backup_args[@]}" --to "images:$store"

dirty ()
{
  guest fill vda offset=32M length=8M seed="$SECONDS"
}

kill_domain ()
{
  kill -KILL "$(domain_pid)"
  wait_for 120 "the end of $domain" is_off
}

is_off ()
{
  [ "$(virsh domstate "$domain")" = 'shut off' ]
}

dirty
break_backup reading 'backup job|NBD server|connection' virsh domjobabort "$domain"
chain_goes_on 1
break_backup session-copied 'backup job of domain .* was gone when its disks had been read' virsh domjobabort "$domain"
chain_goes_on 2
break_backup copy-disk 'Cannot connect to the NBD server of disk .vdb.' remove_socket
chain_goes_on 3
guest stop
assert_guest_unhurt 6000

# The domain ends in good order, and its bitmaps are stored: the tentative one is removed while it is off.
dirty
break_backup reading 'domain was shut down|NBD server|connection' virsh destroy "$domain"
chain_goes_on 4
start_domain
dirty
break_backup reading 'QEMU died|NBD server|connection' kill_domain
start_domain
chain_goes_on 5 rescan 'bitmap .* is inconsistent'
chain_goes_on 6
guest stop
backup_job=
proved_backup
assert_all_exact
