#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What `./dev bench` runs: varve beside virtnbdbackup, nbdcopy and qemu-img convert, on one machine and one disk of
# 6 GiB that holds 2 GiB of real files on ext4; tools take turns, medians of $ROUNDS (7). Copies of the same disk for
# varve's domain and for virtnbdbackup's, because the latter refuses a domain that has checkpoints of others.
#
# In memory where there is enough of it (/dev/shm, 17 GiB), so that it is the programs that are compared and not the host's
# disk; BENCH_DIR takes another place. BENCH_KEEP=FILE keeps the raw results. BENCH_PARTS says what is measured: copies,
# reverts (of a stopped disk; before anything starts a machine on it), serves (serve.sh), backups (with incrementals and
# restores), latency (of the guest's writes, latency.sh), pushes (push.sh).
: "${ROUNDS:=7}" "${DISK_SIZE:=6G}" "${FILES_BYTES:=2147483648}" "${BENCH_PARTS:=copies reverts serves backups latency pushes}"
if [ -z "${BENCH_DIR:-}" ]; then
  BENCH_DIR=/var/tmp
  if [ "$(df --output=avail -BG /dev/shm | tr -dc '0-9')" -ge 17 ] &&
    [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 17 ]; then
    BENCH_DIR=/dev/shm
  fi
fi
export TMPDIR=$BENCH_DIR
. "$(dirname "$0")/../shell/functions.sh"
. "$srcdir/tests/bench/latency.sh"
. "$srcdir/tests/bench/push.sh"
. "$srcdir/tests/bench/serve.sh"
requires virtnbdbackup virtnbdrestore nbdcopy nbdkit qemu-nbd mke2fs fio
requires_libvirt

copy_tool=$builddir/tests/bench/copy-tool
all_parts=(copies reverts serves backups latency pushes)
results=$tmp/results.json
store=$tmp/store
peer=$tmp/peer

# In a virtual machine the host may take free pages back (free page reporting), and whoever touches one first then waits
# for the host: seconds for a GiB, which fall on one tool or another by chance. So the pages are touched by us before
# each measurement.
touch_memory ()
{
  head -c 3G /dev/zero > "$tmp/ballast"
  rm "$tmp/ballast"
}

# measure SECTION TOOL COMMAND...
measure ()
{
  touch_memory
  if ! "$srcdir/tests/bench/measure.py" "$results" "$@" > "$tmp/measured.log" 2>&1; then
    fail "$1, $2"
  fi
}

make_source ()
{
  mkdir "$tmp/files"
  "$srcdir/tests/bench/make-files.py" "$tmp/files" "$FILES_BYTES"
  mke2fs -q -t ext4 -d "$tmp/files" "$tmp/source.raw" "$DISK_SIZE"
  rm -rf "$tmp/files"
  qemu-img convert -f raw -O qcow2 "$tmp/source.raw" "$tmp/ours.qcow2"
  rm "$tmp/source.raw"
  cp --sparse=always "$tmp/ours.qcow2" "$tmp/theirs.qcow2"
}

# ---- the engine against other copies, all from one export ------------------------------------------

start_export ()
{
  export_uri="nbd+unix:///?socket=$tmp/export.sock"
  qemu-nbd -r -t -e 16 -f qcow2 -k "$tmp/export.sock" "$tmp/ours.qcow2" &
  export_pid=$!
  cleanup_fn end_process "$export_pid"
  wait_for 60 "qemu-nbd" nbdinfo --size "$export_uri"
}

raw_by_convert ()
{
  measure 'full to raw' 'qemu-img convert' qemu-img convert -f raw -O raw "$export_uri" "$tmp/copied"
}

raw_by_nbdcopy ()
{
  measure 'full to raw' nbdcopy nbdcopy "$export_uri" "$tmp/copied"
}

raw_by_varve ()
{
  measure 'full to raw' 'varve (engine)' "$copy_tool" "$export_uri" raw "$tmp/copied"
}

qcow2_by_convert ()
{
  measure 'full to qcow2' 'qemu-img convert' qemu-img convert -f raw -O qcow2 "$export_uri" "$tmp/copied"
}

qcow2_by_nbdcopy ()
{
  qemu-img create -q -f qcow2 "$tmp/copied" "$DISK_SIZE"
  measure 'full to qcow2' 'nbdcopy to qemu-nbd' nbdcopy -- "$export_uri" '[' qemu-nbd -f qcow2 "$tmp/copied" ']'
}

qcow2_by_varve ()
{
  measure 'full to qcow2' 'varve (engine)' "$copy_tool" "$export_uri" qcow2 "$tmp/copied"
}

# in_turns ROUND WORD...: the words, another one first in each round, so that none is always behind the same other.
in_turns ()
{
  local round=$1 i
  shift
  for ((i = 0; i < $#; i++)); do
    echo "${@:(round - 1 + i) % $# + 1:1}"
  done
}

# copy_and_check FORMAT FUNCTION: makes the copy, which must be right, and removes it.
copy_and_check ()
{
  "$2"
  assert_same "$tmp/copied" "$1" "$tmp/ours.qcow2" qcow2
  rm "$tmp/copied"
}

copy_round ()
{
  local by
  for by in $(in_turns "$1" convert nbdcopy varve); do
    copy_and_check raw "raw_by_$by"
    copy_and_check qcow2 "qcow2_by_$by"
  done
}

# Memory must not grow with the disk: the same density of data, 170 times the size.
memory_round ()
{
  local size
  for size in 6G 1T; do
    nbdkit -f -U "$tmp/sparse.sock" sparse-random "size=$size" percent=0.1 seed=1 &
    local pid=$!
    cleanup_fn end_process "$pid"
    wait_for 180 nbdkit nbdinfo --size "nbd+unix:///?socket=$tmp/sparse.sock"
    measure "sparse $size to qcow2" 'varve (engine)' "$copy_tool" "nbd+unix:///?socket=$tmp/sparse.sock" qcow2 "$tmp/copied"
    rm "$tmp/copied"
    end_process "$pid"
    rm -f "$tmp/sparse.sock"
  done
}

# ---- whole backups -----------------------------------------------------------------------------------

# 200 scattered places of 64 KiB, the same ones for the same round.
scattered ()
{
  local i
  RANDOM=$((1000 + $1))
  for ((i = 0; i < 200; i++)); do
    echo $(((RANDOM * 32768 + RANDOM) % (6 * 16384) * 65536))
  done
}

# Writes there to $domain.
change_disk ()
{
  local i=0 offset
  for offset in $(scattered "$1"); do
    i=$((i + 1))
    echo "qemu-monitor-command --hmp $domain 'qemu-io -d /machine/peripheral/ua-vda/virtio-backend \"write -P $i $offset 64k\"'"
  done > "$tmp/writes"
  echo "qemu-monitor-command --hmp $domain 'qemu-io -d /machine/peripheral/ua-vda/virtio-backend flush'" >> "$tmp/writes"
  virsh < "$tmp/writes" > "$tmp/writes.log"
}

change_both ()
{
  domain=$ours
  change_disk "$1"
  domain=$theirs
  change_disk "$1"
}

newest_image ()
{
  find "$store" -name vda.qcow2 -not -path '*.partial/*' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2
}

full_by_varve ()
{
  measure 'full backup' varve "$VARVE" backup -c "$libvirt_uri" "$ours" --to "images:$store" --owner bench --incremental never
}

full_by_virtnbdbackup ()
{
  rm -rf "$peer"
  mkdir -m 0755 "$peer"
  measure 'full backup' virtnbdbackup virtnbdbackup -d "$theirs" -l full -o "$peer" -n -S /var/tmp
}

incremental_by_varve ()
{
  measure incremental varve "$VARVE" backup -c "$libvirt_uri" "$ours" --to "images:$store" --owner bench
}

incremental_by_virtnbdbackup ()
{
  measure incremental virtnbdbackup virtnbdbackup -d "$theirs" -l inc -o "$peer" -n -S /var/tmp
}

restore_by_convert ()
{
  measure 'restore to raw' 'qemu-img convert' qemu-img convert -O raw "$(newest_image)" "$tmp/restored"
  rm "$tmp/restored"
}

restore_by_varve ()
{
  measure 'restore to raw' varve "$VARVE" restore --from "images:$store" "$ours@latest" --disk "vda=$tmp/restored,format=raw"
  assert_same "$tmp/restored" raw "$tmp/ours.qcow2" qcow2
  rm "$tmp/restored"
}

# It restores into the format that the disk had.
restore_by_virtnbdrestore ()
{
  mkdir "$tmp/peer-restored"
  measure 'restore to raw' 'virtnbdrestore (qcow2)' virtnbdrestore -i "$peer" -o "$tmp/peer-restored" -n -L "$tmp/virtnbdrestore.log"
  rm -r "$tmp/peer-restored"
}

backup_round ()
{
  local round=$1 by old=''
  if [ "$round" -gt 1 ]; then
    old=$(varve list --from "images:$store" | awk '/ vda full/ { print $1 }')
  fi
  for by in $(in_turns "$round" varve virtnbdbackup); do
    "full_by_$by"
  done
  if [ -n "$old" ]; then
    varve delete --from "images:$store" "$old" --with-dependents > "$tmp/delete.log" 2>&1
  fi
  change_both "$round"
  for by in $(in_turns "$round" varve virtnbdbackup); do
    "incremental_by_$by"
  done
  for by in $(in_turns "$round" convert varve virtnbdrestore); do
    "restore_by_$by"
  done
}

# ---- putting a stopped disk back ---------------------------------------------------------------------

put_back_store=$tmp/put-back

stopped_varve ()
{
  varve "$1" -c image: stopped --image "vda=$tmp/stopped.qcow2,format=qcow2" "${@:2}" > "$tmp/stopped.log" 2>&1
}

change_stopped ()
{
  local i=0 offset commands=()
  for offset in $(scattered "$1"); do
    i=$((i + 1))
    commands+=(-c "write -P $i $offset 64k")
  done
  qemu-io -f qcow2 "$tmp/stopped.qcow2" "${commands[@]}" > "$tmp/io.log"
}

nth_last_backup ()
{
  varve list --from "images:$put_back_store" stopped | sed 1d | tail -n "$1" | head -n 1 | cut -d ' ' -f 1
}

# put_back NAME BACKUP: by revert; the disk must be the backup. A machine that is off has not written for a while: an image
# that was written within the last two seconds is looked at more often, as its times do not tell yet whether it changed.
put_back ()
{
  sleep 3
  measure 'put back' "varve revert ($1)" "$VARVE" revert -c image: stopped --image "vda=$tmp/stopped.qcow2,format=qcow2" \
    --from "images:$put_back_store" --yes --no-keep "$2"
  assert_same "$tmp/stopped.qcow2" qcow2 "$put_back_store"/*/"$2/vda.qcow2" qcow2
}

bench_reverts ()
{
  local round
  cp --sparse=always "$tmp/ours.qcow2" "$tmp/stopped.qcow2"
  stopped_varve backup --to "images:$put_back_store"
  for round in 1 2; do
    change_stopped "$round"
    stopped_varve backup --to "images:$put_back_store"
  done
  for ((round = 1; round <= ROUNDS; round++)); do
    echo "round $round of putting back"
    change_stopped $((10 + round))
    measure 'put back' 'varve restore' "$VARVE" restore --from "images:$put_back_store" "$(nth_last_backup 1)" \
      --disk "vda=$tmp/restored,format=qcow2"
    rm "$tmp/restored"
    put_back last "$(nth_last_backup 1)"
    change_stopped $((20 + round))
    put_back 'third last' "$(nth_last_backup 3)"
    put_back 'forward again' "$(nth_last_backup 1)"
  done
  rm -rf "$put_back_store" "$tmp/stopped.qcow2"
}

bench_copies ()
{
  local round
  start_export
  for ((round = 1; round <= ROUNDS; round++)); do
    echo "round $round of copies"
    copy_round "$round"
  done
  memory_round
  end_process "$export_pid"
}

bench_backups ()
{
  local round
  define_domain ours vda="$tmp/ours.qcow2"
  start_domain
  ours=$domain
  define_domain theirs vda="$tmp/theirs.qcow2"
  start_domain
  theirs=$domain
  for ((round = 1; round <= ROUNDS; round++)); do
    echo "round $round of backups"
    backup_round "$round"
  done
  rm -rf "$store" "$peer"
  mkdir "$store"
}

echo "in $tmp, $ROUNDS rounds, $(nproc) processors, $(varve --version)"
mkdir "$store"
for part in $BENCH_PARTS; do
  if [[ " ${all_parts[*]} " != *" $part "* ]]; then
    fail "BENCH_PARTS names '$part'; there are: ${all_parts[*]}"
  fi
done
: > "$results"
if [ "$BENCH_PARTS" != latency ]; then
  make_source
fi
# In this order, whatever that of their names is.
for part in "${all_parts[@]}"; do
  if [[ " $BENCH_PARTS " == *" $part "* ]]; then
    "bench_$part"
  fi
done
if [ -n "${BENCH_KEEP:-}" ]; then
  cp "$results" "$BENCH_KEEP"
fi
# A limit that was missed is a result, and wants no logs.
trap - ERR
show_logs () { :; }
"$srcdir/tests/bench/report.py" "$results" $BENCH_PARTS
