#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# virtnbdbackup itself on a domain that two owners of varve's back up in turn: its full backup before, its increment
# behind twenty of ours, restored by virtnbdrestore, is the disk. It refuses a domain that has a checkpoint without
# "virtnbdbackup" in its name; so the owners are called so, and one who is not has his records hidden from it, and redefined.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires virtnbdbackup virtnbdrestore qemu-io

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 4M' > "$tmp/io.log"
define_domain beside "${disk_files[@]}"
start_domain
checkpoint_args=("$domain")
peer=$tmp/peer
mkdir -m 0777 "$tmp/peer-scratch"

# peer_backup LEVEL: by virtnbdbackup.
peer_backup ()
{
  timeout 120 virtnbdbackup -d "$domain" -l "$1" -o "$peer" -n -S "$tmp/peer-scratch" \
    -f "$tmp/peer-scratch/$1.sock" > "$tmp/virtnbdbackup.log" 2>&1
}

# What it has, all its increments together, is what the disks are.
assert_peer_exact ()
{
  local disk
  rm -rf "$tmp/peer-restored"
  mkdir "$tmp/peer-restored"
  timeout 120 virtnbdrestore -i "$peer" -o "$tmp/peer-restored" -n -L "$tmp/virtnbdrestore.log" \
    > "$tmp/virtnbdrestore-out.log" 2>&1
  for disk in a b; do
    assert_same "$tmp/peer-restored/$disk.qcow2" qcow2 "$tmp/$disk.qcow2" qcow2
  done
}

# change NUMBER: a few writes that overlap those of other numbers.
change ()
{
  local n=$1
  guest_write vda "$((n * 300))k" 200k "$n"
  guest_zero vda "$((n % 7))M" 64k
  guest_write vdb "$((n * 500))k" 100k "$n"
}

# back_up OWNER: exact, and incremental where the owner has been here before.
declare -A last
back_up ()
{
  backup_args=("$domain" --owner "$1")
  proved_backup
  if [ -n "${last[$1]:-}" ]; then
    assert_decision vda incremental "changed since backup ${last[$1]}$"
    assert_decision vdb incremental "changed since backup ${last[$1]}$"
  fi
  last[$1]=$last_backup
}

peer_backup full
assert_peer_exact
assert_equal "$(checkpoint_names ' foreign ')" virtnbdbackup.0 "checkpoints of others"

for n in $(seq 1 20); do
  change "$n"
  back_up "$([ $((n % 2)) = 1 ] && echo alpha || echo beta)-virtnbdbackup"
done
assert_equal "$(checkpoint_names ' foreign ')" virtnbdbackup.0 "checkpoints of others"
peer_backup inc
assert_peer_exact
if [ "$(stat -c %s "$peer"/vda.inc.virtnbdbackup.1.data)" -gt $((12 << 20)) ]; then
  fail "the increment of virtnbdbackup is as large as a full backup"
fi
expect_healthy --owner alpha-virtnbdbackup

# Its new checkpoint cost neither owner his own; and one more increment sees what they did since.
change 21
back_up alpha-virtnbdbackup
change 22
back_up beta-virtnbdbackup
peer_backup inc
assert_peer_exact

# An owner of another name.
change 23
back_up gamma
change 24
if peer_backup inc; then
  fail "virtnbdbackup has nothing against a checkpoint of another name any more: tell the manual"
fi
assert_contains "$tmp/virtnbdbackup.log" 'Foreign checkpoint found: \[varve\.gamma-'
for name in $(checkpoint_names 'varve\.gamma-'); do
  virsh checkpoint-delete --metadata "$domain" "$name"
done
peer_backup inc
assert_peer_exact
expect_status 0 checkpoint redefine --owner gamma --from "images:$store"
back_up gamma
back_up alpha-virtnbdbackup
expect_healthy --owner gamma
assert_equal "$(checkpoint_names ' foreign ')" "$(printf 'virtnbdbackup.%d\n' 0 1 2 3)" "checkpoints of others"
assert_all_exact
assert_nothing_left
