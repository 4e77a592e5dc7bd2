#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks that are put back where no bitmap, or no chain, tells what differs: everything is compared, and no more is written
# than must be. And what is refused, before anything is written. How much is written is counted from outside.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon python3

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.raw,format=raw")
make_disk "$tmp/a.qcow2" 512M
make_disk "$tmp/b.raw" 64M raw

change ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" "$@" > "$tmp/io.log"
}

change_raw ()
{
  qemu-io -f raw "$tmp/b.raw" "$@" > "$tmp/io.log"
}

# expect_plan DISK REGEX: of the last revert.
expect_plan ()
{
  assert_contains "$tmp/revert.log" "^  $1: at most .*$2"
}

change -c 'write -P 1 0 300M'
change_raw -c 'write -P 2 0 40M'
proved_backup
one=$last_backup
scattered=()
for ((i = 0; i < 200; i++)); do
  scattered+=(-c "write -P $i $((i * 1400))k 4k")
done
change "${scattered[@]}"
change_raw -c 'write -P 3 10M 1M' -c 'write -z -u 20M 1M'
proved_backup
two=$last_backup

# A raw disk has no bitmaps: it is compared. The other is not read but where it differs.
revert "$one" --no-keep
expect_plan vda '200 differ|changed since backup|differ between'
expect_plan vdb 'all of it is read and compared: .*raw image cannot store bitmaps'
assert_disks_as "$one"

# 200 granules of 64 KiB, counted from outside; and what QEMU writes of its own, each time as a whole cluster: the header
# four times, a refcount block twice, and for each older bitmap one that has its bits.
change "${scattered[@]}"
bytes=$(written_bytes "$tmp/a.qcow2" "$VARVE" revert "${backup_args[@]}" --from "images:$store" --yes --no-keep --disk vda "$one")
echo "put back by $bytes bytes written"
if [ "$bytes" -gt $((200 * 65536 * 105 / 100 + 1048576)) ]; then
  fail "$bytes bytes were written for 200 granules of 64 KiB"
fi
assert_disks_as "$one" vda

# Bitmaps that are gone: compared, and then there is one again.
for name in $(qemu-img info -f qcow2 "$tmp/a.qcow2" | sed -n 's/^ *name: //p'); do
  qemu-img bitmap --remove -f qcow2 "$tmp/a.qcow2" "$name"
done
change -c 'write -P 7 301M 100k'
revert "$two" --no-keep
expect_plan vda 'all of it is read and compared: the disk has no bitmap'
assert_disks_as "$two"
change -c 'write -P 8 302M 100k'
proved_backup
assert_decision vda incremental "changed since backup $two"

# Written to behind QEMU, where the bitmaps do not see it: the clean sample does.
write_behind_qemu "$tmp/a.qcow2"
revert "$two" --no-keep
assert_contains "$tmp/revert.log" "warning: Disk 'vda': the bitmap calls offset [0-9]+ unchanged.* read and compared"
assert_disks_as "$two"

# A chain that was made into a full layer: no layer in common.
cat > "$tmp/flat.xml" <<XML
<job name='varve'>
  <backup>
    <domain uri='image:'>web01</domain>
    <disks>
      <disk name='vda'><image file='$tmp/a.qcow2' format='qcow2'/></disk>
      <disk name='vdb'><image file='$tmp/b.raw' format='raw'/></disk>
    </disks>
    <target><images directory='$store' max-chain='1'/></target>
  </backup>
</job>
XML
change -c 'write -P 10 303M 100k'
backup_job=$tmp/flat.xml
proved_backup
backup_job=
flat=$last_backup
revert "$one" --no-keep
expect_plan vda 'all of it is read and compared: backups .* have no layer in common'
assert_disks_as "$one"
revert "$flat"
assert_disks_as "$flat"

# By a document; and as one of a time.
cat > "$tmp/revert.xml" <<XML
<job name='varve'>
  <revert keep='no'>
    <domain uri='image:'>web01</domain>
    <disks>
      <disk name='vda'><image file='$tmp/a.qcow2' format='qcow2'/></disk>
      <disk name='vdb' backup='no'><image file='$tmp/b.raw' format='raw'/></disk>
    </disks>
    <source><images directory='$store'/></source>
    <backup>$two</backup>
  </revert>
</job>
XML
varve run "$tmp/revert.xml"
assert_disks_as "$two" vda
assert_disks_as "$flat" vdb
stamp=${one%%-*}
revert "@${stamp:0:4}-${stamp:4:2}-${stamp:6:2}T${stamp:9:2}:${stamp:11:2}:${stamp:13:2}Z" --no-keep
assert_disks_as "$one"

# --- refused: nothing is written ------------------------------------------------------------------

sum=$(disks_sum)
# refused STATUS REGEX [ARGUMENT]...
refused ()
{
  local status=$1 regex=$2
  shift 2
  expect_status "$status" varve revert --from "images:$store" --yes "$@"
  assert_contains "$tmp/said.log" "$regex"
  assert_equal "$(disks_sum)" "$sum" "the disks behind what was refused"
  assert_nothing_left_on_host
}

refused 1 "has no backup '20200101T000000Z-0000000000000000'" "${backup_args[@]}" 20200101T000000Z-0000000000000000
refused 1 "has no backup of domain 'web01'.* as old as 2020-01-01" "${backup_args[@]}" @2020-01-01
refused 2 "Disk 'vdx' of an image: domain needs an image" "${backup_args[@]}" --disk vdx "$one"
refused 1 "Backup $one has no disk 'vdx'" "${backup_args[@]}" --image "vdx=$tmp/b.raw,format=raw" --disk vdx "$one"
refused 2 "Name one domain" "${backup_args[@]}" "$one" "$two"
refused 4 "is one of domain 'web01'.* and not of 'web02'" -c image: web02 "${backup_args[@]:3}" "$one"
refused 4 "is a backup of another domain" "${backup_args[@]}" web02@latest
expect_status 0 varve revert --from "images:$store" --yes -c image: web01 "${backup_args[@]:3:2}" "$one"
assert_contains "$tmp/said.log" "note: Disk 'vdb' of the backup is not put back"

# A disk that somebody uses.
qemu-storage-daemon --blockdev "driver=qcow2,node-name=n,file.driver=file,file.filename=$tmp/a.qcow2" \
  --pidfile "$tmp/pid" --daemonize
cleanup_fn end_process "$(cat "$tmp/pid")" KILL
expect_status 8 varve revert "${backup_args[@]}" --from "images:$store" --yes "$one"
end_process "$(cat "$tmp/pid")"
assert_equal "$(disks_sum)" "$sum" "the disks behind what was refused"

# A store that is damaged is found before the first write.
layer=$(echo "$store"/*/"$two"/vda.qcow2)
mv "$layer" "$tmp/layer"
expect_status 7 varve revert "${backup_args[@]}" --from "images:$store" --yes --no-keep "$two"
mv "$tmp/layer" "$layer"
assert_equal "$(disks_sum)" "$sum" "the disks behind a damaged store"
assert_nothing_left

# A disk that has grown.
qemu-img resize -q -f raw "$tmp/b.raw" 65M
sum=$(disks_sum)
refused 4 "has 68157440 bytes now, and had 67108864 at backup" "${backup_args[@]}" "$one"
