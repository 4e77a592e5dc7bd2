#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A backup becomes a domain of its own, beside the one that it is of: another name, uuid and MAC address, the restored disks,
# the firmware's variables of the backup, and nothing that the old domain has to itself. It starts, reads what was backed up, and
# its own backups are right. What this host does not have, or somebody else has, is refused before anything is written.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires qemu-storage-daemon xmllint

firmware=/usr/share/seabios/bios-256k.bin
if [ ! -r "$firmware" ]; then
  skip "$firmware is not there"
fi
cp "$firmware" "$tmp/firmware.fd"
head -c 131072 /dev/urandom > "$tmp/origin_VARS.fd"
cp "$tmp/origin_VARS.fd" "$tmp/variables"
head -c 65536 /dev/urandom > "$tmp/medium.iso"
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.raw" 16M raw
make_disk "$tmp/c.qcow2" 16M

# The tests' domain, with more to it.
define_domain origin "${disk_files[@]}" vdc="$tmp/c.qcow2"
drive="<disk type='file' device='cdrom'><source file='$tmp/medium.iso'/><target dev='sda' bus='sata'/><readonly/></disk>"
card="<interface type='user'><mac address='52:54:00:12:34:56'/></interface>"
firmware="<loader readonly='yes' type='pflash'>$tmp/firmware.fd</loader><nvram>$tmp/origin_VARS.fd</nvram>"
sed -i "s|</name>|</name><genid/>|; s|</os>|$firmware</os><features><acpi/></features>|; s|</devices>|$card$drive</devices>|" "$tmp/$vm.xml"
virsh undefine "$domain"
virsh define "$tmp/$vm.xml"
origin=$domain
start_domain
guest_write vda 1M 1M 11
guest_write vdb 2M 1M 22
guest_write vdc 3M 1M 33
backup_args=("$domain" --exclude vdc)
proved_backup
one=$last_backup
stop_domain
monitor=off
xml=$(echo "$store"/*/"$one"/domain.xml)
new=varve-test-$$-new
cleanup_fn remove_domain "$new"

value ()
{
  virsh dumpxml --inactive "$1" | xmllint --xpath "string($2)" -
}

# --- refused: nothing is written, and nothing defined ---------------------------------------------

# refused STATUS REGEX [ARGUMENT]...
refused ()
{
  local status=$1 regex=$2
  shift 2
  expect_status "$status" varve restore --from "images:$store" "$one" --define "$new" "$@"
  assert_contains "$tmp/said.log" "$regex"
  if [ -e "$tmp/new" ] || [ -e "$tmp/${new}_VARS.fd" ] || virsh dominfo "$new" > /dev/null 2>&1; then
    fail "something was made by a restore that was refused"
  fi
}

# What is kept of the machine has sums, as its disks do.
manifest=$(dirname "$xml")/manifest.xml
xmllint --noout --relaxng "$srcdir/xml-schemas/backup.rng" "$manifest"
cp "$xml" "$tmp/kept.xml"
sed -i 's|256</memory>|257</memory>|; s|>262144<|>262145<|' "$xml"
refused 7 "The file 'domain.xml' is not as it was written" --to "$tmp/new"
expect_status 7 varve verify --from "images:$store" "$one"
assert_contains "$tmp/said.log" "Backup $one: The file 'domain.xml' is not as it was written"
mv "$xml" "$tmp/moved.xml"
refused 7 "No such file" --to "$tmp/new"
cp "$tmp/kept.xml" "$xml"
varve verify --from "images:$store" "$one"

# A backup from before there were sums; so it can be changed as well.
sed -i "/<file name='domain.xml'/d" "$manifest"

# without REGEX SED: as if the definition were of a host that had that.
without ()
{
  cp "$xml" "$tmp/kept.xml"
  sed -i "$2" "$xml"
  if cmp -s "$xml" "$tmp/kept.xml"; then
    fail "nothing was changed by $2"
  fi
  refused 4 "$1" --to "$tmp/new"
  cp "$tmp/kept.xml" "$xml"
}

without "cannot run domain '$new' as it was .*machine pc-nowhere-1.0" "s/machine='[^']*'/machine='pc-nowhere-1.0'/"
without "cannot run domain '$new' as it was .*emulator /usr/bin/qemu-nowhere" "s|<emulator>.*<|<emulator>/usr/bin/qemu-nowhere<|"
without "has no network 'nowhere'" "s|<interface type='user'>|<interface type='network'><source network='nowhere'/>|"
without "has no network interface 'nowhere0'" "s|<interface type='user'>|<interface type='bridge'><source bridge='nowhere0'/>|"
without "has no storage pool 'nowhere'" \
  "s|type='file' device='cdrom'|type='volume' device='cdrom'|; s|<source file='$tmp/medium.iso'/>|<source pool='nowhere' volume='x'/>|"
without "The firmware of domain '$new', '/nowhere/code.fd', is not on this host" "s|$tmp/firmware.fd|/nowhere/code.fd|"
without "The directory for the variables .*'/nowhere', is not there" "s|$tmp/origin_VARS.fd|/nowhere/origin_VARS.fd|"
without "The processor of this host does not have all" \
  "s|<cpu .*/>|<cpu mode='custom' match='exact' check='full'><model>Icelake-Server</model></cpu>|; /<cpu [^/]*>\$/,/<\/cpu>/c <cpu mode='custom' match='exact' check='full'><model>Icelake-Server</model></cpu>"
expect_status 4 varve restore --from "images:$store" "$one" --define "$origin" --to "$tmp/new"
assert_contains "$tmp/said.log" "There is a domain '$origin' at 'qemu:///system' already"
refused 4 "is a disk or firmware file of domain '$origin'" --disk "vda=$tmp/a.qcow2,format=qcow2" --force
ln -s "$tmp/c.qcow2" "$tmp/other-name"
refused 4 "is a disk or firmware file of domain '$origin'" --disk "vda=$tmp/other-name,format=qcow2" --force
refused 2 'not as the NBD export' --disk 'vda=nbd://localhost/x' --force
refused 2 'A domain is defined by libvirt' --to "$tmp/new" -c image:
mkdir -m 0700 "$tmp/closed"
refused 4 "may not pass through '$tmp/closed' to its disk 'vda'" --to "$tmp/closed"
echo other > "$tmp/there"
mv "$tmp/there" "$tmp/${new}_VARS.fd"
expect_status 4 varve restore --from "images:$store" "$one" --define "$new" --to "$tmp/new"
assert_contains "$tmp/said.log" "'$tmp/${new}_VARS.fd', exists already"
rm "$tmp/${new}_VARS.fd"

# A backup of what libvirt does not know has no definition.
varve backup -c image: plain --image "vda=$tmp/c.qcow2,format=qcow2" --to "images:$tmp/plain" > "$tmp/plain.log"
expect_status 4 varve restore --from "images:$tmp/plain" plain@latest --define "$new" --to "$tmp/new"
assert_contains "$tmp/said.log" "has no definition of domain 'plain'"

# --- defined --------------------------------------------------------------------------------------

varve restore --from "images:$store" "$one" --define "$new" --to "$tmp/new" --format qcow2 --print-xml > "$tmp/restore.xml"
varve validate "$tmp/restore.xml"
varve run "$tmp/restore.xml" > "$tmp/restore.log"
cat "$tmp/restore.log"
assert_contains "$tmp/restore.log" "note: Disk 'vdc' is no part of the new domain"
assert_contains "$tmp/restore.log" "note: Domain '$new' is defined, with uuid $(value "$new" /domain/uuid)"
for path in /domain/uuid /domain/genid '//interface/mac/@address'; do
  if [ -z "$(value "$new" "$path")" ] || [ "$(value "$new" "$path")" = "$(value "$origin" "$path")" ]; then
    fail "$path of the new domain is '$(value "$new" "$path")'"
  fi
done
assert_equal "$(value "$new" "//disk[target/@dev='vda']/source/@file")" "$tmp/new/vda.qcow2" "the new disk vda"
assert_equal "$(value "$new" "//disk[target/@dev='vdb']/driver/@type")" qcow2 "the format of the new disk vdb"
assert_equal "$(value "$new" "count(//disk)")" 3 "disks and drives of the new domain"
assert_equal "$(value "$new" //os/nvram)" "$tmp/${new}_VARS.fd" "the new domain's variables"
cmp "$tmp/${new}_VARS.fd" "$tmp/variables"
for disk in vda vdb; do
  assert_digest "$tmp/new/$disk.qcow2" qcow2 "$(cat "$tmp/digest.$one.$disk")" "the new disk $disk"
done

# It runs, its first backup is a full one and the second an increment, both exact; and the old one's go on.
domain=$new
vm=$new
virsh dumpxml --inactive "$new" > "$tmp/$new.xml"
disk_files=(vda="$tmp/new/vda.qcow2" vdb="$tmp/new/vdb.qcow2")
backup_args=("$new")
start_domain
guest_io vda 'read -P 11 1M 1M'
guest_write vda 5M 64k 44
proved_backup
assert_decision vda full 'first backup of this disk'
guest_write vdb 6M 64k 55
proved_backup
assert_decision vdb incremental 'changed since backup'
assert_nothing_left
stop_domain
monitor=off
domain=$origin
vm=$origin
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.raw")
backup_args=("$origin" --exclude vdc)
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 66 7M 64k' > "$tmp/io.log"
proved_backup
assert_decision vda incremental "changed since backup $one"
assert_all_exact
