# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Reading a backup that is served, by varve and, of the same layers, by qemu-nbd: 4 KiB here and there, and all of what has
# data from begin to end. The reader is the same (fio), and is measured with the server. Sourced by bench.sh.

serve_store=$tmp/served

# served_by TOOL SECTION FIO-OPTION...
served_by ()
{
  local command=(fio --name=read --ioengine=nbd --size="$FILES_BYTES" --output="$tmp/fio.log" "${@:3}")
  if [ "$1" = varve ]; then
    measure "$2" varve "$VARVE" serve --from "images:$serve_store" "$served_backup" --disk vda \
      --run "${command[*]} --uri=\$uri"
  else
    measure "$2" qemu-nbd "$srcdir/tests/bench/serve-by-qemu-nbd.sh" "$serve_store"/*/"$served_backup/vda.qcow2" \
      "$tmp/served.sock" "${command[@]}"
  fi
}

serve_round ()
{
  local by
  for by in $(in_turns "$1" varve qemu-nbd); do
    served_by "$by" 'served, random 4 KiB' --rw=randread --bs=4k --iodepth=16 --norandommap --io_size=800M
  done
  for by in $(in_turns "$1" varve qemu-nbd); do
    served_by "$by" 'served, in sequence' --rw=read --bs=256k --iodepth=4
  done
}

# A full backup of a stopped disk, and four increments on it.
bench_serves ()
{
  local round
  cp --sparse=always "$tmp/ours.qcow2" "$tmp/stopped.qcow2"
  for round in 1 2 3 4 5; do
    stopped_varve backup --to "images:$serve_store"
    change_stopped "$round"
  done
  rm "$tmp/stopped.qcow2"
  served_backup=$(varve list --from "images:$serve_store" stopped | tail -n 1 | cut -d ' ' -f 1)
  for ((round = 1; round <= ROUNDS; round++)); do
    echo "round $round of serving"
    serve_round "$round"
  done
  rm -rf "$serve_store"
}
