#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Vendors read the images of a machine that is off: full, then two increments by the dirty map alone, each with tools of its
# own, each exact; and readers that are stopped or killed in the middle.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon
requires_vendors

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw:raw")
make_disk "$tmp/a.qcow2" 192M
make_disk "$tmp/b.raw" 32M raw
export_args=(-c image: vm --owner acme --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.raw,format=raw")

# write_images PATTERN OFFSET LENGTH
write_images ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $1 $2 $3" > "$tmp/io.log"
  qemu-io -f raw "$tmp/b.raw" -c "write -P $1 1M 1M" >> "$tmp/io.log"
}

# Nobody can write to them meanwhile.
disturb ()
{
  expect_status 1 qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write 0 64k'
}

for tool in python nbd qemu; do
  write_images 1 0 20M
  proved_export "$tool" disturb
  write_images 2 100M 1k
  # The raw image holds no bitmaps: it is full, with the reason.
  proved_export "$tool" disturb --since "$checkpoint"
  assert_equal "$(export_get reason vdb)" "it has no checkpoint '$(export_get since)'" "reason"
  write_images 3 10M 4M
  proved_export "$tool" disturb --since "$checkpoint"
  echo "$tool: exact"
done
assert_no_export_left
assert_equal "$(qemu-img info "$tmp/a.qcow2" | grep -c 'name: varve\.x-acme\.')" 2 "checkpoints kept"

# XML, by its schema; a group that may connect.
varve export begin "${export_args[@]}" --socket "$tmp/published" --socket-mode 0660 --socket-group daemon --format xml \
  > "$tmp/export.xml"
assert_equal "$(stat -c '%a %G' "$tmp/published")" '660 daemon' "mode and group of the socket"
if command -v xmllint > /dev/null; then
  xmllint --noout --relaxng "$srcdir/xml-schemas/export-session.rng" "$tmp/export.xml"
fi
session=$(sed -n "s/.* id='\([0-9a-f]*\)'.*/\1/p" "$tmp/export.xml" | head -n 1)
end_export --discard-checkpoint

# What is refused.
expect_status 4 varve export begin "${export_args[@]}" --socket "$tmp/published" --allow-trim
assert_contains "$tmp/said.log" 'TRIM cannot be allowed'
expect_status 2 varve export begin "${export_args[@]}" --listen 127.0.0.1:0
assert_contains "$tmp/said.log" 'needs TLS credentials'
expect_status 4 varve export begin "${export_args[@]}" --listen 0.0.0.0:0 --no-tls
assert_contains "$tmp/said.log" 'no loopback address'
varve export begin "${export_args[@]}" --listen 127.0.0.1:0 --no-tls > "$tmp/export.json"
session=$(export_get session)
vendor full nbd "$(export_get uri vda)" "$tmp/clear.raw"
assert_same "$tmp/clear.raw" raw "$tmp/a.qcow2" qcow2
end_export --discard-checkpoint

hang_all_readers
assert_no_export_left
assert_equal "$(qemu-img info "$tmp/a.qcow2" | grep -c 'name: varve\.x-acme\.')" 2 "checkpoints in the end"
