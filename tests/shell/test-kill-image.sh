#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# SIGKILL at every failure point that a backup of a stopped machine passes: nothing half-made is listed, the storage
# daemon dies with varve, the images keep their bitmaps sound, the next run is incremental although it follows at
# once, and every backup is exact.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires qemu-img qemu-io qemu-storage-daemon python3 pgrep

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 32M

change ()
{
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $1 ${1}M 300k" -c "write -P $1 5000 1" > "$tmp/io.log"
  qemu-io -f qcow2 "$tmp/b.qcow2" -c "write -P $1 $(($1 % 31))M 64k" -c "discard $(($1 / 2))M 64k" > "$tmp/io.log"
}

# Storage daemons that a varve of this test has started.
no_daemons ()
{
  local pid
  for pid in $(pgrep -x qemu-storage-da); do
    if grep -qzsFx "VARVE_STATE_DIR=$VARVE_STATE_DIR" "/proc/$pid/environ"; then
      return 1
    fi
  done
}

assert_bitmaps ()
{
  local spec
  for spec in "${disk_files[@]}"; do
    assert_image_bitmaps "${spec#*=}" "$1"
  done
}

change 1
proved_backup
expect_backup_again full 'first backup'
change 2
backup_again incremental
prove_new

n=2
for point in $(failure_points image-start session store copy run); do
  started=$SECONDS
  options=()
  n=$((n + 1))
  change "$n"
  if [ "$point" = copy-tick ]; then
    qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $n 27M 4M" > "$tmp/io.log"
    options=(--speed 1M)
  fi
  kill_backup_at "$point" "${options[@]}"
  # At once: the daemon may still be on its way out.
  backup_again incremental 'changed since backup'
  prove_new
  wait_for 120 "the storage daemons to go" no_daemons
  assert_bitmaps 2
  echo "killed at $point: as it should be ($((SECONDS - started)) s)"
done
if [ "$n" -lt 20 ]; then
  fail "only $((n - 2)) failure points were found"
fi

for point in image-start-bitmap image-start-daemon copy-disk run-committed; do
  n=$((n + 1))
  change "$n"
  kill_backup_at "$point"
  wait_for 120 "the storage daemons to go" no_daemons
  assert_bitmaps 3
  varve recover --dry-run > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" 'would end session [0-9a-f]+ of backup 2'
  assert_bitmaps 3
  varve recover > "$tmp/recover.log"
  if is_committed_at "$point"; then
    assert_bitmaps 3
  else
    assert_bitmaps 2
  fi
  assert_nothing_left_on_host
  prove_new
  n=$((n + 1))
  change "$n"
  backup_again incremental 'changed since backup'
  prove_new
  echo "killed at $point, recovered by itself: as it should be"
done

prove_list
assert_equal "$(ls "$TMPDIR")" '' "what is left of temporary files"
