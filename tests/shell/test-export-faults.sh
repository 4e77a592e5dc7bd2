#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What may happen to an export session while a reader is at it and the guest writes: its socket is removed, its host is
# stopped or killed, scratch runs into its limit, is full, fails or is slow, and QEMU dies. The guest sees no error, and no stall
# beyond the guard's bound; a session that broke says so, and keeps nothing; afterwards all is as it was, and what changed
# since the last checkpoint is still known. Argument: filter, job or libvirt.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon strace
requires_vendors

strategy=$1
# What the manual promises, in seconds.
bound=5
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 128M
make_disk "$tmp/b.qcow2" 64M
small_mount "$tmp/scratch" 300M
if [ "$strategy" = libvirt ]; then
  requires_libvirt
  define_domain --werror stop --guest 'numbers vda vdb delay=8000' faults "${disk_files[@]}"
  start_domain
  chown libvirt-qemu: "$tmp/scratch"
  uri=qemu:///system
  name=$domain
  machine=$(domain_pid)
else
  start_qemu $([ "$strategy" = filter ] || echo --werror stop) --guest 'numbers vda vdb delay=8000' "${disk_files[@]}"
  uri=qmp+unix://$qmp
  name=vm
  machine=$qemu_pid
fi
export_args=(-c "$uri" "$name" --owner acme)
uri_of_vda=nbd+unix:///vda?socket=$tmp/published

# What is in the hypervisor, the checkpoints among it.
names ()
{
  if [ "$strategy" = libvirt ]; then
    libvirt_names
    virsh checkpoint-list --name "$domain"
  else
    qemu_names
  fi
}

# begin_reading LIMIT: a session by a document, with scratch that is limited to LIMIT MiB, since $checkpoint; and a reader
# in the middle of it.
begin_reading ()
{
  before=$(names)
  cat > "$tmp/export.xml" << DOCUMENT
<job name='faults'>
  <export owner='acme'>
    <domain uri='$uri'>$name</domain>
    <incremental>$checkpoint</incremental>
    <guard scratch-limit='$1' unit='MiB' write-timeout='2' pause='$([ "$strategy" = job ] && echo never || echo brief)'/>
    <scratch directory='$tmp/scratch'/>
    <server transport='unix' socket='$tmp/published'/>
  </export>
</job>
DOCUMENT
  varve run "$tmp/export.xml" > "$tmp/run.log"
  session=$(sed -n 's/^Session \([0-9a-f]*\) .*/\1/p' "$tmp/run.log")
  cleanup_fn end_session "$session"
  in_the_middle "$shell_dir/vendor.py" slow "$uri_of_vda"
  kill -CONT -- "-$reader_pid"
}

host_pid ()
{
  pgrep -f "varve-export $VARVE_STATE_DIR $session"
}

is_broken ()
{
  varve export list > "$tmp/list.log" && grep -q "^$session .* broken " "$tmp/list.log"
}

reader_is_gone ()
{
  ! kill -0 "$reader_pid" || [ "$(process_state "$reader_pid")" = Z ]
}

nothing_is_left ()
{
  holds assert_no_export_left && [ -z "$(find "$tmp/scratch" -mindepth 1)" ]
}

no_record_is_left ()
{
  [ -z "$(find "$VARVE_STATE_DIR/sessions" -name '*.session')" ]
}

# assert_as_before: the reader was told by the loss of its connection.
assert_as_before ()
{
  wait_for 120 "the reader to lose its connection" reader_is_gone
  leave_reader "$reader_pid"
  exec {reader_fifo}>&-
  assert_no_export_left
  assert_equal "$(find "$tmp/scratch" -mindepth 1)" '' "what is left of scratch"
  assert_equal "$(names)" "$before" "what is in the hypervisor"
}

# expect_broken REASON: it says why, and that what was read does not count.
expect_broken ()
{
  wait_for 120 "the session to be broken" is_broken
  expect_status 5 varve export end "$session" --keep-checkpoint
  assert_contains "$tmp/said.log" "$1"
  assert_contains "$tmp/said.log" 'The checkpoint is dropped'
  assert_as_before
}

# What is overwritten below: zeros would need no room in scratch.
for offset in 32M 64M 96M; do
  guest fill vda "offset=$offset" length=24M seed=1
done
proved_export python true
watch_stalls

# Who reads goes on, and what he has read counts.
begin_reading 256
rm "$tmp/published"
sleep 1
if reader_is_gone; then
  fail "the reader lost its connection with the name of the socket"
fi
end_export --discard-checkpoint
assert_as_before
echo "socket removed: as it should be"

for signal in KILL STOP; do
  begin_reading 256
  host=$(host_pid)
  kill "-$signal" "$host"
  wait_for "$bound" "the guard to end the session" nothing_is_left
  assert_as_before
  expect_status 1 varve export end "$session" --keep-checkpoint
  echo "host ended by SIG$signal: as it should be"
done

begin_reading 4
guest fill vda offset=32M length=24M seed=7
expect_broken '[Ss]cratch|view'
echo "limit of scratch reached: as it should be"

begin_reading 256
resize_mount "$tmp/scratch" 8M
guest fill vda offset=64M length=24M seed=8
expect_broken '[Ss]cratch|view'
resize_mount "$tmp/scratch" 300M
echo "scratch full: as it should be"

# begin_reading_with FAULT
begin_reading_with ()
{
  begin_reading 256
  inject_fault "$machine" "$1" "$tmp/scratch"
}

begin_reading_with error=EIO
guest fill vda offset=96M length=4M seed=9
wait_for 120 "the session to be broken" is_broken
end_fault
expect_broken '[Ss]cratch|view|I/O error'
echo "scratch failed: as it should be"

# A filter gives the view up; the others make a write wait for as long as scratch takes.
if [ "$strategy" = filter ]; then
  begin_reading_with delay_enter=4000000
  guest fill vda offset=96M length=4M seed=10
  wait_for 120 "the session to be broken" is_broken
  end_fault
  expect_broken '[Ss]cratch|view'
else
  begin_reading_with delay_enter=1000000
  guest fill vda offset=96M length=256K seed=10
  end_fault
  end_export --discard-checkpoint
  assert_as_before
fi
echo "scratch slow: as it should be"

# The map since the checkpoint of the beginning has all of that.
guest stop
assert_guest_unhurt $((bound * 1000))
assert_stalls $((bound * 1000))
proved_export python true --since "$checkpoint"

# With its QEMU the session is over.
begin_reading 256
if [ "$strategy" = libvirt ]; then
  kill -KILL "$(domain_pid)"
else
  kill_qemu
fi
wait_for $((bound + 10)) "the session to be broken" is_broken
# The host is there to say so, also when its guard has ended what it could not.
wait_for "$bound" "the end of the session's record" no_record_is_left
is_broken
expect_status 5 varve export end "$session" --keep-checkpoint
wait_for 120 "the reader to lose its connection" reader_is_gone
wait_for "$bound" "the end of the host" nothing_is_left
echo "QEMU killed: as it should be"
