#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What an emulated TPM remembers goes into a backup, and to the domain that is defined of it: its state is encrypted by a secret of
# libvirt's, and has an NV index of which the origin has changed the contents since. Nothing is written where the host lacks
# something; a restore that is killed or fails before its domain is defined leaves the firmware's variables that were there, and
# no state of a TPM that nobody has.
. "$(dirname "$0")/functions.sh"
requires_libvirt
requires swtpm swtpm_setup tpm2_nvread qemu-storage-daemon xmllint

firmware=/usr/share/seabios/bios-256k.bin
states=/var/lib/libvirt/swtpm
nv_index=0x1500016
if [ ! -r "$firmware" ]; then
  skip "$firmware is not there"
fi

value ()
{
  virsh dumpxml --inactive "$1" | xmllint --xpath "string($2)" -
}

# state_of DOMAIN: the file with what its TPM remembers.
state_of ()
{
  echo "$states/$(value "$1" /domain/uuid)/tpm2/tpm2-00.permall"
}

# with_tpm DIRECTORY COMMAND...: runs it with the TPM whose state lies there.
with_tpm ()
{
  local directory=$1 pid status=0
  shift
  rm -f "$tmp/swtpm" "$tmp/swtpm.ctrl" "$tmp/swtpm.pid"
  swtpm socket --tpm2 --tpmstate "dir=$directory" --key "pwdfile=$tmp/passphrase,mode=aes-256-cbc" \
    --server "type=unixio,path=$tmp/swtpm" --ctrl "type=unixio,path=$tmp/swtpm.ctrl" --pid "file=$tmp/swtpm.pid" \
    --flags not-need-init,startup-clear --daemon
  pid=$(cat "$tmp/swtpm.pid")
  TPM2TOOLS_TCTI="swtpm:path=$tmp/swtpm" "$@" || status=$?
  end_process "$pid"
  return "$status"
}

# remember DOMAIN TEXT: while the domain is off.
remember ()
{
  rm -rf "$tmp/tpm"
  cp -r "$(dirname "$(state_of "$1")")" "$tmp/tpm"
  with_tpm "$tmp/tpm" write_index "$2"
  cp "$tmp/tpm/tpm2-00.permall" "$(state_of "$1")"
}

write_index ()
{
  if ! tpm2_nvreadpublic "$nv_index" > /dev/null 2>&1; then
    tpm2_nvdefine -Q -C o -s 16 -a 'ownerread|ownerwrite' "$nv_index"
  fi
  printf '%-16s' "$1" | tpm2_nvwrite -Q -C o -i - "$nv_index"
}

# assert_remembers DOMAIN TEXT
assert_remembers ()
{
  local text
  rm -rf "$tmp/tpm"
  cp -r "$(dirname "$(state_of "$1")")" "$tmp/tpm"
  text=$(with_tpm "$tmp/tpm" tpm2_nvread -C o -s 16 "$nv_index")
  assert_equal "$text" "$(printf '%-16s' "$2")" "what the TPM of $1 remembers"
}

owner_and_mode ()
{
  local file
  file=$(state_of "$1")
  stat -c '%U:%G %a' "$file" "$(dirname "$file")" "$(dirname "$(dirname "$file")")"
}

# --- a domain whose TPM remembers something -------------------------------------------------------

cp "$firmware" "$tmp/firmware.fd"
head -c 131072 /dev/urandom > "$tmp/origin_VARS.fd"
make_disk "$tmp/a.qcow2" 16M
disk_files=(vda="$tmp/a.qcow2")
secret=$(cat /proc/sys/kernel/random/uuid)
printf 'open sesame' > "$tmp/passphrase"
echo "<secret ephemeral='yes'><uuid>$secret</uuid><description>varve-test</description></secret>" > "$tmp/secret.xml"

set_secret ()
{
  virsh secret-define "$tmp/secret.xml"
  virsh secret-set-value "$secret" "$(base64 < "$tmp/passphrase")" 2> /dev/null
}

drop_secret ()
{
  if virsh secret-list | grep -q "$secret"; then
    virsh secret-undefine "$secret"
  fi
}

cleanup_fn drop_secret
set_secret
define_domain origin "${disk_files[@]}"
tpm="<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='$secret'/></backend></tpm>"
pflash="<loader readonly='yes' type='pflash'>$tmp/firmware.fd</loader><nvram>$tmp/origin_VARS.fd</nvram>"
sed -i "s|</os>|$pflash</os><features><acpi/></features>|; s|</devices>|$tpm</devices>|" "$tmp/$vm.xml"
virsh undefine "$domain"
virsh define "$tmp/$vm.xml"
origin=$domain
origin_uuid=$(value "$origin" /domain/uuid)
backup_args=("$origin")

# Before its first start there is nothing that it could remember, and a backup says so.
varve backup -c qemu:///system "$origin" --to "images:$tmp/early" > "$tmp/early.log"
assert_contains "$tmp/early.log" "note: The backup does not have what the domain's TPM remembers: there is none yet in '$states/"

start_domain
stop_domain
remember "$origin" 'sealed words'
start_domain
proved_backup
one=$last_backup
stop_domain
monitor=off
backup=$(echo "$store"/*/"$one")
assert_equal "$(stat -c %a "$backup/tpm")" 400 "the mode of the state in the store"
assert_equal "$(xmllint --xpath 'string(//machine/@tpm)' "$backup/manifest.xml")" yes "what the manifest says of it"
xmllint --noout --relaxng "$srcdir/xml-schemas/backup.rng" "$backup/manifest.xml"
remember "$origin" 'other words'
cp "$(state_of "$origin")" "$tmp/origin.state"

new=varve-test-$$-new
cleanup_fn remove_domain "$new"

# copies: how many TPMs of this host remember just what the backup has. The origin's does not any more, and others come and go.
copies ()
{
  find "$states" -ignore_readdir_race -name tpm2-00.permall -exec cmp -s {} "$tmp/kept.tpm" \; -print | wc -l
}

# --- refused: nothing is written ------------------------------------------------------------------

# refused STATUS REGEX
refused ()
{
  expect_status "$1" varve restore --from "images:$store" "$one" --define "$new" --to "$tmp/new"
  assert_contains "$tmp/said.log" "$2"
  if [ -e "$tmp/new" ] || virsh dominfo "$new" > /dev/null 2>&1; then
    fail "something was made by a restore that was refused"
  fi
  assert_equal "$(copies)" 0 "copies of the TPM's state behind a refusal"
}

cp "$backup/tpm" "$tmp/kept.tpm"
drop_secret
refused 4 "libvirt has no secret $secret here"
virsh secret-define "$tmp/secret.xml"
refused 4 "libvirt's secret $secret, .* has no value here"
set_secret
printf x | dd of="$backup/tpm" bs=1 seek=100 conv=notrunc status=none
refused 7 "The file 'tpm' is not as it was written"
expect_status 7 varve verify --from "images:$store" "$one"
assert_contains "$tmp/said.log" "The file 'tpm' is not as it was written"
cp "$tmp/kept.tpm" "$backup/tpm"
varve verify --from "images:$store" "$one"
cp "$backup/domain.xml" "$tmp/kept.xml"
cp "$backup/manifest.xml" "$tmp/kept.manifest"
sed -i "s/model='tpm-crb'/model='tpm-spapr'/" "$backup/domain.xml"
sed -i "/<file name='domain.xml'/d" "$backup/manifest.xml"
refused 4 "cannot give domain '$new' the TPM that it had .model tpm-spapr, version 2.0, emulated.: install swtpm"
cp "$tmp/kept.xml" "$backup/domain.xml"
cp "$tmp/kept.manifest" "$backup/manifest.xml"

# --- killed, and failed, before the domain is there -----------------------------------------------

define_new ()
{
  varve restore --from "images:$store" "$one" --define "$new" --to "$tmp/new" --format qcow2 "$@"
}

variables=$tmp/${new}_VARS.fd
head -c 4096 /dev/urandom > "$variables"
cp "$variables" "$tmp/older_VARS.fd"
VARVE_FAILPOINT=define-files expect_status 137 define_new --force
cmp "$variables.varve-old" "$tmp/older_VARS.fd"
assert_equal "$(copies)" 1 "copies of the TPM's state behind the kill"
mv "$variables" "$tmp/interrupted_VARS.fd"
expect_status 4 varve restore --from "images:$store" "$one" --define "$new" --to "$tmp/elsewhere"
assert_contains "$tmp/said.log" "'$variables.varve-old', exists already"
mv "$tmp/interrupted_VARS.fd" "$variables"

VARVE_FAILPOINT=define-files:error expect_status 1 define_new --force
assert_contains "$tmp/said.log" "The disks are restored; domain '$new', which is to have them, is not there"
cmp "$variables" "$tmp/older_VARS.fd"
assert_equal "$(copies)" 0 "copies of the TPM's state behind the failure"

# --- defined --------------------------------------------------------------------------------------

define_new --force | tee "$tmp/restore.log"
assert_contains "$tmp/restore.log" "note: Domain '$new' is defined"
if grep -q TPM "$tmp/restore.log"; then
  fail "something is said of the TPM, which is as it was"
fi
cmp "$variables" "$tmp/origin_VARS.fd"
if [ -e "$variables.varve-old" ] || [ -e "$(dirname "$(dirname "$(state_of "$new")")")/varve-pending" ]; then
  fail "a file for the time until the domain is defined is still there"
fi
cmp "$(state_of "$new")" "$backup/tpm"
assert_equal "$(copies)" 1 "copies of the TPM's state"
assert_equal "$(owner_and_mode "$new")" "$(owner_and_mode "$origin")" "owner and mode of the new TPM's state"
assert_remembers "$new" 'sealed words'

# It starts with that, and the old one's is its own.
domain=$new
vm=$new
virsh dumpxml --inactive "$new" > "$tmp/$new.xml"
start_domain
stop_domain
assert_remembers "$new" 'sealed words'
cmp "$(state_of "$origin")" "$tmp/origin.state"
assert_remembers "$origin" 'other words'

# A guest that runs at once under its old name is that domain again, with its uuid, which libvirt keeps a TPM's state by: what is
# there is not written over.
cleanup_fn rm -rf "${states:?}/$origin_uuid"
virsh undefine --nvram --keep-tpm "$origin"
expect_status 4 varve restore --from "images:$store" "$one" --instant --define "$origin" --to "$tmp/again"
assert_contains "$tmp/said.log" "The directory for the state of the new domain's TPM, '$states/[^']*', exists already.* move it away"
cmp "$states/$origin_uuid/tpm2/tpm2-00.permall" "$tmp/origin.state"
if [ -e "$tmp/again" ] || virsh dominfo "$origin" > /dev/null 2>&1; then
  fail "something was made by a restore that was refused"
fi

# One of its own that was begun and killed before the domain was there is none to stop at.
rm -r "${states:?}/$origin_uuid"
VARVE_FAILPOINT=define-files expect_status 137 varve restore --from "images:$store" "$one" --instant --define "$origin" \
  --to "$tmp/again"
test -e "$states/$origin_uuid/varve-pending"
expect_status 137 env VARVE_FAILPOINT=define-files "${varve_command[@]}" restore --from "images:$store" "$one" --instant \
  --define "$origin" --to "$tmp/again"
varve recover
if [ -e "$states/$origin_uuid" ] || [ -e "$tmp/${origin}_VARS.fd" ] || [ -e "$tmp/again/vda.qcow2" ] || virsh dominfo "$origin" > /dev/null 2>&1; then
  fail "something is left of a restore that was undone"
fi
session_is_gone
