# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Guests that run on disks which are still being filled. Sourced by the tests of instant restores, which set $restore_args
# (what stands behind `varve restore --instant`).

# make_files FILE: a disk of 64 MiB with a file system, half full of files, and their sums.
make_files ()
{
  local n
  mkdir "$tmp/files"
  for n in 1 2 3 4 5 6 7 8; do
    head -c 4M /dev/urandom > "$tmp/files/file$n"
  done
  (cd "$tmp/files" && md5sum file* > sums)
  make_disk "$tmp/files.raw" 64M raw
  mke2fs -q -t ext4 -d "$tmp/files" "$tmp/files.raw"
  qemu-img convert -f raw -O qcow2 "$tmp/files.raw" "$1"
  rm -r "$tmp/files" "$tmp/files.raw"
}

# assert_files: the booted guest reads all of them from its disk, and not from its memory.
assert_files ()
{
  guest sh 'sync; echo 3 > /proc/sys/vm/drop_caches; cd /mnt && md5sum -c -s sums'
}

# start_instant [POINT]: in the background; $restore_pid. With a failure point it stops itself there.
start_instant ()
{
  VARVE_FAILPOINT=${1:+$1:stop} "${varve_command[@]}" restore --from "images:$store" --instant "${restore_args[@]}" \
    > "$tmp/restore.log" 2>&1 &
  restore_pid=$!
  cleanup_fn end_process "$restore_pid" KILL
  if [ -n "${1:-}" ]; then
    wait_for 120 "the restore to reach $1" ended_or_stopped "$restore_pid"
    if ! is_stopped "$restore_pid"; then
      cat "$tmp/restore.log" >&2
      fail "the restore ended before it reached $1"
    fi
  fi
}

kill_instant ()
{
  local status=0
  kill -KILL "$restore_pid"
  wait "$restore_pid" 2> /dev/null || status=$?
  assert_equal "$status" 137 "status of a restore that was killed"
}

# pids_of PATTERN: of the processes with such a command line; nothing where there is none.
pids_of ()
{
  pgrep -f "$1" || [ $? -eq 1 ]
}

# server_pid: of the nbdkit that serves the backup to a guest of this test.
server_pid ()
{
  pids_of "^nbdkit .*--unix $VARVE_STATE_DIR/sockets/"
}

# front_pid: of the storage daemon in front of it.
front_pid ()
{
  pids_of "^qemu-storage-daemon .*$VARVE_STATE_DIR/sockets/"
}

# The server outlives who started it.
end_server ()
{
  local pid
  for pid in $(server_pid) $(front_pid); do
    end_process "$pid" KILL
  done
}
cleanup_fn end_server

assert_nothing_served ()
{
  session_is_gone
  assert_equal "$(server_pid)" '' "the process that serves"
  assert_equal "$(front_pid)" '' "the daemon in front of it"
  assert_equal "$(ls "$VARVE_STATE_DIR/sockets")" '' "directories of sockets"
}

# assert_whole FILE: the image depends on nothing, and is sound.
assert_whole ()
{
  qemu-img info -U -f qcow2 "$1" > "$tmp/info.log"
  if grep -q 'backing file' "$tmp/info.log"; then
    cat "$tmp/info.log" >&2
    fail "$1 depends on something"
  fi
}

# assert_small_increment: the newest backup has of vda but what a guest wrote.
assert_small_increment ()
{
  local layer
  layer=$(echo "$store"/*/"$(newest_backup)"/vda.qcow2)
  assert_decision vda incremental "changed since backup $one"
  if [ "$(($(stat -c %b "$layer") * 512))" -gt $((6 << 20)) ]; then
    fail "the first increment has $(stat -c %b "$layer") sectors"
  fi
}
