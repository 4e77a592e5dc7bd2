#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Scratch is given back as data is read: what the guest writes to places that were read, or that need not be, takes no
# scratch, and what it took before is free again when the reader has passed. Every backup is exact. Argument: filter or
# job.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-storage-daemon

strategy=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 256M
# One whose data begins and ends anywhere, as its size does: what is given back must be whole units of QEMU's, which else
# aborts.
make_disk "$tmp/b.qcow2" $((64 * 1048576 + 512)) qcow2 cluster_size=4k
for ((i = 1; i <= 60; i++)); do
  echo "write -q -P $i $((i * 1000 + i % 7 * 4))k $((i * 4))k"
done | qemu-io -f qcow2 "$tmp/b.qcow2" > "$tmp/io.log"
mkdir "$tmp/scratch"
chmod 0711 "$tmp/scratch"
start_qemu --guest 'numbers vda blocks=64 delay=5000' "${disk_files[@]}"
backup_args=(-c "qmp+unix://$qmp" vm)
pause=$([ "$strategy" = job ] && echo never || echo brief)
backup_job=$tmp/job.xml
write_backup_job "$backup_job" "qmp+unix://$qmp" vm '' "<guard pause='$pause'/>" \
  "<scratch directory='$tmp/scratch'/>" "<speed unit='MiB'>8</speed>"

# KiB that the scratch images take.
scratch_used ()
{
  du -k --total "$tmp/scratch" | tail -n 1 | cut -f 1
}

uses_less ()
{
  [ "$(scratch_used)" -lt "$1" ]
}

# has_read KIB: of the disk that is copied now.
has_read ()
{
  local done_bytes
  done_bytes=$(grep -o '"done":[0-9]*' "$tmp/backup.log" | tail -n 1 | cut -d : -f 2)
  [ "${done_bytes:-0}" -ge $(($1 * 1024)) ]
}

overwrite ()
{
  guest fill vda offset="$1" length="$2" "seed=$RANDOM" > "$tmp/fill.log"
}

# released_backup: stopped at its start, for the proof; then the guest writes while it copies.
released_backup ()
{
  local spec status=0
  pause_guest
  VARVE_GUARD=none VARVE_FAILPOINT=session-started:stop "${varve_command[@]}" run --json "$backup_job" \
    > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the start" is_stopped "$backup_pid"
  for spec in "${disk_files[@]}"; do
    digest "${spec#*=}" qcow2 > "$tmp/digest.new.${spec%%=*}"
  done
  resume_guest
  "$@"
  wait "$backup_pid" || status=$?
  assert_equal "$status" 0 "status of the backup"
  last_backup=$(newest_backup)
  for spec in "${disk_files[@]}"; do
    mv "$tmp/digest.new.${spec%%=*}" "$tmp/digest.$last_backup.${spec%%=*}"
  done
  proof_count=$((proof_count + ${#disk_files[@]}))
  assert_nothing_left
}

write_while_copying ()
{
  # Not read yet: it takes scratch.
  overwrite 92M 4M
  if uses_less 4096; then
    fail "old data of 4 MiB takes only $(scratch_used) KiB of scratch"
  fi
  kill -CONT "$backup_pid"
  wait_for 120 "24 MiB to be read" has_read 24576
  # Read already, and never to be read.
  overwrite 32M 6M
  overwrite "$1" 8M
  if ! uses_less 7168; then
    fail "what was read and what is not read took scratch: $(scratch_used) KiB"
  fi
  is_copying || fail "the copy was over too soon"
  wait_for 120 "scratch to be given back" uses_less 3072
  is_copying || fail "scratch is only given back when all is over"
}

guest fill vda offset=32M length=96M seed=1 > "$tmp/fill.log"
released_backup write_while_copying 160M
assert_decision vda full
echo "full, zeros are not read: scratch was given back"
# What lies clean between is not read.
guest fill vda offset=32M length=96M seed=2 > "$tmp/fill.log"
released_backup write_while_copying 192M
assert_decision vda incremental
echo "incremental, clean areas are not read: scratch was given back"
guest stop
assert_guest_unhurt 20000
assert_all_exact
