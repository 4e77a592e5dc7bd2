#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Makes the test guest: OUT_KERNEL (a copy of the newest cloud kernel; $VARVE_TEST_KERNEL takes another) and
# OUT_INITRD (busybox, the modules for virtio disks, init and `writer`; with the argument `agent` the host's
# qemu-ga too, which init starts where it finds its port). Copies, because libvirt gives
# the files that a machine boots from to the user it runs QEMU as.
set -euo pipefail

usage='usage: build-guest.sh WRITER OUT_KERNEL OUT_INITRD [agent]'
writer=${1:?$usage}
out_kernel=${2:?$usage}
out_initrd=${3:?$usage}
modules='virtio_pci virtio_blk'
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

newest_kernel ()
{
  local kernel
  for kernel in $(printf '%s\n' /boot/vmlinuz-*-cloud-amd64 /boot/vmlinuz-*-amd64 | sort -Vru); do
    if [ -r "$kernel" ] && [ -d "/lib/modules/${kernel#/boot/vmlinuz-}" ]; then
      echo "$kernel"
      return
    fi
  done
  echo "no kernel with modules in /boot: install linux-image-cloud-amd64" >&2
  return 77
}

kernel=${VARVE_TEST_KERNEL:-$(newest_kernel)}
version=${kernel##*/vmlinuz-}
busybox=$(command -v busybox) || { echo "install busybox-static" >&2; exit 77; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,modules,mnt}
cp "$busybox" "$root/bin/busybox"
cp "$writer" "$root/bin/writer"
cp "$here/init" "$root/init"
chmod 0755 "$root/init" "$root/bin/"*

# With its libraries, at the paths where it looks for them.
add_agent ()
{
  local agent library
  agent=$(command -v qemu-ga) || { echo "install qemu-guest-agent" >&2; exit 77; }
  cp "$agent" "$root/bin/qemu-ga"
  ldd "$agent" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root/$(dirname "$library")"
    cp -L "$library" "$root/$library"
  done
  mkdir -p "$root/run" "$root/etc"
  cp "$here/freeze-hook" "$root/bin/freeze-hook"
  chmod 0755 "$root/bin/freeze-hook"
  modules+=' virtio_console'
}

if [ "${4:-}" = agent ]; then
  add_agent
fi

# Debian may compress modules; busybox's insmod wants them plain. A "builtin" line needs nothing.
for module in $modules; do
  modprobe -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  name=$(basename "$file")
  case "$name" in
  *.xz) xz -dc "$file" > "$root/modules/${name%.xz}"; name=${name%.xz} ;;
  *) cp "$file" "$root/modules/$name" ;;
  esac
  echo "$name" >> "$root/modules/order"
done
touch "$root/modules/order"

(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$out_initrd.new"
mv "$out_initrd.new" "$out_initrd"
cp "$kernel" "$out_kernel.new"
chmod 0644 "$out_kernel.new"
mv "$out_kernel.new" "$out_kernel"
