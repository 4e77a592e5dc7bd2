#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Two owners back up one domain in turn, ten times each, into one store: each of them always incremental since his own
# last backup, each backup exact. Beside them stands a checkpoint as virtnbdbackup makes it, and in the end an increment
# is taken since that one, by the hypervisor alone, and is exact too. Argument: qmp, image or libvirt.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires qemu-storage-daemon qemu-io

driver=$1
foreign=virtnbdbackup.0
disk_files=(vda="$tmp/a.qcow2")
make_disk "$tmp/a.qcow2" 16M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 4M' > "$tmp/io.log"
case "$driver" in
qmp)
  start_qemu "${disk_files[@]}"
  domain_args=(-c "qmp+unix://$qmp" vm)
  qmp block-dirty-bitmap-add "{\"node\": \"fmt-vda\", \"name\": \"$foreign\", \"persistent\": true}" > /dev/null
  ;;
image)
  domain_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2")
  qemu-img bitmap --add -f qcow2 "$tmp/a.qcow2" "$foreign"
  ;;
libvirt)
  requires_libvirt
  define_domain owners "${disk_files[@]}"
  start_domain
  domain_args=("$domain")
  virsh checkpoint-create-as "$domain" "$foreign" --diskspec vda,checkpoint=bitmap
  ;;
esac
checkpoint_args=("${domain_args[@]}")
# The disk as it is at that checkpoint.
qemu-img convert -U -f qcow2 -O qcow2 "$tmp/a.qcow2" "$tmp/since.qcow2"

# change NUMBER: a few writes that overlap those of other numbers.
change ()
{
  local n=$1
  if [ "$driver" = image ]; then
    qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $n $((n * 300))k 200k" -c "write -z $((n % 7))M 64k" > "$tmp/io.log"
  else
    guest_write vda "$((n * 300))k" 200k "$n"
    guest_zero vda "$((n % 7))M" 64k
  fi
}

declare -A last
for n in $(seq 1 20); do
  owner=$([ $((n % 2)) = 1 ] && echo alpha || echo beta)
  change "$n"
  backup_args=("${domain_args[@]}" --owner "$owner")
  proved_backup
  if [ -n "${last[$owner]:-}" ]; then
    assert_decision vda incremental "changed since backup ${last[$owner]}$"
  fi
  last[$owner]=$last_backup
  assert_equal "$(checkpoint_names ' foreign ')" "$foreign" "checkpoints of others"
done
assert_equal "$(checkpoint_names 'varve\.alpha-' | wc -l)" 2 "checkpoints of one owner"
assert_equal "$(checkpoint_names 'varve\.beta-' | wc -l)" 2 "checkpoints of the other"
expect_healthy
expect_healthy --owner beta
expect_status 4 checkpoint delete "$(checkpoint_names 'varve\.beta-' | head -n 1)" --owner alpha
expect_status 0 checkpoint delete "$(checkpoint_names 'varve\.beta-' | tail -n 1)" --owner beta
change 21
backup_args=("${domain_args[@]}" --owner beta)
proved_backup
assert_decision vda incremental 'changed since backup'
assert_all_exact

# increment_by_qemu: what has changed since the foreign checkpoint, written by QEMU onto $tmp/since.qcow2. The increment
# of an image is taken in a QEMU that has it open.
increment_by_qemu ()
{
  qemu-img create -q -f qcow2 -b "$tmp/since.qcow2" -F qcow2 "$tmp/increment.qcow2"
  if [ "$driver" = libvirt ]; then
    chmod 0666 "$tmp/increment.qcow2" "$tmp/since.qcow2"
    cat > "$tmp/push.xml" << END
<domainbackup mode='push'><incremental>$foreign</incremental><disks><disk name='vda' backup='yes' type='file'>
<driver type='qcow2'/><target file='$tmp/increment.qcow2'/></disk></disks></domainbackup>
END
    virsh backup-begin "$domain" "$tmp/push.xml" --reuse-external
    wait_for 120 "the end of libvirt's backup" no_backup_job
    return
  fi
  qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"increment\", \"backing\": null,
    \"file\": {\"driver\": \"file\", \"filename\": \"$tmp/increment.qcow2\"}}" > /dev/null
  qmp blockdev-backup "{\"job-id\": \"increment\", \"device\": \"fmt-vda\", \"target\": \"increment\",
    \"sync\": \"bitmap\", \"bitmap\": \"$foreign\", \"bitmap-mode\": \"never\"}" > /dev/null
  wait_for 120 "the end of QEMU's backup" no_backup_job
  qmp blockdev-del '{"node-name": "increment"}' > /dev/null
}

no_backup_job ()
{
  if [ "$driver" = libvirt ]; then
    ! virsh domjobinfo "$domain" | grep -q 'Operation: *Backup'
  else
    [ "$(qmp query-jobs)" = '[]' ]
  fi
}

if [ "$driver" = image ]; then
  start_qemu --stopped "${disk_files[@]}"
fi
pause_guest
increment_by_qemu
assert_same "$tmp/a.qcow2" qcow2 "$tmp/increment.qcow2" qcow2
if [ "$(stat -c %s "$tmp/increment.qcow2")" -gt $((12 << 20)) ]; then
  fail "what QEMU took since $foreign is as large as a full backup"
fi
assert_nothing_left
