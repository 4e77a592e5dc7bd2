#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Restores into what is there already: raw and qcow2 files, a device, NBD exports. Exact, and with --over no more is
# written than differs; killed, it is done again. And what is refused, with what to do, before anything is written.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-nbd qemu-storage-daemon nbdinfo python3

disk_files=(vda="$tmp/a.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2")
make_disk "$tmp/a.qcow2" 96M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 60M' -c 'write -P 2 90M 1M' > "$tmp/io.log"
proved_backup
backup=$last_backup
expected=$(cat "$tmp/digest.$backup.vda")

restore ()
{
  varve restore --from "images:$store" "$backup" "$@" > "$tmp/restore.log"
}

# older FILE FORMAT: another state of the disk: some data differs, zeros are where data was, and data where zeros were.
older ()
{
  restore --disk "vda=$1,format=$2" --force
  qemu-io -f "$2" "$1" -c 'write -P 9 3M 200k' -c 'write -z -u 20M 1M' -c 'write -P 8 70M 64k' > "$tmp/io.log"
}

for format in raw qcow2; do
  target=$tmp/over.$format
  older "$target" "$format"
  inode=$(stat -c %i "$target")
  bytes=$(written_bytes "$target" "$VARVE" restore --from "images:$store" "$backup" --disk "vda=$target,format=$format" \
    --over)
  echo "$format: $bytes bytes written over"
  if [ "$bytes" -gt $((3 << 20)) ]; then
    fail "$bytes bytes were written into $target for some 1.3 MiB that differ"
  fi
  assert_digest "$target" "$format" "$expected" "disk vda at backup $backup"
  assert_equal "$(stat -c %i "$target")" "$inode" "the file that was written over"
  # A file that is not there is made.
  restore --disk "vda=$tmp/new.$format,format=$format" --over
  assert_digest "$tmp/new.$format" "$format" "$expected" "disk vda at backup $backup"

  older "$target" "$format"
  status=0
  VARVE_FAILPOINT=restore-copied:kill restore --disk "vda=$target,format=$format" --over 2> "$tmp/killed.log" || status=$?
  assert_equal "$status" 137 "status of a restore that was killed"
  wait_for 120 "the storage daemon to go" restore --disk "vda=$target,format=$format" --over
  assert_digest "$target" "$format" "$expected" "disk vda at backup $backup"
done
# A thin disk comes back thin: what was data, and is zeros at the backup, takes no room.
if [ "$(stat -c %b "$tmp/over.raw")" -gt $((62 * 2048)) ]; then
  fail "the raw file takes $(stat -c %b "$tmp/over.raw") blocks"
fi

# All of a directory.
mkdir "$tmp/dir"
older "$tmp/dir/vda.raw" raw
restore --to "$tmp/dir" --over
assert_digest "$tmp/dir/vda.raw" raw "$expected" "disk vda at backup $backup"

# --- an NBD export --------------------------------------------------------------------------------

# serve FILE FORMAT [OPTION]...: at $uri.
serve ()
{
  rm -f "$tmp/nbd.sock"
  qemu-nbd --persistent --shared 8 --socket "$tmp/nbd.sock" --export-name disk -f "$2" "$1" "${@:3}" &
  served=$!
  cleanup_fn end_process "$served" KILL
  uri="nbd+unix:///disk?socket=$tmp/nbd.sock"
  wait_for 120 "the NBD server" test -S "$tmp/nbd.sock"
}

make_disk "$tmp/n.qcow2" 96M
qemu-io -f qcow2 "$tmp/n.qcow2" -c 'write -P 7 0 96M' > "$tmp/io.log"
serve "$tmp/n.qcow2" qcow2
expect_status 4 varve restore --from "images:$store" "$backup" --disk "vda=$uri"
assert_contains "$tmp/said.log" 'is an NBD export, whose content would be lost'
expect_status 4 varve restore --from "images:$store" "$backup" --disk "vda=$uri,format=qcow2" --force
assert_contains "$tmp/said.log" "use format 'raw'"
restore --disk "vda=$uri" --force
end_process "$served"
assert_digest "$tmp/n.qcow2" qcow2 "$expected" "disk vda at backup $backup (NBD)"
qemu-io -f qcow2 "$tmp/n.qcow2" -c 'write -P 9 3M 200k' -c 'write -z 20M 1M' -c 'write -P 8 70M 64k' > "$tmp/io.log"
serve "$tmp/n.qcow2" qcow2
restore --disk "vda=$uri" --over
assert_contains "$tmp/restore.log" 'vda: 1\.[0-9] MiB written'
end_process "$served"
assert_digest "$tmp/n.qcow2" qcow2 "$expected" "disk vda at backup $backup (NBD, over)"

# A larger one keeps what it has behind the disk's end.
make_disk "$tmp/n.raw" 97M raw
qemu-io -f raw "$tmp/n.raw" -c 'write -P 7 0 97M' > "$tmp/io.log"
serve "$tmp/n.raw" raw
restore --disk "vda=$uri" --over
end_process "$served"
qemu-io -r -f raw "$tmp/n.raw" -c 'read -P 7 96M 1M' > "$tmp/io.log"
truncate -s 96M "$tmp/n.raw"
assert_digest "$tmp/n.raw" raw "$expected" "disk vda at backup $backup (NBD, larger)"

# By a document.
serve "$tmp/n.raw" raw
cat > "$tmp/restore.xml" << XML
<job name='back'>
  <restore>
    <source><images directory='$store'/></source>
    <backup>web01@latest</backup>
    <disks over='yes'>
      <disk name='vda'><target nbd='$uri'/></disk>
    </disks>
  </restore>
</job>
XML
varve validate "$tmp/restore.xml"
varve run "$tmp/restore.xml" > "$tmp/run.log"
assert_contains "$tmp/run.log" 'vda: 0 B written'
end_process "$served"

# --- refused --------------------------------------------------------------------------------------

# refused STATUS REGEX ARGUMENT...: and the file is as it was.
refused ()
{
  local status=$1 regex=$2 sum
  shift 2
  sum=$(b2sum < "$tmp/over.raw")
  expect_status "$status" varve restore --from "images:$store" "$backup" "$@"
  assert_contains "$tmp/said.log" "$regex"
  assert_equal "$(b2sum < "$tmp/over.raw")" "$sum" "the file behind what was refused"
}

refused 4 'exists already\. Name another, or use --force .* or --over' --disk "vda=$tmp/over.raw"
refused 2 'exclude each other' --disk "vda=$tmp/over.raw" --over --force
refused 1 "has no disk 'vdx'" --disk "vdx=$tmp/over.raw" --over
refused 4 'lies inside the store' --disk "vda=$store/over.raw" --over
refused 6 'Cannot connect|cannot be reached|No such file' --disk "vda=nbd+unix:///disk?socket=$tmp/none.sock" --over
truncate -s 95M "$tmp/small.raw"
refused 4 'has 99614720 bytes, and disk .vda. needs 100663296' --disk "vda=$tmp/small.raw" --over
truncate -s 97M "$tmp/large.raw"
refused 4 'Name a new file, or use --force' --disk "vda=$tmp/large.raw" --over
serve "$tmp/small.raw" raw
refused 4 'has 99614720 bytes, and disk .vda. needs 100663296.*large enough' --disk "vda=$uri" --force
end_process "$served"

# A disk that somebody runs on.
for format in raw qcow2; do
  serve "$tmp/over.$format" "$format"
  wait_for 120 "qemu-nbd to have the image" nbdinfo "$uri"
  refused 8 'in use|is open|has it open' --disk "vda=$tmp/over.$format,format=$format" --over
  refused 8 'in use|is open|has it open' --disk "vda=$tmp/over.$format,format=$format" --force
  end_process "$served"
done

# A device, as far as one is to be had.
requires_root
truncate -s 97M "$tmp/device"
device=$(losetup --find --show "$tmp/device") || skip "no loop device is to be had here"
cleanup_fn losetup -d "$device"
refused 4 'is a block device, whose content would be lost' --disk "vda=$device"
restore --disk "vda=$device" --force
qemu-io -f raw "$device" -c 'write -P 9 3M 200k' -c 'write -P 0 20M 1M' > "$tmp/io.log"
restore --disk "vda=$device" --over
assert_contains "$tmp/restore.log" 'vda: 1\.[0-9] MiB written'
sync "$tmp/device"
head -c 96M "$device" > "$tmp/device.raw"
assert_digest "$tmp/device.raw" raw "$expected" "disk vda at backup $backup (device)"
truncate -s 95M "$tmp/device2"
small=$(losetup --find --show "$tmp/device2")
cleanup_fn losetup -d "$small"
refused 4 'has 99614720 bytes, and disk .vda. needs 100663296' --disk "vda=$small" --over
