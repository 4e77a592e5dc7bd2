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

# expect_list MORE: `varve list` shows what it showed before, and MORE backups, each one with all that it consists of.
expect_list ()
{
  local backup
  mv "$tmp/listed" "$tmp/listed.before"
  list_backups > "$tmp/listed"
  assert_equal "$(comm -23 "$tmp/listed.before" "$tmp/listed")" '' "backups gone from the list"
  assert_equal "$(comm -13 "$tmp/listed.before" "$tmp/listed" | wc -l)" "$1" "new backups in the list"
  for backup in $(comm -13 "$tmp/listed.before" "$tmp/listed"); do
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
  expect_list 1
  for spec in "${disk_files[@]}"; do
    assert_decision "${spec%%=*}" "$@"
  done
  assert_nothing_left
}

# restore_numbers: of each backup listed, in the order of their instants, all disks restored; the numbers have no gap
# (assert_numbers) and rise from backup to backup.
restore_numbers ()
{
  local backup spec highest last=0 n=0 files
  for backup in $(cat "$tmp/listed"); do
    rm -rf "$tmp/out"
    varve restore --from "images:$store" "$backup" --to "$tmp/out" > "$tmp/restore.log"
    files=()
    for spec in "${disk_files[@]}"; do
      files+=("$tmp/out/${spec%%=*}.raw")
    done
    highest=$(assert_numbers 20 "${files[@]}" | tr ' ' '\n' | sort -n | tail -n 1)
    if [ "$highest" -le "$last" ]; then
      fail "backup $backup ends with number $highest, the one before it with $last"
    fi
    last=$highest
    n=$((n + 1))
  done
  varve verify --from "images:$store" > "$tmp/verify.log"
  echo "$n backups restored: the numbers have no gap, the last is $last"
}
