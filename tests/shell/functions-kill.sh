# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups that are killed, and what must be true of the next one. Sourced by the tests of kills, behind functions.sh;
# they set $backup_args, $store and $disk_files as functions-backup.sh wants them.
#
# $tmp/listed is what `varve list` must show: `expect_list` holds it to that after each kill and each run.

# A guard would end at once what these tests want to find left behind.
export VARVE_GUARD=none

: > "$tmp/listed"
mkdir "$tmp/tmp"
export TMPDIR=$tmp/tmp

# failure_points PREFIX...: the rows of docs/failure-points.md whose names begin with one of these, in its order.
failure_points ()
{
  local prefixes
  prefixes=$(IFS='|'; echo "$*")
  sed -nE "s/^\| \`(($prefixes)-[a-z-]+)\` \|.*/\1/p" "$srcdir/docs/failure-points.md"
}

# Behind these points the backup has its name in the store; the page has them in the order of a run.
is_committed_at ()
{
  failure_points '[a-z]+' | sed -n '/^store-renamed$/,/^session-torn-down$/p' | grep -qx -- "$1"
}

list_backups ()
{
  varve list --from "images:$store" > "$tmp/list.log"
  sed 1d "$tmp/list.log" | cut -d ' ' -f 1 | sort
}

# expect_list MORE: `varve list` shows what it showed before, and MORE backups (a regex: "0|1" is one at most), each one
# with all that it consists of.
expect_list ()
{
  local backup new
  mv "$tmp/listed" "$tmp/listed.before"
  list_backups > "$tmp/listed"
  assert_equal "$(comm -23 "$tmp/listed.before" "$tmp/listed")" '' "backups gone from the list"
  new=$(comm -13 "$tmp/listed.before" "$tmp/listed")
  if ! [[ "$(wc -w <<< "$new")" =~ ^($1)$ ]]; then
    fail "new in the list: '$new' instead of $1 backups"
  fi
  for backup in $new; do
    shown_backup=
    varve show --from "images:$store" "$backup" > "$tmp/show.log"
  done
}

# kill_at POINT COMMAND...: the command must die there, by SIGKILL. (A command that hung would give 124 or, much
# later, 137 too.)
kill_at ()
{
  local point=$1 status=0 started=$SECONDS
  shift
  { VARVE_FAILPOINT=$point:kill "$@" > "$tmp/killed.log" 2>&1; } 2> /dev/null || status=$?
  if [ "$status" -ne 137 ] || [ $((SECONDS - started)) -ge "${VARVE_TIMEOUT:-300}" ]; then
    cat "$tmp/killed.log" >&2
    fail "status $status instead of 137 from what was to die at $point"
  fi
}

# kill_backup_at POINT [OPTION...]: and the list shows the backup if it was complete there, and nothing half-made.
kill_backup_at ()
{
  local point=$1 more=0
  shift
  kill_at "$point" varve backup "${backup_args[@]}" "$@" --to "images:$store"
  if is_committed_at "$point"; then
    more=1
  fi
  expect_list "$more"
}

count_sessions ()
{
  find "$VARVE_STATE_DIR/sessions" -mindepth 1 | wc -l
}

# backup_again DECISION [REGEX]: the next run goes well, with this decision for every disk, and leaves nothing.
backup_again ()
{
  varve backup "${backup_args[@]}" --to "images:$store" > "$tmp/backup.log" 2>&1
  expect_backup_again "$@"
}

expect_backup_again ()
{
  local spec
  expect_list 1
  for spec in "${disk_files[@]}"; do
    assert_shown_decision "${spec%%=*}" "$@"
  done
  assert_nothing_left
}

# assert_small_layers BYTES: no layer of the newest backup is larger.
assert_small_layers ()
{
  local spec layer size
  for spec in "${disk_files[@]}"; do
    for layer in "$store"/*/"$(newest_backup)/${spec%%=*}.qcow2"; do
      size=$(stat -c %s "$layer")
      if [ "$size" -gt "$1" ]; then
        fail "$layer has $size bytes"
      fi
    done
  done
}

# assert_guest_state STATE WHEN: of bare QEMU.
assert_guest_state ()
{
  assert_equal "$(qmp query-status | sed 's/.*"status": "\([a-z-]*\)".*/\1/')" "$1" "state of the guest $2"
}

# assert_qemu_clean CHECKPOINTS: nodes, exports and jobs are as when $before was taken (by qemu_names), of bitmaps there
# are those of so many checkpoints, on all disks, and the guest runs.
assert_qemu_clean ()
{
  local names bitmaps
  names=$(qemu_names)
  bitmaps=$(sed -n '/^bitmaps/{s/(/\n/g;p}' <<< "$names" | sed -n "s/.*'\(varve[^']*\)').*/\1/p" | sort)
  assert_equal "$(grep -v ^bitmaps <<< "$names")" "$(grep -v ^bitmaps <<< "$before")" "what is in QEMU"
  assert_equal "$(wc -l <<< "$bitmaps")" $(($1 * ${#disk_files[@]})) "bitmaps ($bitmaps)"
  assert_equal "$(sed '/^varve\./d' <<< "$bitmaps")" '' "bitmaps of a session"
  assert_guest_state running "now"
}

# assert_image_bitmaps IMAGE CHECKPOINTS: the image has the bitmaps of so many checkpoints, and they are sound.
assert_image_bitmaps ()
{
  local info
  info=$(qemu-img info -f qcow2 "$1")
  assert_equal "$(sed -n 's/^ *name: //p' <<< "$info" | grep -c '^varve\.')" "$2" "bitmaps of $1"
  assert_equal "$(sed -n '/in-use/p' <<< "$info")" '' "flags of bitmaps of $1"
  qemu-img check -q -f qcow2 "$1"
}

# prove_new: of every listed backup that has no proof yet, the disks are now still as they were at its instant: their
# digests are as good as those of proved_backup. For disks that nobody writes but the test.
prove_new ()
{
  local backup spec file
  for spec in "${disk_files[@]}"; do
    file=${spec#*=}
    digest "${file%:*}" "$(disk_format "$file")" > "$tmp/digest.new"
    for backup in $(cat "$tmp/listed"); do
      if [ ! -e "$tmp/digest.$backup.${spec%%=*}" ]; then
        cp "$tmp/digest.new" "$tmp/digest.$backup.${spec%%=*}"
      fi
    done
  done
}

# prove_list [AT-LEAST]: every backup listed is restored, in the order of their instants: each has the digests that were
# taken of its disks. With AT-LEAST some may have none; but then so many of the guest's numbers are in each, of one
# instant and without a gap (assert_numbers), and they rise from backup to backup. qemu-img alone reads the same from the
# newest, and every layer is verified.
prove_list ()
{
  local backup spec disk highest last=0 n=0 files
  for backup in $(cat "$tmp/listed"); do
    rm -rf "$tmp/out"
    varve restore --from "images:$store" "$backup" --to "$tmp/out" > "$tmp/restore.log"
    files=()
    for spec in "${disk_files[@]}"; do
      disk=${spec%%=*}
      files+=("$tmp/out/$disk.raw")
      if [ $# -eq 0 ] || [ -e "$tmp/digest.$backup.$disk" ]; then
        assert_digest "$tmp/out/$disk.raw" raw "$(cat "$tmp/digest.$backup.$disk")" "disk $disk at backup $backup"
      fi
    done
    if [ $# -gt 0 ]; then
      highest=$(assert_numbers "$1" "${files[@]}" | tr ' ' '\n' | sort -n | tail -n 1)
      if [ "$highest" -le "$last" ]; then
        fail "backup $backup ends with number $highest, the one before it with $last"
      fi
      last=$highest
    fi
    n=$((n + 1))
  done
  for spec in "${disk_files[@]}"; do
    disk=${spec%%=*}
    assert_digest "$store"/*/"$backup/$disk.qcow2" qcow2 "$(digest "$tmp/out/$disk.raw" raw)" \
      "disk $disk at backup $backup (qemu-img alone)"
  done
  varve verify --from "images:$store" > "$tmp/verify.log"
  echo "$n backups listed and restored, all exact; every layer verified"
}
