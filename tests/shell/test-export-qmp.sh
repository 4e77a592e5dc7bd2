#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Vendors read a running QEMU: full, then two increments by the dirty map alone, each with tools of its own, and each exact
# at one instant although the guest writes, zeroes and discards meanwhile. Afterwards QEMU is as it was.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires_vendors

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw:raw")
make_disk "$tmp/a.qcow2" 192M
make_disk "$tmp/b.raw" 64M raw
start_qemu vda="$tmp/a.qcow2" vdb="$tmp/b.raw:raw"
export_args=(-c "qmp+unix://$qmp" vm --owner acme)
before=$(qemu_names)

# Over what was there, and where nothing was.
disturb ()
{
  guest_write vda 3M 1M 17
  guest_write vda 150M 64k 18
  guest_zero vda 8M 256k
  guest_discard vda 12M 3M
  guest_write vdb 0 300k 19
  guest_discard vdb 50M 1M
  guest_zero vdb 20M 1M
}

for tool in python nbd qemu; do
  guest_write vda 0 20M 1
  guest_write vda 191M 1M 2
  guest_write vdb 16M 8M 3
  proved_export "$tool" disturb
  guest_write vda 5M 100k 4
  guest_write vda 100M 1k 5
  proved_export "$tool" disturb --since "$checkpoint"
  guest_discard vda 10M 4M
  guest_write vdb 1M 3M 6
  proved_export "$tool" disturb --since "$checkpoint"
  echo "$tool: exact"
done
assert_no_export_left
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$(echo "$before" | grep -v ^bitmaps)" "what is in QEMU"
assert_equal "$(qemu_names | grep -o "varve\.[^']*" | sort -u | wc -l)" 2 "checkpoints kept"

# A backup meanwhile says whose session is in the way, or waits for it.
begin_export --max-age 1h
expect_status 8 varve backup -c "qmp+unix://$qmp" vm --to "images:$store"
assert_contains "$tmp/said.log" "export session $session of owner 'x-acme'"
varve export list > "$tmp/list.log"
assert_contains "$tmp/list.log" "^$session  vm +x-acme +serving"
varve backup -c "qmp+unix://$qmp" vm --to "images:$store" --wait 30 > "$tmp/backup.log" 2>&1 &
backup_pid=$!
cleanup_fn end_process "$backup_pid" KILL
sleep 1
end_export --discard-checkpoint
wait "$backup_pid"
expect_status 1 varve export end "$session" --keep-checkpoint
assert_contains "$tmp/said.log" 'There is no export session'

# A command, whose exit status decides.
checkpoints=$(qemu_names | grep -o "varve\.x-acme[^']*" | sort -u)
expect_status 1 varve export begin "${export_args[@]}" --disk vda --run 'nbdinfo --size "$uri"; exit 7'
assert_contains "$tmp/said.log" '^201326592$'
assert_contains "$tmp/said.log" 'status 7'
assert_equal "$(qemu_names | grep -o "varve\.x-acme[^']*" | sort -u)" "$checkpoints" "checkpoints behind a failure"
varve export begin "${export_args[@]}" --since "$checkpoint" \
  --run 'grep -q "\"dirty_context\"" "$VARVE_SESSION" && nbdcopy "$VARVE_URI_vdb" '"$tmp/run.raw"
assert_same "$tmp/run.raw" raw "$tmp/b.raw" raw
if [ "$(qemu_names | grep -o "varve\.x-acme[^']*" | sort -u)" = "$checkpoints" ]; then
  fail "the checkpoint of a command that went well was not kept"
fi

# It ends by itself: the age that was given; a host that is told to go; one that is killed.
begin_export --max-age 2
wait_for 120 "the end of the session by its age" holds assert_no_export_left
begin_export
kill "$(pgrep -f "varve-export $VARVE_STATE_DIR $session")"
wait_for 120 "the end of the session by a signal" holds assert_no_export_left
begin_export
kill -KILL "$(pgrep -f "varve-export $VARVE_STATE_DIR $session")"
wait_for 120 "the end of the session by its guard" holds assert_no_export_left

# A checkpoint that is not there is no silent full; and nothing is left of what was refused.
expect_status 1 varve export begin "${export_args[@]}" --socket "$tmp/published" --since varve.none
assert_contains "$tmp/said.log" "Nothing can be read since checkpoint 'varve.none'"
expect_status 2 varve export begin "${export_args[@]}"
touch "$tmp/published"
expect_status 1 varve export begin "${export_args[@]}" --socket "$tmp/published"
assert_contains "$tmp/said.log" 'exists already'
rm "$tmp/published"
assert_no_export_left
assert_equal "$(qemu_names | grep -v ^bitmaps)" "$(echo "$before" | grep -v ^bitmaps)" "what is in QEMU"
