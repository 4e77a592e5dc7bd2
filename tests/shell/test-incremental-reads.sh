#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What an increment reads, as QEMU's own trace of NBD requests counts it: no more than what is dirty and allocated, and
# 1 MiB of sample. What the guest trims costs next to nothing. Argument: qmp, libvirt or image.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

driver=$1
sample=$((1 << 20))
disk_files=(vda="$tmp/a.qcow2")
make_disk "$tmp/a.qcow2" 512M

# Each storage daemon with a trace of its own.
trace_daemons ()
{
  local daemon
  daemon=$(command -v qemu-storage-daemon)
  mkdir "$tmp/bin"
  cat > "$tmp/bin/qemu-storage-daemon" << END
#!/bin/bash
exec "$daemon" --trace enable=nbd_negotiate_meta_context --trace enable=nbd_receive_request,file="$tmp/trace.\$\$" "\$@"
END
  chmod 0755 "$tmp/bin/qemu-storage-daemon"
  PATH=$tmp/bin:$PATH
}

case "$driver" in
qmp)
  trace=$tmp/trace.log
  start_qemu --arg -D --arg "$trace" "${disk_files[@]}"
  qmp trace-event-set-state '{"name": "nbd_receive_request", "enable": true}' > /dev/null
  backup_args=(-c "qmp+unix://$qmp" vm)
  ;;
libvirt)
  requires_libvirt
  define_domain reads "${disk_files[@]}"
  start_domain
  trace=/var/log/libvirt/qemu/$domain.log
  hmp 'trace-event nbd_receive_request on' > /dev/null
  backup_args=("$domain")
  ;;
image)
  trace=$tmp/trace.source
  trace_daemons
  backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2")
  ;;
esac

# io COMMAND: of qemu-io, on the guest's disk.
io ()
{
  if [ "$driver" = image ]; then
    qemu-io -f qcow2 "$tmp/a.qcow2" -c "$1" > "$tmp/io.log"
  else
    guest_io vda "$1"
  fi
}

# What the daemon did that served the disk: the one that serves the base has an export "disk".
collect_trace ()
{
  local log
  for log in "$tmp"/trace.[0-9]*; do
    if grep -q "nbd_negotiate_meta_context.* export vda," "$log"; then
      cat "$log" >> "$trace"
    fi
    rm "$log"
  done
}

# assert_increment_reads LEAST: a backup of which so many bytes are dirty and allocated.
assert_increment_reads ()
{
  local from read
  from=$(stat -c %s "$trace")
  varve backup "${backup_args[@]}" --to "images:$store"
  assert_decision vda incremental
  if [ "$driver" = image ]; then
    collect_trace
  fi
  read=$(bytes_read "$trace" "$from")
  echo "read $read bytes, of which $1 are dirty and allocated"
  if [ "$read" -lt "$1" ] || [ "$read" -gt $(($1 + sample)) ]; then
    fail "the increment read $read bytes, and $1 are dirty and allocated"
  fi
}

: >> "$trace"
io 'write -P 1 0 48M'
io 'write -P 2 256M 64M'
varve backup "${backup_args[@]}" --to "images:$store"
assert_decision vda full
if [ "$driver" = image ]; then
  collect_trace
fi
if [ "$(bytes_read "$trace" 0)" -lt $((112 << 20)) ]; then
  fail "the trace does not tell what the full backup read"
fi

# Scattered: 16 granules where data was, 4 where nothing was, and one dirtied by a single sector.
for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  io "write -P $((10 + n)) $((n * 3))M 64k"
done
for n in 0 1 2 3; do
  io "write -P $((30 + n)) $((100 + n * 30))M 64k"
done
io 'write -P 40 400M 512'
assert_increment_reads $((21 * 65536))

# A large trim, and zeros written, next to a single write.
io 'discard 260M 50M'
io 'write -z -u 2M 8M'
io 'write -P 50 500M 64k'
assert_increment_reads 65536
io 'discard 0 500M'
assert_increment_reads 0
proved_backup
assert_all_exact
assert_nothing_left
