#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The examples of the vendor guide, in C, Python and shell, with a QEMU that runs: each makes a full backup and increments
# by the dirty map, and each rebuilds the disks exactly; they go on where another of them has stopped. What a killed one
# has left, a checkpoint that is lost, and a domain that is busy.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires_vendors
requires jq

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" $((5 * 1048576 + 512))
start_qemu "${disk_files[@]}"
backup_args=(-c "qmp+unix://$qmp" vm)
PATH=$builddir/cli:$PATH

c=("$builddir/tests/shell/example-vendor")
shell=("$srcdir/docs/examples/vendor.sh")
# Only Python gets to see what is set here: under a sanitizer, nothing else in this shell would start.
python=()
if [ -n "${VARVE_GI_PYTHON:-}" ]; then
  python=(env "GI_TYPELIB_PATH=$builddir/lib" "LD_LIBRARY_PATH=$builddir/lib" "$VARVE_GI_PYTHON"
    "$srcdir/docs/examples/vendor.py")
fi

# example DIRECTORY PROGRAM...: what it says is in $tmp/example.log.
example ()
{
  local directory=$1
  shift
  "$@" "qmp+unix://$qmp" vm "$directory" > "$tmp/example.log" 2>&1 || return
  cat "$tmp/example.log"
}

# round DIRECTORY DECISION PROGRAM...: writes, zeros and what is discarded; a backup; and both disks are as they are.
rounds=0
round ()
{
  local directory=$1 decision=$2 disk
  rounds=$((rounds + 1))
  guest_write vda "${rounds}M" 100k "$rounds"
  guest_write vda 63M 1M "$rounds"
  guest_zero vda "$((rounds - 1))M" 70k
  guest_discard vda 20M 1M
  guest_write vda 20M 200k "$rounds"
  guest_write vdb 5M 512 "$rounds"
  shift 2
  example "$directory" "$@"
  for disk in vda vdb; do
    assert_contains "$tmp/example.log" "^$disk: $decision, [0-9]+ bytes read \\("
    assert_same "$tmp/${disk/vd/}.qcow2" qcow2 "$directory/latest/$disk.raw" raw
  done
  assert_contains "$tmp/example.log" '^backed up: varve\.x-acme\.'
  if [ "$decision" = incremental ]; then
    # Not the whole of it.
    assert_equal "$(sed -n 's/^vdb: incremental, \([0-9]*\) .*/\1/p' "$tmp/example.log")" 512 "bytes read of vdb"
  fi
}

before=$(qemu_names | grep -v ^bitmaps)
for language in c python shell; do
  declare -n program=$language
  if [ ${#program[@]} -eq 0 ]; then
    echo "not built here: the example in $language"
    continue
  fi
  directory=$tmp/backups-$language
  mkdir "$directory"
  # Its first run finds a checkpoint of somebody else's, so to say: it knows of none, and reads everything.
  round "$directory" full "${program[@]}"
  round "$directory" incremental "${program[@]}"
  round "$directory" incremental "${program[@]}"

  # Somebody was killed: his session is ended, and nothing that he has read counts.
  varve export begin "${backup_args[@]}" --owner acme --socket "$tmp/left" > "$tmp/left.json"
  mkdir -p "$directory/part"
  echo nothing > "$directory/part/vdc.raw"
  round "$directory" incremental "${program[@]}"
  assert_contains "$tmp/example.log" '^ended what a killed run has left: [0-9a-f]{16}$'
  assert_equal "$(ls "$directory/latest/")" "vda.raw
vdb.raw" "images of a backup"

  # Its checkpoint is lost.
  for checkpoint in $(qemu_names | grep -o "varve\.x-acme\.[^']*" | sort -u); do
    varve checkpoint delete "${backup_args[@]}" "$checkpoint" --owner acme
  done
  round "$directory" full "${program[@]}"
  assert_contains "$tmp/example.log" 'Nothing can be read since checkpoint'

  # The domain is busy.
  start_backup_until session-started
  status=0
  example "$directory" "${program[@]}" || status=$?
  assert_equal "$status" 8 "status of an example while a backup runs"
  finish_backup
  unset -n program
done

# Each goes on from the others.
round "$tmp/backups-c" full "${shell[@]}"
round "$tmp/backups-c" incremental "${c[@]}"
if [ ${#python[@]} -gt 0 ]; then
  round "$tmp/backups-c" incremental "${python[@]}"
fi
round "$tmp/backups-c" incremental "${shell[@]}"
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$before" "what is in QEMU"
assert_no_export_left
