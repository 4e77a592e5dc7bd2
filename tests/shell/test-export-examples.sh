#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The programs of the vendor guide that read export sessions, in shell, Python and C: each makes copies of a machine's
# disks and brings them up to date twice by the map of changes, and they are exact; what fails keeps no checkpoint.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon jq
requires_vendors


make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" 16M
# As a user has it in his PATH.
mkdir "$tmp/bin"
ln -s "$VARVE" "$tmp/bin/varve"

write_image ()
{
  qemu-io -f qcow2 "$tmp/$1.qcow2" -c "write -P $2 $3 $4" > "$tmp/io.log"
}

checkpoints ()
{
  varve checkpoint list -c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --json | grep -o 'varve\.x-example\.[^"]*' | sort -u
}

# rounds NAME COMMAND...: COMMAND gets, behind its own words, what is in $words.
rounds ()
{
  local name=$1 n decision
  shift
  mkdir "$tmp/$name"
  for n in 1 2 3; do
    write_image a "$n" "$((n * 7))M" 3M
    write_image b "$n" "$((n * 100))k" 10k
    "$@" > "$tmp/said.log"
    cat "$tmp/said.log"
    decision=$([ "$n" = 1 ] && echo full || echo incremental)
    assert_contains "$tmp/said.log" "^vda: $decision"
    assert_contains "$tmp/said.log" "^vdb: $decision"
    assert_same "$tmp/$name/vda.raw" raw "$tmp/a.qcow2" qcow2
    assert_same "$tmp/$name/vdb.raw" raw "$tmp/b.qcow2" qcow2
    assert_no_export_left
    assert_contains <(checkpoints) "$(cat "$tmp/$name/checkpoint")"
  done
}

# refused NAME COMMAND...: what cannot be written is no copy.
refused ()
{
  local name=$1 before
  shift
  before=$(checkpoints)
  write_image b 9 5M 10k
  rm "$tmp/$name/vdb.raw"
  mkdir "$tmp/$name/vdb.raw"
  if "$@" > "$tmp/said.log" 2>&1; then
    fail "it went well without a copy: $*"
  fi
  assert_no_export_left
  assert_equal "$(checkpoints)" "$before" "checkpoints behind a failure"
}

options=(-c image: --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2")
shell=(env "PATH=$tmp/bin:$PATH" "$srcdir/docs/examples/export-incremental.sh" "$tmp/shell" web01 "${options[@]}")
rounds shell "${shell[@]}"
refused shell "${shell[@]}"

images=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
c=("$builddir/tests/shell/example-export-incremental" "$tmp/c" web01 image: "${images[@]}")
rounds c "${c[@]}"
refused c "${c[@]}"

# Set where a GIR was built.
python=${VARVE_GI_PYTHON:-}
if [ -n "$python" ]; then
  program=(env "GI_TYPELIB_PATH=$builddir/lib" "LD_LIBRARY_PATH=$builddir/lib" "$python"
    "$srcdir/docs/examples/export-incremental.py" "$tmp/python" web01 image: "${images[@]}")
  rounds python "${program[@]}"
  refused python "${program[@]}"
fi
