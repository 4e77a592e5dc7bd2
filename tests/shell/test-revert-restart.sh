#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A machine that runs is halted, put back in place, and started again: exact, all of what it did before is in the backup of
# the present, and the next backup is an increment on the one that it was put back to. What is cut off is finished, and
# never leaves a guest that runs on half-written disks, or one that does not run at all. Argument: qmp or libvirt.
. "$(dirname "$0")/functions.sh"
. "$shell_dir/functions-kill.sh"
requires_qemu
requires qemu-img qemu-io qemu-storage-daemon python3

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
make_disk "$tmp/a.qcow2" 32M
make_disk "$tmp/b.qcow2" 33000448
case "$driver" in
qmp)
  # The tests' QEMU is one that does not reboot.
  start_qemu --arg -action --arg reboot=reset "${disk_files[@]}"
  backup_args=(-c "qmp+unix://$tmp/vm.qmp" vm)
  ;;
libvirt)
  requires_libvirt
  define_domain restart "${disk_files[@]}"
  start_domain
  backup_args=("$domain")
  ;;
esac
checkpoint_args=("${backup_args[@]}")

is_running ()
{
  if [ "$driver" = libvirt ]; then
    [ "$(virsh domstate "$domain" | head -n 1)" = running ]
  else
    qmp query-status | grep -q '"running": true'
  fi
}

assert_running ()
{
  if ! is_running; then
    fail "the machine does not run $1"
  fi
}

# change N: by the guest.
change ()
{
  guest_write vda "$(($1 % 31))M" 300k "$1"
  guest_zero vda "$(($1 * 7 % 31))M" 64k
  guest_write vdb "$(($1 % 31))M" 70000 "$1"
}

# expect_put_back BACKUP: and the machine runs. The next backup, of what is written then, is an increment on that.
expect_put_back ()
{
  assert_running "behind a revert"
  assert_nothing_left
  assert_disks_as "$1"
  change "$n"
  proved_backup > "$tmp/proved.log"
  assert_decision vda incremental "changed since backup $1"
  assert_nothing_left
}

n=1
make_history
proved_backup > "$tmp/proved.log"

# Refused without the word, and nothing of the plan alone is done.
expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --yes "$one"
assert_contains "$tmp/said.log" "is not off.*--restart"
expect_status 0 varve revert "${backup_args[@]}" --from "images:$store" --restart --dry-run "$one"
assert_contains "$tmp/said.log" "note: The domain runs: it is halted first"
assert_running "behind a plan"

n=4
change 4
present=$(disks_sum)
revert --restart "$one"
cat "$tmp/revert.log"
kept=$(newest_backup)
expect_put_back "$one"

# What it had done last is in the backup of the present.
n=5
revert --restart --no-keep "$kept"
assert_running "behind a revert to the kept backup"
assert_equal "$(disks_sum)" "$present" "the disks, put back to how they were before the revert"
revert --restart --no-keep "$two"
expect_put_back "$two"

# Cut off before anything is written: the guest goes on, and its disks are as they were.
before=$(disks_sum)
for point in restart-halted $([ "$driver" = qmp ] && echo restart-opened); do
  kill_at "$point" revert --restart --no-keep "$one"
  if is_running; then
    fail "the machine runs behind a kill at $point"
  fi
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "started the guest, which was halted for a revert to backup $one that wrote nothing"
  assert_running "behind a kill at $point"
  assert_equal "$(disks_sum)" "$before" "the disks behind a kill at $point"
  assert_nothing_left
done
status=0
VARVE_FAILPOINT=restart-halted:error varve revert "${backup_args[@]}" --from "images:$store" --yes --restart "$one" \
  > "$tmp/said.log" 2>&1 || status=$?
assert_equal "$status" 1 "status of a revert that fails before it writes"
assert_running "behind a revert that failed before it wrote"
assert_nothing_left

# Cut off in the midst: it does not run on that, and whoever comes next finishes it, and starts it. (libvirt takes its time
# to start a machine.)
points=(revert-tick restart-reverted)
if [ "$driver" = qmp ]; then
  points+=(revert-written restart-started)
fi
for point in "${points[@]}"; do
  n=$((n + 1))
  kill_at "$point" revert --restart --no-keep "$one"
  case "$point" in
  revert-tick) varve recover > "$tmp/recover.log" ;;
  revert-written) revert --restart --no-keep "$one" ;;
  *) varve recover > "$tmp/recover.log" ;;
  esac
  expect_put_back "$one"
  echo "killed at $point: as it should be"
done

# A machine that is paused was paused by somebody.
if [ "$driver" = libvirt ]; then
  virsh suspend "$domain"
else
  qmp stop
fi
expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --yes --restart "$two"
assert_contains "$tmp/said.log" "is paused, not off"
assert_nothing_left

if [ "$driver" = qmp ]; then
  # QEMU dies in the midst: its images are known, and put back. (They were not closed: clusters are leaked.)
  qmp cont
  kill_at revert-tick revert --restart --no-keep "$two"
  end_process "$qemu_pid" KILL
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "finished the revert to backup $two.*; its QEMU has exited, so start it"
  assert_disks_as "$two"
  assert_nothing_left_on_host

  # A device without an id is found by the plan; and QEMU dies before anything is written.
  start_qemu --arg -drive --arg "if=virtio,id=vdb,file=$tmp/b.qcow2,format=qcow2" vda="$tmp/a.qcow2"
  expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --restart --dry-run "$one"
  assert_contains "$tmp/said.log" "The device of disk 'vdb' of domain 'vm' has no id"
  kill_at restart-halted revert --restart --no-keep --disk vda "$one"
  end_process "$qemu_pid" KILL
  varve recover > "$tmp/recover.log"
  assert_contains "$tmp/recover.log" "let go of the guest, .* to backup $one that wrote nothing; its QEMU has exited"
  assert_disks_as "$two"
  assert_nothing_left_on_host

  # One that does not reboot.
  start_qemu "${disk_files[@]}"
  revert --restart --no-keep "$one"
  assert_contains "$tmp/revert.log" "warning: Its QEMU has exited, so that the guest, which ran before, does not run"
  wait "$qemu_pid"
  assert_disks_as "$one"
  assert_nothing_left_on_host
fi
