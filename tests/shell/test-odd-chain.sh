#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Chains that come to their end, and backups that are deleted: a full layer is made from the store, nothing is deleted
# that another stands on, and what is left stays exact.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" $((5 * 1048576 + 512))
backup_job=$tmp/job.xml
write_backup_job "$backup_job" image: web01 2 "<disks>" \
  "<disk name='vda'><image file='$tmp/a.qcow2' format='qcow2'/></disk>" \
  "<disk name='vdb'><image file='$tmp/b.qcow2' format='qcow2'/></disk>" "</disks>"

dirty ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $1 $1M 1M" -c "discard $(($1 + 1))M 64k" > "$tmp/io.log"
  qemu-io -f qcow2 "$tmp/b.qcow2" -c "write -P $1 5M 512" > "$tmp/io.log"
}

# layers DISK: of the newest backup, as qemu-img sees them.
layers ()
{
  qemu-img info --backing-chain -f qcow2 "$store"/*/"$(newest_backup)/$1.qcow2" | grep -c '^image: '
}

forget_proofs ()
{
  local id
  for id; do
    rm "$tmp/digest.$id".*
    proof_count=$((proof_count - ${#disk_files[@]}))
  done
}

qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 200 0 16M' > "$tmp/io.log"
for n in 1 2 3 4 5; do
  dirty "$n"
  proved_backup
  ids+=("$last_backup")
  case "$n" in
  1) assert_decision vda full 'first backup' ;;
  2 | 4) assert_decision vda incremental "changed since backup ${ids[n - 2]}$" ;;
  3 | 5)
    assert_decision vda incremental "changed since backup ${ids[n - 2]}; the chain had 3 links and was made into a full layer"
    ;;
  esac
  assert_equal "$(layers vda)" $(((n - 1) % 2 + 1)) "layers of backup $n"
  assert_equal "$(layers vdb)" $(((n - 1) % 2 + 1)) "layers of backup $n"
done
assert_all_exact

# 1 ← 2, 3 ← 4, 5: each pair by itself.
expect_status 4 varve delete --from "images:$store" "${ids[0]}"
assert_contains "$tmp/said.log" "${ids[0]} cannot be deleted alone, as others build on it: ${ids[1]}\."
expect_status 4 varve delete --from "images:$store" "${ids[2]}"
assert_contains "$tmp/said.log" "build on it: ${ids[3]}\."
assert_backups 5
varve delete --from "images:$store" "${ids[0]}" --with-dependents
assert_equal "$(backup_ids | tr '\n' ' ')" "${ids[2]} ${ids[3]} ${ids[4]} " "backups left"
forget_proofs "${ids[0]}" "${ids[1]}"
assert_all_exact

# The newest goes: its bitmap is of no use, and the one before it is.
varve delete --from "images:$store" "${ids[4]}"
forget_proofs "${ids[4]}"
dirty 6
proved_backup
assert_decision vda incremental "changed since backup ${ids[3]}; the chain had 3 links"
expect_status 1 varve delete --from "images:$store" "${ids[4]}"
assert_contains "$tmp/said.log" "has no backup '${ids[4]}'"
assert_all_exact

# All of them go: a full backup, and why.
for id in $(backup_ids | tac); do
  varve delete --from "images:$store" "$id"
  forget_proofs "$id"
done
assert_backups 0
proved_backup
assert_decision vda full "the store does not have backup .*, which bitmap 'varve\..*' is based on"
assert_all_exact
assert_nothing_left
