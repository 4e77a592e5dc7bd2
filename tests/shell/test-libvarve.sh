#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# libvarve as somebody else's program uses it: the examples in C and Python back up, verify and restore one machine in
# turn, end as varve itself would where that is not to be, and work against what is installed as against what was built.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon pkg-config meson cc python3

disk_files=(vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2")
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2" --image "vdb=$tmp/b.qcow2,format=qcow2" --owner example)
make_disk "$tmp/a.qcow2" 64M
make_disk "$tmp/b.qcow2" $((5 * 1048576 + 512))
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 20M' > "$tmp/io.log"

# example PROGRAM... -- RESTORE-DIRECTORY: one round of an example.
example ()
{
  local program=()
  while [ "$1" != -- ]; do
    program+=("$1")
    shift
  done
  "${program[@]}" web01 "$store" "$2" "${disk_files[@]}"
}

# round NAME DECISION PROGRAM...: a write, a round, and both disks are back as they are.
rounds=0
round ()
{
  local name=$1 decision=$2
  shift 2
  rounds=$((rounds + 1))
  qemu-io -f qcow2 "$tmp/a.qcow2" -c "write -P $((rounds + 1)) ${rounds}M 100k" > "$tmp/io.log"
  qemu-io -f qcow2 "$tmp/b.qcow2" -c "write -P $((rounds + 1)) 5M 512" > "$tmp/io.log"
  example "$@" -- "$tmp/restored.$name" > "$tmp/$name.log"
  cat "$tmp/$name.log"
  assert_contains "$tmp/$name.log" "^vda: $decision"
  assert_contains "$tmp/$name.log" '^vdb: [0-9]+ bytes written'
  assert_contains "$tmp/$name.log" 'backed up, verified and restored$'
  assert_same "$tmp/a.qcow2" qcow2 "$tmp/restored.$name/vda.raw" raw
  assert_same "$tmp/b.qcow2" qcow2 "$tmp/restored.$name/vdb.raw" raw
}

# refusals PROGRAM...: the same exit status as that of varve.
refusals ()
{
  expect_status 2 "$@" web01
  mkdir -p "$tmp/full/of/other/files"
  store=$tmp/full expect_status 4 example "$@" -- "$tmp/out"
  start_backup_until session-started
  expect_status 8 example "$@" -- "$tmp/out"
  assert_contains "$tmp/said.log" 'try again later'
  finish_backup
}

c_example=("$builddir/tests/shell/example-backup-images")
round c full "${c_example[@]}"
refusals "${c_example[@]}"

# Set where a GIR was built.
python=${VARVE_GI_PYTHON:-}
if [ -n "$python" ] && ! "$python" -c 'import gi'; then
  skip "python3-gi is not installed"
fi
python_example=("$python" "$srcdir/docs/examples/backup-images.py")
if [ -n "$python" ]; then
  # Only Python gets to see these: under a sanitizer, nothing else in this shell would start.
  in_build=(env "GI_TYPELIB_PATH=$builddir/lib" "LD_LIBRARY_PATH=$builddir/lib")
  round python incremental "${in_build[@]}" "${python_example[@]}"
  refusals "${in_build[@]}" "${python_example[@]}"

  # A signal ends it, and costs nothing.
  env VARVE_GUARD=none VARVE_FAILPOINT=copy-disk:stop "${in_build[@]}" "${python_example[@]}" web01 "$store" "$tmp/out" \
    "${disk_files[@]}" > "$tmp/signal.log" 2>&1 &
  pid=$!
  cleanup_fn end_process "$pid" KILL
  wait_for 120 "the example to reach copy-disk" ended_or_stopped "$pid"
  kill -INT "$pid"
  continue_to_end "$pid"
  status=0
  wait "$pid" || status=$?
  assert_equal "$status" 130 "status of the example behind SIGINT"
  assert_nothing_left
  round python-again incremental "${in_build[@]}" "${python_example[@]}"
fi

# ---- installed ---------------------------------------------------------------------------------------

DESTDIR=$tmp/root meson install -C "$builddir" --no-rebuild > "$tmp/install.log"
description=$(find "$tmp/root" -name varve.pc)
prefix=$(sed -n 's/^prefix=//p' "$description")
sed "s|^prefix=.*|prefix=$tmp/root$prefix|" "$description" > "$tmp/varve.pc"
libdir=$(PKG_CONFIG_PATH=$tmp pkg-config --variable=libdir varve)
# It stands where it was to be installed, as far as the library knows.
VARVE_LIBEXEC_DIR=$(dirname "$(find "$tmp/root" -name varve-guard)")
export VARVE_LIBEXEC_DIR
flags=$(PKG_CONFIG_PATH=$tmp pkg-config --cflags --libs varve)
if [ "${VARVE_SANITIZE:-none}" != none ]; then
  flags+=" -fsanitize=$VARVE_SANITIZE"
fi
# shellcheck disable=SC2086
cc -Wall -Werror -o "$tmp/installed" "$srcdir/docs/examples/backup-images.c" $flags
round c-installed incremental env "LD_LIBRARY_PATH=$libdir" "$tmp/installed"
if [ -n "$python" ]; then
  test -s "$tmp/root$prefix/share/gir-1.0/Varve-0.1.gir"
  round python-installed incremental env "GI_TYPELIB_PATH=$libdir/girepository-1.0" "LD_LIBRARY_PATH=$libdir" \
    "${python_example[@]}"
fi
unset VARVE_LIBEXEC_DIR
varve verify --from "images:$store" > "$tmp/verify.log"
assert_nothing_left
