#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A machine whose disks change while it runs and while it is off, put back in place to its last backup, its third last
# and its first: exact, by writing what differs and no more, and each time the next backup is an increment on the
# backup that it was put back to, and exact. What was there before is a backup, to which it is put back as well. A machine
# that runs is refused. Argument: image, qmp or libvirt.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-img qemu-io qemu-storage-daemon python3 jq

driver=$1
disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
images=(--image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 33000448
case "$driver" in
image) backup_args=(-c image: web01 "${images[@]}") ;;
qmp) backup_args=(-c "qmp+unix://$tmp/vm.qmp" vm "${images[@]}") ;;
libvirt)
  requires_libvirt
  define_domain revert "${disk_files[@]}"
  backup_args=("$domain")
  ;;
esac

checkpoint_args=("${backup_args[@]}")

machine_on ()
{
  case "$driver" in
  qmp) start_qemu "${disk_files[@]}" ;;
  libvirt) start_domain ;;
  esac
}

machine_off ()
{
  case "$driver" in
  qmp) stop_qemu ;;
  libvirt) stop_domain ;;
  esac
  monitor=off
}

# io DISK COMMAND...: by the guest, where it runs.
io ()
{
  local disk=$1 command
  shift
  for command; do
    if [ "${monitor:-off}" = off ]; then
      qemu-io -d unmap -f qcow2 "$tmp/${disk/vd/}.qcow2" -c "$command" > "$tmp/io.log"
    else
      guest_io "$disk" "$command"
    fi
  done
}

# change N: scattered, of both disks; data over zeros and zeros over data.
change ()
{
  io vda "write -P $1 $((3 * $1))M 100k" "write -P $1 $((60 - $1))M 1k" "write -z -u $((3 * $1 - 2))M 64k" \
    "discard $((40 + $1))M 128k"
  io vdb "write -P $((100 + $1)) ${1}M 70000" "write -P $1 32999936 512"
}

machine_on
io vda 'write -P 99 0 20M' 'write -P 98 40M 10M'
proved_backup
backups=("$last_backup")
changes=(1 2 3)
# Under valgrind, where a run takes half a minute, one revert says all that there is to say.
if [ -n "${VARVE_VALGRIND:-}" ]; then
  changes=(1)
fi
for n in "${changes[@]}"; do
  change "$n"
  proved_backup
  backups+=("$last_backup")
done
change 4
if [ "$driver" != image ]; then
  sum=$(disks_sum)
  expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --yes
  assert_contains "$tmp/said.log" "is not off"
  assert_equal "$(disks_sum)" "$sum" "the disks of a machine that runs"
  if [ "$driver" = libvirt ]; then
    # What was saved goes on with the disks that it had; and nothing is backed up for a revert that is refused.
    virsh managedsave "$domain"
    kept=$(newest_backup)
    expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" --yes
    assert_contains "$tmp/said.log" "was saved .*managedsave-remove"
    assert_equal "$(newest_backup)" "$kept" "the newest backup behind a revert that was refused"
    virsh managedsave-remove "$domain"
  else
    stop_qemu
  fi
  monitor=off
fi

if [ -n "${VARVE_VALGRIND:-}" ]; then
  revert "${backups[0]}"
  assert_disks_as "${backups[0]}"
  assert_nothing_left
  proved_backup
  assert_decision vda incremental "changed since backup ${backups[0]}"
  exit 0
fi

# The plan alone, and without a yes: nothing is written, and nothing is left.
sum=$(disks_sum)
expect_status 0 varve revert "${backup_args[@]}" --from "images:$store" --dry-run
assert_contains "$tmp/said.log" "^  vda: at most [1-9].* changed since then"
assert_contains "$tmp/said.log" "Nothing was written: dry run"
expect_status 4 varve revert "${backup_args[@]}" --from "images:$store" < /dev/null
assert_contains "$tmp/said.log" "say --yes"
assert_equal "$(disks_sum)" "$sum" "the disks behind a plan"
assert_nothing_left

n=10
for target in "${backups[3]}" "${backups[1]}" "${backups[0]}"; do
  n=$((n + 1))
  revert "$target"
  cat "$tmp/revert.log"
  assert_disks_as "$target"
  assert_nothing_left
  kept=$(newest_backup)
  expect_healthy

  # What was there is the newest backup: reverted, and reverted again.
  if [ "$n" -eq 12 ]; then
    sum=$(disks_sum)
    revert
    assert_contains "$tmp/revert.log" "^Putting the disks .* back to backup $kept"
    if [ "$(disks_sum)" = "$sum" ]; then
      fail "the present state was not put back"
    fi
    revert "$target" --no-keep
    assert_equal "$(disks_sum)" "$sum" "the disks behind a revert of the revert of the revert"
    assert_disks_as "$target"
  fi

  machine_on
  change $((n % 7 + 1))
  proved_backup
  assert_decision vda incremental "changed since backup $target"
  assert_decision vdb incremental "changed since backup $target"
  if [ "$driver" != image ]; then
    machine_off
  fi
done

# One disk alone; the other stays.
io vda 'write -P 55 1M 64k'
io vdb 'write -P 56 1M 64k'
other=$(digest "$tmp/b.qcow2" qcow2)
revert "${backups[2]}" --disk vda --no-keep
assert_disks_as "${backups[2]}" vda
assert_digest "$tmp/b.qcow2" qcow2 "$other" "disk vdb, which was not named,"

# Nothing to do is not done, and nobody is asked about it.
revert "${backups[2]}" --disk vda --no-keep
assert_contains "$tmp/revert.log" "Nothing was written: nothing to write"
assert_nothing_left
proved_backup
assert_decision vda incremental "changed since backup ${backups[2]}"

varve revert "${backup_args[@]}" --from "images:$store" --disk vda "$last_backup" --dry-run --json > "$tmp/json"
jq -es '.[-1] | .event == "run-done" and .unchanged' "$tmp/json"
varve revert "${backup_args[@]}" --from "images:$store" --disk vda "${backups[0]}" --dry-run --json > "$tmp/json"
jq -es '.[-1] | .text == "dry run" and (has("unchanged") | not)' "$tmp/json"

# Another backup now, of the same content: there is no more to do, and the next increment on either is exact.
expect_status 0 varve revert "${backup_args[@]}" --from "images:$store" --disk vda "${backups[2]}" < /dev/null
assert_contains "$tmp/said.log" "Nothing was written: nothing to write"
assert_equal "$(newest_backup)" "$last_backup" "the newest backup behind a revert with nothing to do"
assert_nothing_left
io vda 'write -P 57 5M 64k'
proved_backup
assert_decision vda incremental "changed since backup"
assert_all_exact
