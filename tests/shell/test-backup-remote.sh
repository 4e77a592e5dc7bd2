#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A domain of a libvirt that is reached as another host's: its disks are pulled by TCP and TLS, with scratch where the
# operator said, full and incremental, exact while the guest writes. A wrong certificate and clear text are refused; a
# run that is killed is ended by its guard from afar; nothing is left there. The daemon is the test's own, in name spaces
# for mounts and network: the host's serves others.
if [ -z "${VARVE_TEST_PRIVATE:-}" ]; then
  if [ "$(id -u)" -ne 0 ] || ! unshare --mount --net true; then
    echo "skipped: this needs root, and name spaces" >&2
    exit 77
  fi
  VARVE_TEST_PRIVATE=1 exec unshare --mount --net --propagation private "$0" "$@"
fi
. "$(dirname "$0")/functions.sh"
requires_guest
requires_vendors
requires qemu-storage-daemon libvirtd virtlogd virsh certtool psktool ip

make_libvirt_private
ip link set lo up
creds=$tmp/credentials
mkdir "$creds" "$tmp/far"
"$shell_dir/make-credentials.sh" "$creds"
chmod -R a+rX "$creds"
chmod 0711 "$tmp/far"
echo "backup_tls_x509_cert_dir = \"$creds/x509\"" > "$tmp/qemu.conf"
printf '%s\n' 'listen_tls = 0' 'listen_tcp = 1' 'auth_tcp = "none"' 'listen_addr = "127.0.0.1"' > "$tmp/libvirtd.conf"
for file in qemu.conf libvirtd.conf; do
  mount --bind "$tmp/$file" "/etc/libvirt/$file"
done
libvirtd_options=--listen
requires_libvirt
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 96M
make_disk "$tmp/b.qcow2" 32M
define_domain --guest 'numbers vda vdb delay=8000' remote "${disk_files[@]}"
start_domain
far=(-c qemu+tcp://127.0.0.1/system "$domain")
server=(--listen 127.0.0.1:10810 --tls-creds "$creds/x509-client")
scratch=(--scratch "$tmp/far" --scratch-limit 200M)

# What is refused, and does nothing.
before=$(libvirt_names)
expect_status 4 varve backup "${far[@]}" --to "images:$store"
assert_contains "$tmp/said.log" 'a libvirt on another host'
expect_status 4 varve backup "${far[@]}" "${server[@]}" --to "images:$store"
assert_contains "$tmp/said.log" 'which directory there is for scratch'
expect_status 2 varve backup "${far[@]}" --listen 127.0.0.1:10810 --to "images:$store"
expect_status 4 varve export begin "${far[@]}" --owner acme --socket "$tmp/published"
assert_contains "$tmp/said.log" 'a libvirt on another host'
assert_equal "$(libvirt_names)" "$before" "what is in the hypervisor"

backup_args=("${far[@]}" "${server[@]}" "${scratch[@]}")
proved_backup
guest fill vda offset=32M length=8M seed=1
proved_backup
assert_decision vda incremental 'changed since backup'
assert_decision vdb incremental 'changed since backup'
guest fill vda offset=36M length=8M seed=2
proved_backup
assert_decision vda incremental 'changed since backup'

nothing_is_left_there ()
{
  [ "$(libvirt_names)" = "$before" ] && [ -z "$(find "$tmp/far" -mindepth 1)" ] && holds assert_nothing_left_on_host
}

# Who has no certificate of the authority gets nothing, varve or not.
for kind in other expired; do
  expect_status 5 varve backup "${far[@]}" --listen 127.0.0.1:10810 --tls-creds "$creds/x509-$kind" "${scratch[@]}" \
    --to "images:$store"
  wait_for 120 "the end of the refused backup" nothing_is_left_there
done
guest fill vda offset=32M length=16M seed=3
start_backup_until copy-disk
vendor refused nbd://127.0.0.1:10810/vda
vendor refused "nbds://127.0.0.1:10810/vda?tls-certificates=$creds/x509-other"
expect_status 8 varve backup "$domain" --to "images:$store"
# The other disk comes to that point as well.
fault_finish 0 'done in'
# A run that dies there has a guard, which is not stopped with it.
VARVE_FAILPOINT=copy-disk:kill expect_status 137 varve backup "${backup_args[@]}" --to "images:$store"
wait_for 120 "the guard to end the session" nothing_is_left_there
proved_backup
assert_decision vda incremental 'changed since backup'

# By TCP and TLS, the same libvirt as this host's; and by a socket: one chain.
backup_args=("$domain" "${server[@]}")
guest fill vda offset=32M length=4M seed=4
proved_backup
assert_decision vda incremental 'changed since backup'
backup_args=("$domain")
proved_backup
assert_decision vda incremental 'changed since backup'

guest stop
assert_guest_unhurt
assert_all_exact
stop_domain
expect_status 4 varve backup "${far[@]}" "${server[@]}" "${scratch[@]}" --to "images:$store"
assert_contains "$tmp/said.log" 'its images are on another host'
assert_nothing_left
