#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Vendors read by TLS, x509 on TCP and PSK on a UNIX socket: full, then two increments by the dirty map alone, each exact;
# and nobody gets in with a wrong certificate, a wrong key, or in clear text. Argument: image, qmp or libvirt.
. "$(dirname "$0")/functions.sh"
requires_vendors
requires qemu-storage-daemon certtool psktool

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 16M
case "$driver" in
image)
  export_args=(-c image: vm --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
  ;;
qmp)
  requires_qemu
  start_qemu "${disk_files[@]}"
  export_args=(-c "qmp+unix://$qmp" vm)
  ;;
libvirt)
  requires_libvirt
  define_domain tls "${disk_files[@]}"
  start_domain
  export_args=("$domain")
  ;;
esac
export_args+=(--owner acme)
mkdir "$tmp/credentials"
"$shell_dir/make-credentials.sh" "$tmp/credentials"

# write_disk DISK OFFSET LENGTH PATTERN
write_disk ()
{
  if [ "$driver" = image ]; then
    qemu-io -f qcow2 "$tmp/$([ "$1" = vda ] && echo a || echo b).qcow2" -c "write -P $4 $2 $3" > "$tmp/io.log"
  else
    guest_write "$@"
  fi
}

# While it is read; images that are off nobody can write to.
disturb ()
{
  if [ "$driver" != image ]; then
    guest_write vda 3M 1M 17
    guest_discard vda 12M 3M
    guest_write vdb 0 300k 19
  fi
}

# proofs TOOL
proofs ()
{
  write_disk vda 0 20M 1
  write_disk vdb 4M 4M 3
  proved_export "$1" disturb
  write_disk vda 5M 100k 4
  proved_export "$1" disturb --since "$checkpoint"
  write_disk vda 40M 1M 5
  write_disk vdb 15M 1M 6
  proved_export "$1" disturb --since "$checkpoint"
  rm "$tmp"/vendor.*
  echo "$1 by ${reader_tls}: exact"
}

reader_tls=x509
export_server=(--listen 127.0.0.1:0 --tls-creds "$tmp/credentials/x509")
proofs nbd
reader_tls=psk
export_server=(--socket "$tmp/published" --tls-creds "$tmp/credentials/psk")
proofs python
reader_tls=
export_server=()

pause_guest
qemu-img convert -U -f qcow2 -O raw "$tmp/a.qcow2" "$tmp/now.raw"
assert_tls "$tmp/now.raw"
resume_guest
assert_no_export_left
