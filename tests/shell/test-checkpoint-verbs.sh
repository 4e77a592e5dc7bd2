#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Checkpoints without a backup: made, listed with what has changed since, merged and deleted, and never somebody else's.
# Bitmaps as older tools leave them, disabled one after the other, are merged in the order that is stated. Argument: qmp,
# image, libvirt, or libvirt-off.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
case "$driver" in
qmp)
  start_qemu "${disk_files[@]}"
  checkpoint_args=(-c "qmp+unix://$qmp" vm)
  ;;
image)
  checkpoint_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
  ;;
libvirt*)
  requires_libvirt
  define_domain verbs "${disk_files[@]}"
  checkpoint_args=("$domain")
  if [ "$driver" = libvirt ]; then
    start_domain
  fi
  ;;
esac

# write DISK OFFSET-IN-MiB: one grain.
write ()
{
  if [ -n "${monitor:-}" ]; then
    guest_write "$1" "$2M" 64k 7
  else
    qemu-io -f qcow2 "$tmp/${1/vd/}.qcow2" -c "write -P 7 $2M 64k" > "$tmp/io.log"
  fi
}

# create [OPTION]...: prints the name.
create ()
{
  checkpoint create --owner acme "$@" > "$tmp/create.log"
  sed -nE 's/^created ([^ ]*): .*/\1/p' "$tmp/create.log"
}

grain=65536
expect_status 2 checkpoint create
assert_contains "$tmp/said.log" '--owner'
expect_status 1 checkpoint create --owner acme --disk vdx
one=$(create)
assert_contains "$tmp/create.log" 'varve\.x-acme\..*: vda, vdb$'
write vda 1
write vdb 1
two=$(create)
write vda 2
three=$(create --disk vda)
write vda 3
assert_equal "$(checkpoint_names)" "$one
$two
$three" "checkpoints, oldest first"
assert_equal "$(checkpoint list | sed 1d | grep -c '  kept  ')" 3 "checkpoints of an owner without a store"
assert_equal "$(changed_since "$one" vda) $(changed_since "$two" vda) $(changed_since "$three" vda)" \
  "$((3 * grain)) $((2 * grain)) $grain" "bytes changed since"
assert_equal "$(changed_since "$one" vdb)" "$grain" "bytes changed since"
assert_equal "$(changed_since "$three" vdb)" '' "bytes changed since"
expect_status 0 checkpoint check
assert_equal "$(cat "$tmp/said.log")" 'The checkpoints are in good health.' "what the check says"

# Only by their owner.
expect_status 4 checkpoint delete "$two"
expect_status 4 checkpoint delete "$two" --owner acm
expect_status 4 checkpoint merge "$one" "$three"
expect_status 1 checkpoint delete "$two"0 --owner acme
expect_status 2 checkpoint merge "$three" "$one" --owner acme
assert_equal "$(checkpoint_names | wc -l)" 3 "checkpoints"

# One in the middle goes, and the others have all of it.
expect_status 0 checkpoint delete "$two" --owner acme
assert_contains "$tmp/said.log" "^deleted $two$"
assert_equal "$(changed_since "$one" vda) $(changed_since "$three" vda)" "$((3 * grain)) $grain" "bytes changed since"
write vda 4
four=$(create)
write vda 5
# (By the instant instead of the name.)
expect_status 0 checkpoint merge "$(cut -d . -f 3 <<< "$one")" "$four" --owner x-acme
assert_contains "$tmp/said.log" "^merged $three$"
assert_contains "$tmp/said.log" "^merged $four$"
assert_equal "$(checkpoint_names)" "$one" "checkpoints after a merge"
assert_equal "$(changed_since "$one" vda) $(changed_since "$one" vdb)" "$((5 * grain)) $grain" "bytes changed since"
expect_status 0 checkpoint redefine
assert_contains "$tmp/said.log" 'nothing that the hypervisor does not know'
expect_status 0 checkpoint delete "$one" --owner acme
assert_equal "$(checkpoint list)" 'The domain has no checkpoint.' "what is listed"

# A chain of the older kind: each one disabled when the next was made. libvirt merges none while the domain runs.
foreign ()
{
  if [ "$driver" = qmp ]; then
    qmp "block-dirty-bitmap-$1" "{\"node\": \"fmt-vda\", \"name\": \"$2\"${3:+, $3}}" > /dev/null
  else
    qemu-img bitmap "--$1" -f qcow2 "$tmp/a.qcow2" "$2"
  fi
}

if [ "$driver" = libvirt ]; then
  virsh checkpoint-create-as "$domain" old.1 --diskspec vda,checkpoint=bitmap --diskspec vdb,checkpoint=no
  expect_status 4 checkpoint delete old.1 --owner acme
  expect_status 4 checkpoint redefine old.1
  virsh checkpoint-create-as "$domain" old.2 --diskspec vda,checkpoint=bitmap --diskspec vdb,checkpoint=no
  expect_status 4 checkpoint merge old.1 old.2 --owner acme
  expect_status 0 checkpoint merge --foreign old.1 old.2
  assert_equal "$(virsh checkpoint-list --name "$domain" | sed '/^$/d')" old.1 "libvirt's checkpoints"
  exit 0
fi
for n in 1 2 3; do
  foreign add "old.$n" '"persistent": true'
  write vda "$n"
  if [ "$n" != 3 ]; then
    foreign disable "old.$n"
  fi
done
write vda 7
expect_status 4 checkpoint merge old.1 old.2 --owner acme
expect_status 2 checkpoint merge --foreign old.1
expect_status 1 checkpoint merge --foreign old.1 old.9
expect_status 0 checkpoint merge --foreign old.1 old.2 old.3
assert_equal "$(checkpoint_names)" old.1 "bitmaps after a merge"
write vda 8
assert_equal "$(changed_since old.1 vda)" "$((5 * grain))" "bytes changed since"
# Nobody knows what was written since the last of them was disabled.
foreign disable old.1
foreign add old.2 '"persistent": true'
foreign disable old.2
write vda 9
expect_status 4 checkpoint merge --foreign old.1 old.2
assert_contains "$tmp/said.log" 'nobody knows what was written'
assert_equal "$(checkpoint_names)" "old.1
old.2" "bitmaps after a merge that was refused"
assert_nothing_left_on_host
