#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups served over NBD, read by programs that are not varve: exact, with a map of where there is data, as full disks
# whatever layers they are made of; read-only; many readers at once. With the options and filters of nbdkit. A damaged
# store is an error and never zeros. And what is refused.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon nbdkit nbdinfo nbdcopy mke2fs fio certtool psktool python3
plugin=${VARVE_LIBEXEC_DIR:-$builddir/lib/libexec}/nbdkit-varve-plugin.so

# vda has layers of everything, vdb no round size, vdc a partition with files, vdd what fio wrote and knows again.
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw" vdc="$tmp/c.raw" vdd="$tmp/d.raw")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2")
for disk in b c d; do
  backup_args+=(--image "vd$disk=$tmp/$disk.raw,format=raw")
done
make_disk "$tmp/a.qcow2" 256M
make_disk "$tmp/b.raw" 5243392 raw
make_disk "$tmp/c.raw" 16M raw
mkdir "$tmp/files"
seq 100000 > "$tmp/files/numbers"
mke2fs -q -t ext4 -d "$tmp/files" -E offset=1048576 "$tmp/c.raw" 15M
python3 - "$tmp/c.raw" << 'END'
import struct, sys
with open(sys.argv[1], 'r+b') as disk:
    disk.seek(446)
    disk.write(struct.pack('<B3sB3sII', 0, b'\0\0\0', 0x83, b'\0\0\0', 2048, 15 * 2048))
    disk.seek(510)
    disk.write(b'\x55\xaa')
END
fio_job=(--name=known --size=4M --bs=4k --verify=crc32c --verify_fatal=1 --randrepeat=1 --verify_state_save=0 --output="$tmp/fio.log")
fio "${fio_job[@]}" --filename="$tmp/d.raw" --rw=write --do_verify=0 --ioengine=psync

backups=()
for n in 1 2 3; do
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $n $((n * 7))M 3M" -c "write -P $n $((n * 7 + 1))k 1000" \
    -c "write -z -u $((n * 7 + 1))M 64k" > "$tmp/io.log"
  qemu-io -f raw "$tmp/b.raw" -c "write -P $n $((n * 100))k 5000" -c "write -P $n 5242880 512" > "$tmp/io.log"
  proved_backup
  backups+=("$last_backup")
done

# serve BACKUP [OPTION...]: at $socket, in the background; what an earlier server left in its place is no obstacle.
socket=$tmp/serve.sock
serve ()
{
  rm -f "$tmp/serve.pid"
  "${varve_command[@]}" serve --from "images:$store" "$@" --socket "$socket" --pid-file "$tmp/serve.pid" > "$tmp/serve.log" 2>&1 &
  served=$!
  cleanup_fn end_process "$served" KILL
  wait_for 60 "nbdkit" test -s "$tmp/serve.pid"
  assert_equal "$(cat "$tmp/serve.pid")" "$served" "the process that serves"
}

uri_of ()
{
  echo "nbd+unix:///$1?socket=$socket"
}

layer_of ()
{
  echo "$store"/*/"$1/$2.qcow2"
}

# assert_served BACKUP DISK: it is the disk, to each of the readers.
assert_served ()
{
  nbdcopy "$(uri_of "$2")" "$tmp/copy.raw"
  assert_digest "$tmp/copy.raw" raw "$(cat "$tmp/digest.$1.$2")" "disk $2 at backup $1 (nbdcopy)"
  qemu-img compare -f raw -F raw "$(uri_of "$2")" "$tmp/copy.raw" > "$tmp/compare.log"
  rm -f "$tmp/copy.raw"
}

for backup in "${backups[@]}"; do
  serve "$backup"
  assert_contains "$tmp/serve.log" "Serving backup $backup of web01"
  for disk in vda vdb vdc vdd; do
    assert_served "$backup" $disk
  done
  end_process "$served" KILL
done

# What there is is told, and nobody writes. The map is the one of the layers, whoever asks for it: libnbd gets all of a
# range, QEMU one extent at a time.
serve web01@latest
nbdinfo --list "$(uri_of '')" > "$tmp/list.log"
for disk in vda vdb vdc vdd; do
  assert_contains "$tmp/list.log" "export=\"$disk\""
  assert_contains "$tmp/list.log" "description: $disk of web01 at 20[0-9T:-]*Z"
done
nbdinfo --json "$(uri_of vda)" > "$tmp/info.json"
assert_contains "$tmp/info.json" '"is_read_only": true'
assert_contains "$tmp/info.json" '"can_multi_conn": true'
nbdinfo --map --json "$(uri_of vda)" > "$tmp/map.nbdinfo"
qemu-img map --output=json -f raw "$(uri_of vda)" > "$tmp/map.qemu"
qemu-img map --output=json -f qcow2 "$(layer_of "${backups[2]}" vda)" > "$tmp/map.layers"
python3 - "$tmp/map.layers" "$tmp/map.qemu" "$tmp/map.nbdinfo" << 'END'
import json, sys
def data(path):
    ranges = []
    for extent in json.load(open(path)):
        is_data = extent['data'] if 'data' in extent else extent['type'] == 0
        start = extent.get('start', extent.get('offset'))
        if is_data and ranges and ranges[-1][1] == start:
            ranges[-1][1] += extent['length']
        elif is_data:
            ranges.append([start, start + extent['length']])
    return ranges
layers, qemu, nbdinfo = map(data, sys.argv[1:])
assert len(layers) > 3 and layers == qemu == nbdinfo, (layers, qemu, nbdinfo)
END
expect_status 1 nbdinfo "$(uri_of vdx)"
assert_contains "$tmp/serve.log" "no export 'vdx'"
expect_status 1 nbdinfo "$(uri_of '')"
expect_status 1 qemu-io -f raw "$(uri_of vda)" -c 'write 0 64k'

# Many at once, in pieces and out of order.
readers=()
for n in 1 2 3 4; do
  nbdcopy --connections 4 --request-size "$((32768 << n))" "$(uri_of vda)" "$tmp/copy$n.raw" &
  readers+=($!)
done
fio "${fio_job[@]}" --ioengine=nbd --uri="$(uri_of vdd)" --rw=randread --iodepth=16
assert_contains "$tmp/fio.log" 'err= 0'
for n in "${readers[@]}"; do
  wait "$n"
done
for n in 1 2 3 4; do
  assert_digest "$tmp/copy$n.raw" raw "$(cat "$tmp/digest.${backups[2]}.vda")" "disk vda, read beside others"
  rm "$tmp/copy$n.raw"
done
end_process "$served"

# For a command, whose status is told.
# shellcheck disable=SC2016
varve serve --from "images:$store" "${backups[0]}" --disk vdb --run 'nbdcopy "$uri" '"$tmp/run.raw"
assert_digest "$tmp/run.raw" raw "$(cat "$tmp/digest.${backups[0]}.vdb")" "disk vdb (--run)"
expect_status 5 varve serve --from "images:$store" "${backups[0]}" --disk vdb --run 'exit 5'

# By TCP, with TLS, and to nobody without.
mkdir "$tmp/credentials"
"$shell_dir/make-credentials.sh" "$tmp/credentials"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
creds=$tmp/credentials
varve serve --from "images:$store" "${backups[0]}" --listen "127.0.0.1:$port" --tls-creds "$creds/x509" \
  --run "! nbdinfo nbd://127.0.0.1:$port/vda 2> $tmp/tls.log &&
    ! nbdinfo 'nbds://127.0.0.1:$port/vda?tls-certificates=$creds/x509-other' 2> $tmp/tls.log &&
    nbdcopy 'nbds://127.0.0.1:$port/vda?tls-certificates=$creds/x509-client' $tmp/tls.raw"
assert_digest "$tmp/tls.raw" raw "$(cat "$tmp/digest.${backups[0]}.vda")" "disk vda (TLS, x509)"
varve serve --from "images:$store" "${backups[0]}" --listen "127.0.0.1:$port" --tls-creds "$creds/psk" \
  --run "! nbdinfo nbd://127.0.0.1:$port/vda 2> $tmp/tls.log &&
    ! nbdinfo 'nbds://alice@127.0.0.1:$port/vda?tls-psk-file=$creds/psk-other/keys.psk' 2> $tmp/tls.log &&
    nbdcopy 'nbds://alice@127.0.0.1:$port/vda?tls-psk-file=$creds/psk/keys.psk' $tmp/psk.raw"
assert_digest "$tmp/psk.raw" raw "$(cat "$tmp/digest.${backups[0]}.vda")" "disk vda (TLS, PSK)"
varve serve --from "images:$store" "${backups[0]}" --listen "localhost:$port" --no-tls \
  --run "nbdcopy nbd://localhost:$port/vdb $tmp/tcp.raw"
assert_digest "$tmp/tcp.raw" raw "$(cat "$tmp/digest.${backups[0]}.vdb")" "disk vdb (TCP)"

# With filters of nbdkit: a file is read out of a partition (the filter ext2 passes on the map of the disk, for which there
# is noextents); a disk is written to, and the backup stays as it is; what is read is fetched ahead.
# shellcheck disable=SC2016
nbdkit -U - --filter=noextents --filter=ext2 --filter=partition "$plugin" "store=images:$store" "backup=${backups[1]}" disk=vdc \
  partition=1 ext2file=/numbers --run 'nbdcopy "$uri" '"$tmp/numbers"
cmp "$tmp/files/numbers" "$tmp/numbers"
# shellcheck disable=SC2016
nbdkit -U - --filter=cow "$plugin" "store=images:$store" "backup=${backups[1]}" disk=vda \
  --run 'qemu-io -f raw "$uri" -c "write -P 77 0 1M" -c "read -P 77 0 1M"' > "$tmp/cow.log"
# shellcheck disable=SC2016
nbdkit -U - --filter=readahead "$plugin" "store=images:$store" "backup=${backups[1]}" disk=vda \
  --run 'nbdcopy "$uri" '"$tmp/ahead.raw" 2> "$tmp/ahead.log"
assert_equal "$(cat "$tmp/ahead.log")" '' "what the filter readahead has to complain of"
assert_digest "$tmp/ahead.raw" raw "$(cat "$tmp/digest.${backups[1]}.vda")" "disk vda, fetched ahead"
serve "${backups[1]}" --disk vda
nbdcopy "$(uri_of '')" "$tmp/copy.raw"
assert_digest "$tmp/copy.raw" raw "$(cat "$tmp/digest.${backups[1]}.vda")" "disk vda, which a filter had written to"
end_process "$served"

# In the background, as another user, in another directory, from a store named by a relative path.
mkdir "$tmp/public"
chmod 0777 "$tmp/public"
background=(-P "$tmp/public/pid" -U "$tmp/plain.sock")
if [ "$(id -u)" -eq 0 ]; then
  background+=(--user nobody)
fi
(cd "$tmp" && nbdkit "${background[@]}" "$plugin" "store=images:${store##*/}" "backup=${backups[1]}")
wait_for 60 "nbdkit" test -s "$tmp/public/pid"
background_pid=$(cat "$tmp/public/pid")
cleanup_fn end_process "$background_pid"
for n in 1 2; do
  nbdcopy "nbd+unix:///vda?socket=$tmp/plain.sock" "$tmp/copy.raw"
  assert_digest "$tmp/copy.raw" raw "$(cat "$tmp/digest.${backups[1]}.vda")" "disk vda, served in the background"
done
end_process "$background_pid"

# Of a layer that QEMU compressed; and of one that only QEMU reads (somebody made it anew, and told the manifest), for which
# there is a storage daemon behind the plugin: it serves one reader after another.
make_disk "$tmp/p.qcow2" 256M
qemu-io -f qcow2 "$tmp/p.qcow2" -c 'write -P 9 200M 2M' > "$tmp/io.log"
varve backup -c image: packed --image "vda=$tmp/p.qcow2,format=qcow2" --mode push --compress --to "images:$store"
layer=$(layer_of "$(varve list --from "images:$store" packed | tail -n 1 | cut -d ' ' -f 1)" vda)
for n in 1 2; do
  serve packed@latest
  for m in 1 2; do
    qemu-img compare -f raw -F qcow2 "$(uri_of vda)" "$tmp/p.qcow2"
  done
  daemons=$(ps -e -o ppid=,comm= | awk -v us="$served" '$1 == us && $2 ~ /^qemu-storage/ { n++ } END { print n + 0 }')
  assert_equal "$daemons" $((n - 1)) "daemons behind the plugin"
  end_process "$served"
  if [ "$n" -eq 1 ]; then
    chmod 600 "$layer" "${layer%/*}/manifest.xml"
    qemu-img convert -f qcow2 -O qcow2 -o extended_l2=on "$tmp/p.qcow2" "$tmp/anew.qcow2"
    sed -i "s/bytes='$(stat -c %s "$layer")'/bytes='$(stat -c %s "$tmp/anew.qcow2")'/" "${layer%/*}/manifest.xml"
    cp "$tmp/anew.qcow2" "$layer"
  fi
done

# --- damage ---------------------------------------------------------------------------------------

# A layer whose table leads nowhere for 14M to 15M: an error there, and no zeros; all else is as it was.
layer=$(layer_of "${backups[1]}" vda)
"$shell_dir/damage-layer.py" "$layer" $((14 << 20)) $((1 << 20))
serve "${backups[1]}"
qemu-io -r -f raw "$(uri_of vda)" -c 'read -P 2 15437k 1M' -c 'read 13M 1M' -c 'read 200M 1M' > "$tmp/io.log"
expect_status 1 nbdcopy "$(uri_of vda)" "$tmp/damaged.raw"
for at in 14336k 14400k 15355k; do
  expect_status 1 qemu-io -r -f raw "$(uri_of vda)" -c "read $at 4k"
  assert_contains "$tmp/said.log" 'Input/output error'
done
assert_contains "$tmp/serve.log" "'$layer' is damaged at guest offset"
assert_served "${backups[1]}" vdb
end_process "$served"

# The disk below it, and its own layer's file cut off: told before anything is served.
serve "${backups[0]}"
assert_served "${backups[0]}" vda
# A backup that is served is read to its end, whoever deletes it.
varve delete --from "images:$store" "${backups[0]}" --with-dependents > "$tmp/delete.log"
assert_served "${backups[0]}" vda
end_process "$served"

proved_backup
truncate -s -65536 "$(layer_of "$last_backup" vda)"
expect_status 1 varve serve --from "images:$store" "$last_backup" --run true
assert_contains "$tmp/said.log" "Disk 'vda' of backup $last_backup: the image of disk 'vda' .* has [0-9]* bytes instead of"
# shellcheck disable=SC2016
varve serve --from "images:$store" "$last_backup" --disk vdb --run 'nbdcopy "$uri" '"$tmp/beside.raw"
assert_digest "$tmp/beside.raw" raw "$(cat "$tmp/digest.$last_backup.vdb")" "disk vdb beside a damaged one"

# --- refused --------------------------------------------------------------------------------------

# refused STATUS REGEX ARGUMENT...
refused ()
{
  expect_status "$1" varve serve --from "images:$store" "${@:3}"
  assert_contains "$tmp/said.log" "$2"
}

refused 1 "20200101T000000Z-0000000000000000" 20200101T000000Z-0000000000000000 --socket "$socket"
refused 1 "has no disk 'vdx'" web01@latest --disk vdx --socket "$socket"
refused 1 "'$tmp/a.qcow2' exists already" web01@latest --socket "$tmp/a.qcow2"
refused 2 'Say where readers connect' web01@latest
refused 2 'either --tls-creds DIR, or --no-tls' web01@latest --listen localhost:10809
refused 2 'on a loopback address' web01@latest --listen 0.0.0.0:10809 --no-tls
refused 2 'go with --listen' web01@latest --socket "$socket" --no-tls
refused 2 'exclude each other' web01@latest --socket "$socket" --listen localhost:10809 --no-tls
expect_status 1 nbdkit -U - "$plugin" "store=images:$store" --run true
assert_contains "$tmp/said.log" 'say which backup of which store'
expect_status 1 nbdkit -U - "$plugin" "store=images:$store" "backup=$last_backup" disk=vdx --run true
assert_contains "$tmp/said.log" "has no disk 'vdx'"
