#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Images that are more than one plain qcow2: LUKS (of itself, and within qcow2), an external data file, backing files,
# version 2 of qcow2; and what is refused: a backing file of unknown format. Argument: image or qmp.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

driver=$1

printf 'open sesame' > "$tmp/key"
chmod 0600 "$tmp/key"
secret=(--object "secret,id=key,file=$tmp/key")

# Two backing files with data of their own, of which the upper one ends before the disk does.
make_disk "$tmp/base.raw" 16M raw
qemu-io -f raw "$tmp/base.raw" -c 'write -P 1 0 16M' > "$tmp/io.log"
qemu-img create -q -f qcow2 -F raw -b base.raw "$tmp/middle.qcow2" 24M
qemu-io -f qcow2 "$tmp/middle.qcow2" -c 'write -P 2 4M 1M' -c 'write -P 2 20M 1M' -c 'write -z 6M 1M' > "$tmp/io.log"
qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 "$tmp/chain.qcow2" 40M
make_disk "$tmp/data.qcow2" 32M qcow2 "data_file=$tmp/data.raw,data_file_raw=on"
make_disk "$tmp/v2.qcow2" 16M qcow2 compat=0.10

if [ "$driver" = qmp ]; then
  disk_files=(chain="$tmp/chain.qcow2" data="$tmp/data.qcow2" v2="$tmp/v2.qcow2")
  start_qemu "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$qmp" vm)
  change () { guest_io "$1" "$2"; }
  v2_again=incremental
else
  # What qemu-img needs a key for cannot be digested by the harness: those have a proof of their own, below.
  patiently qemu-img create -q -f luks "${secret[@]}" -o key-secret=key,iter-time=10 "$tmp/luks.img" 16M
  patiently qemu-img create -q -f qcow2 "${secret[@]}" -o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10 \
    "$tmp/crypt.qcow2" 16M
  monitor=off
  disk_files=(chain="$tmp/chain.qcow2" data="$tmp/data.qcow2" v2="$tmp/v2.qcow2")
  backup_args=(-c image: web01 --image "luks=$tmp/luks.img,format=luks,key-file=$tmp/key"
    --image "crypt=$tmp/crypt.qcow2,format=qcow2,key-file=$tmp/key")
  for spec in "${disk_files[@]}"; do
    backup_args+=(--image "$spec,format=qcow2")
  done
  change () { qemu-io -f qcow2 "$tmp/$1.qcow2" -c "$2" > "$tmp/io.log"; }
  v2_again=rescan
fi

# encrypted_io DISK COMMAND, encrypted_digest DISK: of the disks that need the key.
encrypted_options ()
{
  case "$1" in
  luks) echo "driver=luks,file.filename=$tmp/luks.img,key-secret=key" ;;
  crypt) echo "driver=qcow2,file.filename=$tmp/crypt.qcow2,encrypt.format=luks,encrypt.key-secret=key" ;;
  esac
}

encrypted_io ()
{
  qemu-io "${secret[@]}" --image-opts "$(encrypted_options "$1")" -c "$2" > "$tmp/io.log"
}

encrypted_digest ()
{
  qemu-img convert "${secret[@]}" --image-opts "$(encrypted_options "$1")" -O raw "$tmp/plain.raw"
  digest "$tmp/plain.raw" raw
}

# proved DECISION...: of luks and crypt, too, where they are.
proved ()
{
  local disk
  proved_backup
  if [ "$driver" = image ]; then
    for disk in luks crypt; do
      encrypted_digest "$disk" > "$tmp/digest.$last_backup.$disk"
      proof_count=$((proof_count + 1))
    done
  fi
}

change data 'write -P 3 0 4M'
change v2 'write -P 4 1M 1M'
change chain 'write -P 5 18M 64k'
if [ "$driver" = image ]; then
  encrypted_io luks 'write -P 6 0 2M'
  encrypted_io crypt 'write -P 7 1M 2M'
fi
proved
for disk in chain data v2; do
  assert_decision "$disk" full 'first backup'
done
change data 'write -P 8 1M 64k'
change data 'discard 2M 1M'
change v2 'write -P 9 3M 64k'
change chain 'write -P 10 30M 64k'
change chain 'discard 0 1M'
change chain 'write -z 18M 64k'
if [ "$driver" = image ]; then
  encrypted_io luks 'write -P 11 4M 64k'
  encrypted_io crypt 'write -P 12 1M 64k'
fi
proved
assert_decision chain incremental
assert_decision data incremental
assert_decision v2 "$v2_again"
if [ "$driver" = image ]; then
  assert_decision v2 rescan 'no bitmap: a qcow2 image of version 2 cannot store bitmaps'
  assert_decision luks rescan 'no bitmap: a luks image cannot store bitmaps'
  assert_decision crypt incremental
fi
# What is pushed is as exact, on top of that.
backup_args+=(--mode push)
change data 'write -P 13 20M 64k'
change v2 'write -P 14 5M 64k'
change chain 'write -P 15 21M 64k'
change chain 'write -z 5M 64k'
if [ "$driver" = image ]; then
  encrypted_io crypt 'write -P 16 3M 64k'
fi
proved
assert_decision chain incremental
assert_decision data incremental
if [ "$driver" = image ]; then
  assert_decision v2 full 'no bitmap: .*; a push does not compare'
  assert_decision luks full 'no bitmap: .*; a push does not compare'
  assert_decision crypt incremental
else
  assert_decision v2 incremental
fi

if [ "$driver" = image ]; then
  # Without the key, and with another.
  fault_backup_of ()
  {
    expect_status "$1" varve backup -c image: web01 --image "$3" --to "images:$store"
    assert_contains "$tmp/said.log" "$2"
    assert_nothing_left
  }
  printf 'something else' > "$tmp/other"
  fault_backup_of 2 'has no key-file' "luks=$tmp/luks.img,format=luks"
  fault_backup_of 1 'password' "luks=$tmp/luks.img,format=luks,key-file=$tmp/other"
  expect_status 2 varve backup -c image: web01 --image "vda=$tmp/guess.vmdk,format=vmdk" --mode push --to "images:$store"
  assert_contains "$tmp/said.log" "The image's format is 'vmdk': it can be 'raw', 'qcow2' or 'luks'"
  # A header that names a backing file without its format.
  cp "$tmp/chain.qcow2" "$tmp/guess.qcow2"
  qemu-img rebase -u -f qcow2 -b middle.qcow2 -F qcow2 "$tmp/guess.qcow2"
  python3 - "$tmp/guess.qcow2" << 'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    head = bytearray(f.read(4096))
    at = struct.unpack(">I", head[100:104])[0]
    while struct.unpack(">I", head[at:at + 4])[0] != 0xE2792ACA:
        at += 8 + (struct.unpack(">I", head[at + 4:at + 8])[0] + 7 & ~7)
    # An unknown extension instead, which a reader leaves alone.
    head[at:at + 4] = struct.pack(">I", 0x12345678)
    f.seek(0)
    f.write(head)
END
  expect_status 4 varve backup -c image: web02 --image "vda=$tmp/guess.qcow2,format=qcow2" --mode push --to "images:$store"
  assert_contains "$tmp/said.log" 'without a format'
  assert_nothing_left
fi
assert_all_exact
