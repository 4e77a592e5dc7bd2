# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Disks that are put back, held against the digests that proved_backup took. Sourced by functions.sh. A test sets what
# functions-backup.sh wants; $backup_args serves `varve revert` as well.

# make_history: two states that are backed up, $one and $two, and a third that is not. `change N` is the test's own.
make_history ()
{
  change 1
  proved_backup
  one=$last_backup
  change 2
  proved_backup
  two=$last_backup
  change 3
}

# revert [ARGUMENT]...: without a question.
revert ()
{
  varve revert "${backup_args[@]}" --from "images:$store" --yes "$@" > "$tmp/revert.log" 2>&1
}

# assert_disks_as BACKUP [DISK...]: the disks (all of them where none is named) are byte by byte as at that backup, and
# their images, where nobody runs on them, are sound.
assert_disks_as ()
{
  local backup=$1 spec file format
  shift
  for spec in "${disk_files[@]}"; do
    if [ $# -gt 0 ] && ! grep -qw -- "${spec%%=*}" <<< "$*"; then
      continue
    fi
    file=${spec#*=}
    format=$(disk_format "$file")
    file=${file%:*}
    assert_digest "$file" "$format" "$(cat "$tmp/digest.$backup.${spec%%=*}")" "disk ${spec%%=*} at backup $backup"
    if [ "$format" = qcow2 ] && [ "${monitor:-off}" = off ]; then
      qemu-img check -q -f qcow2 "$file"
    fi
  done
}

# disks_sum: of the bytes of all disks, to see that nobody has written.
disks_sum ()
{
  local spec file
  for spec in "${disk_files[@]}"; do
    file=${spec#*=}
    digest "${file%:*}" "$(disk_format "$file")"
  done
}

# written_bytes FILE COMMAND...: what the command and its children wrote to file systems, as the kernel counts it, when it
# writes to FILE. That counts pages that become dirty, and of a cached file large groups of pages at once: so that it is
# not cached.
written_bytes ()
{
  sync "$1"
  dd if="$1" iflag=nocache count=0 status=none
  python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512)' "${@:2}"
}
