#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A stopped machine, two disks: full and three incrementals, each exact. Between them the images change as they would
# under a guest, through QEMU's own code.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon python3 xmllint

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")

change ()
{
  qemu-io -f qcow2 "$tmp/$1.qcow2" "${@:2}" > "$tmp/io.log"
}

make_disk "$tmp/a.qcow2" 96M
make_disk "$tmp/b.qcow2" 40M
change a -c 'write -P 1 0 12M' -c 'write -z 30M 2M' -c 'write -P 2 95M 1M'
change b -c 'write -P 3 1000 70000'
proved_backup
assert_decision vda full 'first backup'
assert_decision vdb full 'first backup'
first=$last_backup

change a -c 'write -P 4 5M 100k' -c 'discard 8M 2M' -c 'write -P 5 50M 1'
proved_backup
assert_decision vda incremental "changed since backup $first"
assert_decision vdb incremental

change b -c 'write -z 0 128k' -c 'write -P 6 39M 1M'
proved_backup
change a -c 'write -z 0 12M'
change b -c 'write -P 7 0 40M'
proved_backup
assert_decision vda incremental
assert_decision vdb incremental
varve list --from "images:$store" > "$tmp/list.log"
assert_equal "$(sed 1d "$tmp/list.log" | wc -l)" 4 "backups that are listed"

# Under valgrind each restore takes long: of the first and the last, which have the shortest and the longest chain.
if [ -n "${VARVE_VALGRIND:-}" ]; then
  for file in "$tmp"/digest.2*; do
    case "$file" in
    *".$first."* | *".$last_backup."*) ;;
    *)
      rm "$file"
      proof_count=$((proof_count - 1))
      ;;
    esac
  done
fi
assert_all_exact
assert_nothing_left
assert_equal "$(qemu-img info -f qcow2 "$tmp/a.qcow2" | grep -c 'name: varve\.')" 2 "checkpoints kept"

# What was written is what the schemas say.
xmllint --noout --relaxng "$srcdir/xml-schemas/store.rng" "$store/varve-store.xml"
for manifest in "$store"/*/*/manifest.xml; do
  xmllint --noout --relaxng "$srcdir/xml-schemas/backup.rng" "$manifest"
done

# The store may be moved. (Under valgrind nothing would be seen in it that has not been seen.)
if [ -z "${VARVE_VALGRIND:-}" ]; then
  mv "$store" "$tmp/elsewhere"
  store=$tmp/elsewhere
  assert_all_exact
fi
