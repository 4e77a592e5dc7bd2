# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks that go to targets of their own, and the NBD servers that such targets are: slow ones, ones that hang, ones that
# die. Sourced by functions.sh.
#
# A test sets $backup_args and $disk_files as for any backup, and $target_args, what `varve backup` is told of the targets.

requires_targets ()
{
  requires nbdkit nbdcopy qemu-storage-daemon
}

# start_server NAME SIZE [RATE]: an export of zeros in memory, at $uri; $server_pid. RATE is in bits a second.
start_server ()
{
  local socket=$tmp/$1.sock
  uri="nbd+unix:///?socket=$socket"
  rm -f "$socket"
  nbdkit -f -U "$socket" ${3:+--filter=rate} memory "$2" ${3:+rate="$3"} > "$tmp/$1.server.log" 2>&1 &
  server_pid=$!
  cleanup_fn end_process "$server_pid" KILL
  wait_for 20 "the NBD server" test -S "$socket"
}

kill_server ()
{
  kill -KILL "$server_pid"
  wait "$server_pid" 2> /dev/null || return 0
}

# fetch URI SIZE: what the export holds, into $tmp/fetched.raw, by a client that is not varve.
fetch ()
{
  rm -f "$tmp/fetched.raw"
  nbdcopy "$1" "$tmp/fetched.raw"
  # A device may be larger than the disk that was copied to it.
  truncate -s "$2" "$tmp/fetched.raw"
}

# assert_copy DISK FILE-OR-URI [FORMAT]: it holds what the disk was when start_proved began.
assert_copy ()
{
  local expected file=$2 spec source
  expected=$(cat "$tmp/digest.new.$1")
  if [[ "$file" != /* ]]; then
    for spec in "${disk_files[@]}"; do
      if [ "${spec%%=*}" = "$1" ]; then
        source=${spec#*=}
      fi
    done
    fetch "$file" "$(virtual_size "${source%:*}" "$(disk_format "$source")")"
    file=$tmp/fetched.raw
  fi
  assert_digest "$file" "${3:-raw}" "$expected" "disk $1"
}

# assert_device DISK DEVICE SIZE: the same of a device, of which the disk takes so much.
assert_device ()
{
  dd if="$2" of="$tmp/device.copy" bs=64k iflag=count_bytes count="$3" status=none
  assert_copy "$1" "$tmp/device.copy"
}

# proved_copies [COMMAND...]: a backup to the targets, which `assert_copy` then can be asked of.
proved_copies ()
{
  start_proved "$@"
  finish_backup
}

# kill_push POINT: varve is killed there, while QEMU writes; the guard ends the job, and no copy has its name.
kill_push ()
{
  local file=$tmp/out/killed.raw
  target_args=(--owner copies --mode push --target "vda=$file")
  guard='' start_backup_until "$1"
  kill -KILL "$backup_pid"
  wait_for 60 "the guard to end the session" session_is_gone
  if [ -e "$file" ]; then
    fail "a copy that is not complete has its name"
  fi
  rm "$file.varve-partial"
}

# assert_no_copy_left DIRECTORY: nothing of a session is left on the host, nor of a target there.
assert_no_copy_left ()
{
  assert_nothing_left_on_host
  assert_equal "$(find "$1" -name '*.varve-partial')" '' "what is left of targets"
}
