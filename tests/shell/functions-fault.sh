# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups that something goes wrong with, and what must hold afterwards: a clear word, the right exit status, nothing
# left behind, no half-made backup, a guest that noticed nothing, and a chain that goes on. Sourced by functions.sh.

# small_mount DIRECTORY SIZE: a file system of that size, for what is to become full. `resize_mount` gives it another.
small_mount ()
{
  requires_root
  mkdir -p "$1"
  if ! mount -t tmpfs -o "size=$2,mode=0711" varve-test "$1"; then
    skip "a tmpfs cannot be mounted here"
  fi
  cleanup_fn umount -l "$1"
}

resize_mount ()
{
  mount -o "remount,size=$2" "$1"
}

# All of its threads: the tracer takes one behind the other, and says this at the end.
is_traced ()
{
  grep -q "Process $1 attached" "$tmp/tracer.log"
}

# inject_fault PID FAULT DIRECTORY [CALLS]: what that process writes to the files in there meets this fault of strace's, in its
# own system calls (those that write, where none are named), until `end_fault`.
inject_fault ()
{
  local pid=$1 fault=$2 calls=${4:-pwrite64,pwritev} file files=()
  if [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2> /dev/null)" = 3 ]; then
    skip "no process can be traced here"
  fi
  for file in "$3"/*; do
    files+=(-P "$file")
  done
  strace -f -p "$pid" "${files[@]}" -e "trace=$calls" -e "inject=$calls:$fault" \
    -o "$tmp/strace.log" 2> "$tmp/tracer.log" &
  tracer=$!
  cleanup_fn end_process "$tracer"
  wait_for 120 "the fault" is_traced "$pid"
}

# A call that the process has not come back from when it is let go stands there as unfinished.
end_fault ()
{
  end_process "$tracer" INT
  if ! grep -qE 'INJECTED|DELAYED|unfinished' "$tmp/strace.log"; then
    fail "nothing was injected"
  fi
}

# write_backup_job FILE URI DOMAIN MAX-CHAIN ELEMENTS...: a job document "varve" (the label of `varve backup` too, so
# that both have the same checkpoints) for $store, with these elements before the target.
write_backup_job ()
{
  local file=$1 uri=$2 domain=$3 chain=$4
  shift 4
  {
    echo "<job name='varve'>"
    echo "  <backup>"
    echo "    <domain uri='$uri'>$domain</domain>"
    printf '    %s\n' "$@"
    echo "    <target><images directory='$store'${chain:+ max-chain='$chain'}/></target>"
    echo "  </backup>"
    echo "</job>"
  } > "$file"
}

# fault_backup STATUS REGEX: a backup that must end so, and say so.
fault_backup ()
{
  expect_status "$1" varve backup "${backup_args[@]}" --to "images:$store"
  assert_contains "$tmp/said.log" "$2"
}

# Lets a process that failure points stop go on to its end. Only while it stands: a signal more at its end, and the
# search for leaks, which traces all threads, may never come to an end.
continue_to_end ()
{
  local limit=$((SECONDS + 300))
  until has_ended "$1"; do
    if is_stopped "$1" && ! kill -CONT "$1" 2> /dev/null; then
      break
    fi
    if [ "$SECONDS" -ge "$limit" ]; then
      fail "process $1 does not come to an end"
    fi
    sleep 0.1
  done
}

# The backup that `start_backup_until` stopped.
continue_backup ()
{
  continue_to_end "$backup_pid"
}

# fault_finish STATUS REGEX: the backup that was started must end so, and say so.
fault_finish ()
{
  local status=0
  continue_backup
  wait "$backup_pid" || status=$?
  cat "$tmp/backup.log"
  assert_equal "$status" "$1" "status of the backup"
  assert_contains "$tmp/backup.log" "$2"
}

# backup_ids: of all backups that the store lists.
backup_ids ()
{
  varve list --from "images:$store" | sed 1d | cut -d ' ' -f 1
}

# assert_backups N: so many are listed.
assert_backups ()
{
  assert_equal "$(backup_ids | wc -l)" "$1" "backups in the store"
}

is_copying ()
{
  grep -qs '^phase=started' "$VARVE_STATE_DIR"/sessions/*.session
}

# The process of the guard of this test's session, if there is one.
guard_pid ()
{
  # 1: there is none; all else is an error.
  pgrep -f "varve-guard $VARVE_STATE_DIR " || [ $? -eq 1 ]
}

guard_is_there ()
{
  [ -n "$(guard_pid)" ]
}

guard_is_gone ()
{
  ! guard_is_there
}

# bytes_read LOG FROM: what the read requests to QEMU's NBD server add up to, in its trace from that byte of the log on.
bytes_read ()
{
  tail -c "+$(($2 + 1))" "$1" |
    awk '/nbd_receive_request/ && /\.type = 0x0,/ { sub (/.*len = /, ""); n += $1 } END { print n + 0 }'
}

# break_backup POINT REGEX COMMAND...: COMMAND breaks a backup that stands at POINT ("reading": that is reading), which
# must say so with the status of a source that failed, and leave nothing behind.
break_backup ()
{
  local point=$1 regex=$2
  shift 2
  if [ "$point" = reading ]; then
    start_backup_until copy-disk
    kill -CONT "$backup_pid"
    sleep 1
  else
    start_backup_until "$point"
  fi
  "$@"
  fault_finish 5 "$regex"
}

# The NBD socket of the session: who is connected stays so, nobody else can connect.
remove_socket ()
{
  local sockets
  sockets=$(find "$VARVE_STATE_DIR/sockets" -type s)
  if [ -z "$sockets" ]; then
    fail "there is no socket to be removed"
  fi
  rm $sockets
}

# chain_goes_on BACKUPS [DECISION [REGEX]]: behind a failure nothing is left, BACKUPS are listed, and one more of both
# disks is made so.
chain_goes_on ()
{
  assert_backups "$1"
  varve backup "${backup_args[@]}" --to "images:$store"
  assert_nothing_left
  assert_backups $(($1 + 1))
  assert_decision vda "${2:-incremental}" "${3:-}"
  assert_decision vdb "${2:-incremental}" "${3:-}"
}

# write_behind_qemu QCOW2: all data of an image that nobody has open is overwritten where it lies, so that none of its
# bitmaps sees it.
write_behind_qemu ()
{
  python3 - "$1" << 'END'
import json, subprocess, sys
extents = json.loads(subprocess.check_output(["qemu-img", "map", "-f", "qcow2", "--output=json", sys.argv[1]]))
with open(sys.argv[1], "r+b") as image:
    for extent in extents:
        if extent.get("data") and "offset" in extent:
            image.seek(extent["offset"])
            image.write(bytes([0xee]) * extent["length"])
END
}
