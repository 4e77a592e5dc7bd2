# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks with file systems, made without mounting any, and the appliance of libguestfs that reads them. Sourced by
# functions.sh.

# requires_appliance: its kernel and what is to boot it, and no /dev/kvm, which may be there and not work. It is built
# once for a build directory, and is small, so that it boots sooner.
requires_appliance ()
{
  requires supermin qemu-system-x86_64 nbdkit
  if [ ! -x "${VARVE_LIBEXEC_DIR:-$builddir/cli}/varve-files" ]; then
    skip "varve was built without libguestfs"
  fi
  if [ -z "$(find /boot -name 'vmlinuz*' -readable 2> /dev/null)" ]; then
    skip "there is no kernel in /boot that can be read"
  fi
  export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg LIBGUESTFS_MEMSIZE=512
  export LIBGUESTFS_CACHEDIR=$builddir/tests/guestfs-cache
  mkdir -p "$LIBGUESTFS_CACHEDIR"
}

# make_tree DIRECTORY: files whose names, modes, times and kinds are worth a look, and a big one, "known", which can be
# found on a disk by what it holds.
make_tree ()
{
  mkdir -p "$1/sub/deep"
  head -c 300000 /dev/urandom > "$1/sub/deep/random"
  head -c 3 /dev/urandom > "$1/sub/odd"
  : > "$1/empty"
  seq 100000 > "$1/numbers"
  head -c 1048576 < <(yes 'what is known is found again') > "$1/known"
  touch -d '2020-02-02 02:02:02 UTC' "$1/numbers"
  chmod 0640 "$1/numbers"
  chmod 0500 "$1/sub/deep"
}

# make_strange DIRECTORY: what a guest can do to whoever takes its files.
make_strange ()
{
  mkdir -p "$1/--to" "$1/sub"
  echo a > "$1/name with spaces"
  echo b > "$1/"$'new\nline'
  echo c > "$1/"$'\033[31mred'
  echo d > "$1/"$'not\377utf8'
  echo e > "$1/--to/-"
  echo f > "$1/set-user-id"
  chmod 4755 "$1/set-user-id"
  ln -s /etc/hostname "$1/absolute"
  ln -s ../../../../../../out "$1/sub/out"
  ln -s nowhere "$1/dangling"
  ln "$1/name with spaces" "$1/hard link"
  mkfifo "$1/fifo"
}

# make_system DISK SIZE-IN-MIB DIRECTORY: a disk with one partition, and in it ext4 with all that is in the directory.
make_system ()
{
  truncate -s "${2}M" "$1"
  echo 'start=2048, type=83' | sfdisk -q "$1"
  mke2fs -q -t ext4 -L system -d "$3" -E offset=1048576 "$1" "$(($2 - 1))M"
}

# make_xfs DISK DIRECTORY
make_xfs ()
{
  {
    echo 'boot 0 0'
    echo 'd--755 0 0'
    proto_of "$2"
    echo '$'
  } > "$tmp/proto"
  truncate -s 320M "$1"
  mkfs.xfs -q -L data -p "$tmp/proto" "$1"
}

# The entries of a directory as mkfs.xfs wants them.
proto_of ()
{
  local path
  for path in "$1"/*; do
    if [ -d "$path" ]; then
      echo "${path##*/} d--755 0 0"
      proto_of "$path"
      echo '$'
    else
      echo "${path##*/} ---644 0 0 $path"
    fi
  done
}

# make_ntfs DISK FILE...: ntfscp knows files of the top directory only.
make_ntfs ()
{
  local disk=$1 file
  shift
  truncate -s 32M "$disk"
  mkntfs -q -Q -F -L WIN "$disk" > "$tmp/mkntfs.log" 2>&1
  for file; do
    ntfscp -q -f "$disk" "$file" "${file##*/}"
  done
}

# make_fat DISK DIRECTORY
make_fat ()
{
  truncate -s 40M "$1"
  mkfs.vfat -n BOOT "$1" > "$tmp/mkfs.log"
  mcopy -i "$1" -s "$2"/* ::
}
