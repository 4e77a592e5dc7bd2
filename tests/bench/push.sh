# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups that QEMU writes itself, by varve and by virsh alone. Sourced by bench.sh.

push_by_varve ()
{
  local more=(--incremental never)
  if [ "$1" = 'incremental push' ]; then
    more=()
  fi
  measure "$1" varve "$VARVE" backup -c "$libvirt_uri" "$domain" --to "images:$store" --owner bench --mode push "${more[@]}"
}

push_by_virsh ()
{
  local name=bench-$round since=''
  if [ "$1" = 'incremental push' ]; then
    name+=-inc
    since=bench-$round
  fi
  measure "$1" 'virsh backup-begin' "$srcdir/tests/bench/push-by-virsh.sh" "$libvirt_uri" "$domain" "$tmp/virsh" "$name" $since
}

push_round ()
{
  local round=$1 by old=''
  if [ "$round" -gt 1 ]; then
    old=$(varve list --from "images:$store" | awk '/ vda full/ { print $1 }')
  fi
  rm -rf "$tmp/virsh"
  mkdir -m 0755 "$tmp/virsh"
  for by in $(in_turns "$round" varve virsh); do
    "push_by_$by" 'full push'
  done
  if [ -n "$old" ]; then
    varve delete --from "images:$store" $old --with-dependents > "$tmp/delete.log" 2>&1
  fi
  change_disk "$round"
  for by in $(in_turns "$round" varve virsh); do
    "push_by_$by" 'incremental push'
  done
  assert_same "$(newest_image)" qcow2 "$tmp/virsh/bench-$round-inc.qcow2" qcow2
  virsh checkpoint-delete "$domain" "bench-$round" > "$tmp/delete.log"
  virsh checkpoint-delete "$domain" "bench-$round-inc" > "$tmp/delete.log"
}

# A disk of its own, so that no checkpoint is there but those of these two.
bench_pushes ()
{
  cp --sparse=always "$tmp/ours.qcow2" "$tmp/pushed.qcow2"
  store=$tmp/push-store
  mkdir "$store"
  define_domain push vda="$tmp/pushed.qcow2"
  start_domain
  for ((n = 1; n <= ROUNDS; n++)); do
    echo "round $n of pushes"
    push_round "$n"
  done
  stop_domain
  rm -rf "$tmp/pushed.qcow2" "$tmp/virsh" "$store"
}
