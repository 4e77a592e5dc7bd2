#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The storage of scratch fails with an I/O error, or is slow, while the guest overwrites what has not been read: the
# guest sees no error and no write that takes longer than promised, the backup fails and says why, and the next one is
# incremental. A filter keeps that promise by itself, the others where the devices stop for errors. Argument: filter,
# job or libvirt. The faults are injected into QEMU's own system calls.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon strace
requires_root

strategy=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 128M
make_disk "$tmp/b.qcow2" 64M
mkdir "$tmp/scratch"
chmod 0711 "$tmp/scratch"
case "$strategy" in
libvirt)
  requires_libvirt
  define_domain --werror stop --guest 'numbers vda vdb delay=8000' storage "${disk_files[@]}"
  start_domain
  chown libvirt-qemu: "$tmp/scratch"
  uri=qemu:///system
  name=$domain
  machine=$(domain_pid)
  backup_args=("$domain")
  ;;
*)
  if [ "$strategy" = job ]; then
    start_qemu --werror stop --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  else
    start_qemu --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  fi
  uri=qmp+unix://$qmp
  name=vm
  machine=$qemu_pid
  backup_args=(-c "$uri" vm)
  ;;
esac
pause=$([ "$strategy" = job ] && echo never || echo brief)
write_backup_job "$tmp/job.xml" "$uri" "$name" '' "<guard pause='$pause' write-timeout='2'/>" \
  "<scratch directory='$tmp/scratch'/>" "<speed unit='MiB'>2</speed>"
watch_stalls

# fault_while_copying FAULT STATUS REGEX [LENGTH]: the backup ends so; the guest overwrites LENGTH (4M) meanwhile.
fault_while_copying ()
{
  local status=0
  guest fill vda offset=32M length=16M "seed=$RANDOM"
  guest fill vda offset=64M length=16M "seed=$RANDOM"
  "${varve_command[@]}" run "$tmp/job.xml" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the copy to begin" is_copying
  inject_fault "$machine" "$1" "$tmp/scratch"
  guest fill vda offset=64M length="${4:-4M}" "seed=$RANDOM"
  wait "$backup_pid" || status=$?
  end_fault
  cat "$tmp/backup.log"
  assert_equal "$status" "$2" "status of the backup"
  assert_contains "$tmp/backup.log" "$3"
  assert_nothing_left
  assert_equal "$(find "$tmp/scratch" -mindepth 1)" '' "what is left of scratch"
}

varve backup "${backup_args[@]}" --to "images:$store"
if [ "$strategy" = filter ]; then
  fault_while_copying error=EIO 5 'snapshot|view'
  chain_goes_on 1
  # Twice the time that a write may wait for.
  fault_while_copying delay_enter=4000000 5 'snapshot|view'
  limit=4000
else
  fault_while_copying error=EIO 6 'guest was paused by an I/O error'
  chain_goes_on 1
  # A write waits for as long as scratch takes, and no longer: here 1 s for the old data, and some for its place.
  fault_while_copying delay_enter=1000000 0 'vda' 256K
  limit=5000
fi
chain_goes_on "$(backup_ids | wc -l)"
guest stop
assert_guest_unhurt "$limit"
assert_stalls 5000
proved_backup
assert_all_exact
