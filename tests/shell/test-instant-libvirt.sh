#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A domain of libvirt whose disk was lost runs on its backup within seconds, as the domain that it was: it boots, its files are
# right while the disk is filled, though the server is killed and varve too; in the end its disk depends on nothing, and
# its next backup is an increment on the one that it came from. Another name gives another domain. What is refused, and
# what was begun and goes again.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-instant.sh"
requires_libvirt
requires_guest
requires qemu-io qemu-storage-daemon nbdkit mke2fs pgrep xmllint

disk_files=(vda="$tmp/origin.qcow2")
make_files "$tmp/origin.qcow2"
define_domain --guest '' origin "${disk_files[@]}"
backup_args=("$domain")
proved_backup
one=$last_backup
origin=$domain
uuid=$(virsh domuuid "$origin")
mkdir -m 0711 "$tmp/new"
image=$tmp/new/vda.qcow2
restore_args=("$origin@latest" --define "$origin" --disk "vda=$image")

value ()
{
  virsh dumpxml ${3:-} "$1" | xmllint --xpath "string($2)" -
}

assert_nothing_new ()
{
  session_is_gone
  if [ -e "$image" ] || virsh dominfo "$1" > /dev/null 2>&1; then
    fail "something is left of a restore that came to nothing"
  fi
}

# --- refused, or undone ----------------------------------------------------------------------------

expect_status 4 varve restore --from "images:$store" --instant "${restore_args[@]}"
assert_contains "$tmp/said.log" "There is a domain '$origin' at 'qemu:///system' already"
virsh undefine --checkpoints-metadata "$origin"
expect_status 2 varve restore --from "images:$store" --instant "${restore_args[@]}" --force
assert_contains "$tmp/said.log" 'nothing that exists is replaced'
echo something > "$image"
expect_status 4 varve restore --from "images:$store" --instant "${restore_args[@]}"
assert_contains "$tmp/said.log" 'exists already'
assert_equal "$(cat "$image")" something "the file that was there"
rm "$image"
for point in instant-images instant-prepared; do
  start_instant $point
  kill_instant
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "undid an instant restore of backup $one"
  assert_nothing_served
  assert_nothing_new "$origin"
done
VARVE_FAILPOINT=instant-prepared:error expect_status 1 varve restore --from "images:$store" --instant "${restore_args[@]}"
assert_nothing_served
assert_nothing_new "$origin"

# --- the domain that was lost ------------------------------------------------------------------------

restore_args+=(--speed 1M)
start_instant instant-booted
kill_instant
monitor=libvirt
wait_for_guest
guest sh 'mount -t ext4 /dev/vda /mnt'
assert_files
assert_equal "$(virsh domuuid "$origin")" "$uuid" "uuid of the domain"
assert_equal "$(value "$origin" '//disk/backingStore/source/@protocol')" nbd "what the disk lies above"
assert_equal "$(value "$origin" '//disk/backingStore/source/@protocol' --inactive)" '' "what the definition has below the disk"

# Whoever was killed, the same command goes on.
start_instant
wait_for 60 "a job that fills the disk" sh -c "virsh -c qemu:///system blockjob $origin vda --raw | grep -q type"
served=$(server_pid)
kill -KILL "$served"
assert_files
wait_for 60 "another server" grep -q 'had gone, and was started again' "$tmp/restore.log"
guest sh 'head -c 1000000 /dev/urandom > /mnt/written && cd /mnt && md5sum written >> sums && sync'
assert_files
kill_instant
assert_equal "$(wc -w <<< "$(server_pid)")" 1 "processes that serve behind a varve that was killed"
assert_files
start_instant
wait_for 60 "the restore to go on" grep -q . "$tmp/restore.log"
virsh blockjob "$origin" vda --bandwidth 0
wait "$restore_pid" || fail "the restore ended with status $?: $(cat "$tmp/restore.log")"
cat "$tmp/restore.log"
assert_nothing_served
assert_whole "$image"
assert_equal "$(value "$origin" '//disk/backingStore/source/@protocol')" '' "what the disk lies above in the end"
assert_equal "$(value "$origin" '//disk/source/@file' --inactive)" "$image" "the disk of the definition"
assert_files

disk_files=(vda="$image")
proved_backup
assert_small_increment
guest sh 'echo more > /mnt/more && umount /mnt'
proved_backup
assert_decision vda incremental
stop_domain
monitor=off
qemu-img check -q -f qcow2 "$image"
virsh start "$domain"
monitor=libvirt
guest_io vda 'read 0 64M'
stop_domain
monitor=off

# --- another domain, which goes off while its disk is filled -------------------------------------------

other=varve-test-$$-other
cleanup_fn remove_domain "$other"
restore_args=("$one" --define "$other" --to "$tmp/other" --speed 6M)
start_instant instant-tick
kill_instant
virsh destroy "$other"
varve recover > "$tmp/recover.log"
cat "$tmp/recover.log"
assert_contains "$tmp/recover.log" "finished an instant restore of backup $one"
assert_nothing_served
assert_whole "$tmp/other/vda.qcow2"
assert_digest "$tmp/other/vda.qcow2" qcow2 "$(cat "$tmp/digest.$one.vda")" "the disk of another domain"
if [ "$(virsh domuuid "$other")" = "$uuid" ]; then
  fail "another domain has the uuid of the first"
fi
assert_all_exact
