#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# usage: push-by-virsh.sh URI DOMAIN DIRECTORY CHECKPOINT [SINCE]
#
# What varve's push is measured against: an image made by qemu-img, a backup-begin with a new checkpoint, and nothing else
# than its end waited for. DIRECTORY/CHECKPOINT.qcow2 is full, or linked to DIRECTORY/SINCE.qcow2.
set -eu
uri=$1 domain=$2 directory=$3 name=$4 since=${5:-}
image=$directory/$name.qcow2

if [ -n "$since" ]; then
  qemu-img create -q -f qcow2 -F qcow2 -b "$directory/$since.qcow2" "$image"
else
  size=$(virsh -c "$uri" domblkinfo "$domain" vda | awk '/^Capacity/ { print $2 }')
  qemu-img create -q -f qcow2 "$image" "$size"
fi
cat > "$image.backup" << EOF
<domainbackup mode='push'>${since:+<incremental>$since</incremental>}<disks>
  <disk name='vda' backup='yes' type='file'><driver type='qcow2'/><target file='$image'/></disk>
</disks></domainbackup>
EOF
cat > "$image.checkpoint" << EOF
<domaincheckpoint><name>$name</name><disks><disk name='vda' checkpoint='bitmap'/></disks></domaincheckpoint>
EOF
virsh -q -c "$uri" backup-begin "$domain" "$image.backup" "$image.checkpoint" --reuse-external
until virsh -q -c "$uri" domjobinfo "$domain" | grep -q 'None'; do
  :
done
virsh -q -c "$uri" domjobinfo "$domain" --completed | grep -q 'Completed'
sync "$image"
