# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What a guest's writes cost while a backup of it is on its way, for each strategy. The guest (emulated, so that the
# times are long, but the ratios hold) writes 4 KiB at a time, O_DIRECT and O_DSYNC, each to another 64 KiB of 192 MiB that
# hold data: with a fleece each is copied before it is written over. Measured in turns: no backup; and a backup that
# reads 24 MiB a second of what lies before those places. Sourced by bench.sh.
: "${LATENCY_ROUNDS:=3}" "${LATENCY_SECONDS:=5}"

latency_results=$tmp/latency.txt

# measure_latency STRATEGY WHAT: the writes of some seconds from now on.
measure_latency ()
{
  local said
  guest latency > "$tmp/latency.log"
  sleep "$LATENCY_SECONDS"
  said=$(guest latency)
  echo "$1 $2 $(sed -n 's/.*latency of \([0-9]*\) writes in us: p50 \([0-9]*\) p99 \([0-9]*\) longest \([0-9]*\).*/\1 \2 \3 \4/p' \
    <<< "$said")" >> "$latency_results"
}

latency_round ()
{
  local strategy=$1 status=0 backup_pid
  measure_latency "$strategy" without
  "${varve_command[@]}" run "$tmp/latency.xml" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 60 "the copy to begin" is_copying
  measure_latency "$strategy" with
  is_copying || fail "the backup was over too soon"
  # Interrupted: only its effect on the guest was wanted.
  kill -TERM "$backup_pid"
  wait "$backup_pid" || status=$?
  assert_equal "$status" 143 "status of the backup"
  assert_nothing_left
}

# latency_of filter|job|libvirt
latency_of ()
{
  local strategy=$1 round uri name pause=brief disk=$tmp/latency.qcow2
  local numbers='numbers vda offset=320M blocks=3072 stride=64K delay=1500'
  make_disk "$disk" 512M
  qemu-io -f qcow2 "$disk" -c 'write -q -P 7 0 512M' > "$tmp/io.log"
  if [ "$strategy" = libvirt ]; then
    define_domain --guest "$numbers" latency vda="$disk"
    start_domain
    uri=$libvirt_uri
    name=$domain
  else
    start_qemu --guest "$numbers" vda="$disk"
    uri=qmp+unix://$qmp
    name=vm
  fi
  if [ "$strategy" = job ]; then
    pause=never
  fi
  write_backup_job "$tmp/latency.xml" "$uri" "$name" '' "<incremental>never</incremental>" "<guard pause='$pause'/>" \
    "<speed unit='MiB'>24</speed>"
  for ((round = 1; round <= LATENCY_ROUNDS; round++)); do
    latency_round "$strategy"
  done
  guest stop > "$tmp/latency.log"
  assert_guest_unhurt
  if [ "$strategy" = libvirt ]; then
    remove_domain "$domain"
  else
    kill_qemu
  fi
  rm -f "$disk"
}

bench_latency ()
{
  local strategy
  requires_guest
  for strategy in filter job libvirt; do
    echo "guest writes, $strategy"
    latency_of "$strategy"
  done
  "$srcdir/tests/bench/latency.py" "$latency_results"
}
