#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What `./dev demo` shows: a real machine that keeps writing two disks is backed up three times from one job
# document, and each backup is proved.
#
# The proof: for each backup the machine is paused, varve begins (it tells the instant by an event), and qemu-img
# alone takes a digest of the source disks, which stand still. Then the machine goes on and writes while varve still
# copies. Restored, by varve and by qemu-img from the store, the disks must have that digest. And the numbers that the
# guest writes in turn to both disks must be those of one instant.
#
# On libvirt where its daemon answers or can be started, else on bare QEMU; VARVE_DEMO=libvirt or =qemu decides.
. "$(dirname "$0")/../shell/functions.sh"
requires_guest

store=$tmp/store
job=$tmp/nightly.xml

say ()
{
  printf '\n%s\n' "$*"
}

choose_machine ()
{
  if [ -n "${VARVE_DEMO:-}" ]; then
    echo "$VARVE_DEMO"
  elif [ "$(id -u)" -eq 0 ] && command -v libvirtd > /dev/null && start_libvirtd; then
    echo libvirt
  else
    echo qemu
  fi
}

start_machine ()
{
  if [ "$machine" = libvirt ]; then
    requires_libvirt
    define_domain --guest numbers web vda="$tmp/vda.qcow2" vdb="$tmp/vdb.qcow2"
    start_domain
    uri=$libvirt_uri
    name=$domain
  else
    start_qemu --name web --guest numbers vda="$tmp/vda.qcow2" vdb="$tmp/vdb.qcow2"
    uri=qmp+unix://$qmp
    name=web
  fi
}

pause_machine ()
{
  if [ "$machine" = libvirt ]; then
    virsh suspend "$domain" > /dev/null
  else
    qmp stop > /dev/null
  fi
}

resume_machine ()
{
  if [ "$machine" = libvirt ]; then
    virsh resume "$domain" > /dev/null
  else
    qmp cont > /dev/null
  fi
}

run_job ()
{
  local started
  started=$(date +%s%N)
  varve run --json "$job" > "$tmp/$1.events" 2> "$tmp/$1.log"
  echo $((($(date +%s%N) - started) / 1000000)) > "$tmp/$1.milliseconds"
}

# The instant is set, or the run has ended without it.
begun_or_ended ()
{
  grep -q snapshot-started "$tmp/$1.events" || ! kill -0 "$2"
}

# take_backup LABEL: leaves $tmp/LABEL.{events,milliseconds,digest-vda,digest-vdb}.
take_backup ()
{
  local label=$1 run disk
  pause_machine
  run_job "$label" &
  run=$!
  wait_for 120 "the instant of the backup" begun_or_ended "$label" "$run"
  for disk in vda vdb; do
    digest "$tmp/$disk.qcow2" qcow2 > "$tmp/$label.digest-$disk"
  done
  resume_machine
  wait "$run"
}

backup_id ()
{
  "$srcdir/tests/demo/table.py" --backup-id "$tmp/$1.events"
}

# prove_backup LABEL: each disk by both ways back, and the two disks together.
prove_backup ()
{
  local label=$1 id disk image
  id=$(backup_id "$label")
  varve restore --from "images:$store" "$id" \
    --disk "vda=$tmp/restored-vda.raw,format=raw" --disk "vdb=$tmp/restored-vdb.raw,format=raw" > "$tmp/restore.log" 2>&1
  for disk in vda vdb; do
    assert_equal "$(digest "$tmp/restored-$disk.raw" raw)" "$(cat "$tmp/$label.digest-$disk")" \
      "digest of $disk of $id, restored by varve"
    image=$(find "$store" -path "*/$id/$disk.qcow2")
    assert_equal "$(digest "$image" qcow2)" "$(cat "$tmp/$label.digest-$disk")" \
      "digest of $disk of $id, read by qemu-img alone"
  done
  echo "$label: exact by varve and by qemu-img alone; highest numbers $(assert_numbers 20 "$tmp/restored-vda.raw" "$tmp/restored-vdb.raw")"
  rm "$tmp/restored-vda.raw" "$tmp/restored-vdb.raw"
}

machine=$(choose_machine)
make_disk "$tmp/vda.qcow2" 512M
make_disk "$tmp/vdb.qcow2" 256M
say "A machine with two disks on $machine; its program writes one rising number in turn to both."
start_machine
guest fill vda offset=64M length=48M seed=1
guest fill vdb offset=64M length=16M seed=2

write_job "$job" "$uri" "$name" "$store" vda vdb
say "The job:"
cat "$job"

say "1. The first backup is a full one."
take_backup first
say "2. The guest changes 8 MiB and goes on; what changed is backed up."
guest fill vda offset=72M length=6M seed=3
guest fill vdb offset=64M length=2M seed=4
take_backup second
say "3. The guest changes 2 MiB and discards 8 MiB."
guest fill vda offset=200M length=2M seed=5
guest discard vda offset=96M length=8M
take_backup third
guest stop > /dev/null

say "The proof of each:"
for label in first second third; do
  prove_backup "$label"
done
assert_guest_unhurt

say "What was copied:"
"$srcdir/tests/demo/table.py" "$tmp"/{first,second,third}.events
say "varve list --from images:$store"
varve list --from "images:$store"
