# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups that are proved: each is held against a digest that was taken, of the source files and by qemu-img, while
# the disks stood still behind the start of the backup. Sourced by functions.sh.
#
# A test sets $backup_args (what stands behind `varve backup`), $store, and the disks as in "vda=FILE[:FORMAT]" in
# the array $disk_files; the file of a disk must be readable while it is in use.

store=$tmp/store
proof_count=0

# pause_guest, resume_guest: of the machine that was started last; a stopped one needs neither.
pause_guest ()
{
  case "${monitor:-off}" in
  bare) qmp stop > /dev/null ;;
  libvirt) virsh suspend "$domain" ;;
  esac
}

resume_guest ()
{
  case "${monitor:-off}" in
  bare) qmp cont > /dev/null ;;
  libvirt) virsh resume "$domain" ;;
  esac
}

# Behind the name in parentheses, which may hold anything; nothing where there is no such process.
process_state ()
{
  local stat=''
  { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 0
  stat=${stat##*) }
  echo "${stat%% *}"
}

is_stopped ()
{
  [ "$(process_state "$1")" = T ]
}

ended_or_stopped ()
{
  case "$(process_state "$1")" in
  T | Z | '') return 0 ;;
  *) return 1 ;;
  esac
}

# A process that was killed is a zombie before all of its threads are gone, and until then its parent is told that it
# lives.
has_ended ()
{
  case "$(process_state "$1")" in
  '') return 0 ;;
  Z) [ "$(ls "/proc/$1/task" 2> /dev/null | wc -l)" -le 1 ] ;;
  *) return 1 ;;
  esac
}

# session_is_gone: nothing is on record in the state directory any more.
session_is_gone ()
{
  [ -z "$(ls "$VARVE_STATE_DIR/sessions")" ]
}

# start_backup_until POINT: begins a backup in the background that stops itself at the failure point; $backup_pid. Its
# guard, if $guard is set to '', would kill it for that after two seconds; so there is none by default.
# Where $backup_job is set, it is that document that is run; where $target_args is, the disks go there and not to $store.
start_backup_until ()
{
  local command=(backup "${backup_args[@]}")
  if [ -n "${target_args[*]:-}" ]; then
    command+=("${target_args[@]}")
  else
    command+=(--to "images:$store")
  fi
  if [ -n "${backup_job:-}" ]; then
    command=(run "$backup_job")
  fi
  VARVE_GUARD=${guard-none} VARVE_FAILPOINT=$1:stop "${varve_command[@]}" "${command[@]}" > "$tmp/backup.log" 2>&1 &
  backup_pid=$!
  cleanup_fn end_process "$backup_pid" KILL
  wait_for 120 "the backup to reach $1" ended_or_stopped "$backup_pid"
  if ! is_stopped "$backup_pid"; then
    cat "$tmp/backup.log" >&2
    fail "the backup ended before it reached $1"
  fi
}

# Lets it go on, and wants it to end well.
finish_backup ()
{
  local status=0
  kill -CONT "$backup_pid"
  wait "$backup_pid" || status=$?
  cat "$tmp/backup.log"
  assert_equal "$status" 0 "status of the backup"
}

# Id of the newest backup, which names a directory. Asked often; what `varve list` says of the same is held to that by
# those who test it.
newest_backup ()
{
  local path newest=''
  for path in "$store"/*/2*Z-*; do
    if [[ -d "$path" && "${path##*/}" != *.* && "${path##*/}" > "$newest" ]]; then
      newest=${path##*/}
    fi
  done
  echo "$newest"
}

# start_proved [COMMAND...]: starts a backup. The guest is paused before the start; behind it the digests are taken, into
# $tmp/digest.new.DISK, the guest goes on, and COMMAND (writes of the guest, say) runs before the first byte is copied.
start_proved ()
{
  local spec file
  pause_guest
  start_backup_until session-started
  for spec in "${disk_files[@]}"; do
    file=${spec#*=}
    digest "${file%:*}" "$(disk_format "$file")" > "$tmp/digest.new.${spec%%=*}"
  done
  resume_guest
  if [ $# -gt 0 ]; then
    "$@"
  fi
}

# proved_backup [COMMAND...]: one backup. Digests go to $tmp/digest.BACKUP.DISK.
proved_backup ()
{
  local spec
  start_proved "$@"
  finish_backup
  last_backup=$(newest_backup)
  for spec in "${disk_files[@]}"; do
    mv "$tmp/digest.new.${spec%%=*}" "$tmp/digest.$last_backup.${spec%%=*}"
  done
  proof_count=$((proof_count + ${#disk_files[@]}))
}

# Over what was there, and where nothing was.
disturb_disks ()
{
  guest_write vda 3M 1M "$1"
  guest_write vda 200M 64k "$1"
  guest_write vdb 0 300k "$1"
  guest_discard vdb 50M 1M
  guest_zero vda 8M 256k
  guest_write vda 254M 2M "$1"
}

# What the guest does behind the start of each; a test may do more.
disturb ()
{
  disturb_disks "$@"
}

# prove_increments [OPTION]...: a full backup and three incrementals of vda (256 MiB) and vdb (100 MiB), each exact at one
# instant although the guest goes on. The first and the last, which have most to copy, are made with
# these options of `varve backup`.
prove_increments ()
{
  local first options=("${backup_args[@]}")
  guest_write vda 0 40M 1
  guest_write vda 253M 3M 2
  guest_write vdb 10M 42M 3
  backup_args+=("$@")
  proved_backup disturb 11
  assert_decision vda full 'first backup'
  first=$last_backup
  backup_args=("${options[@]}")
  guest_write vda 5M 100k 4
  guest_write vda 100M 1k 5
  proved_backup disturb 12
  assert_decision vda incremental "changed since backup $first"
  assert_decision vdb incremental "changed since backup $first"
  guest_discard vda 10M 4M
  proved_backup disturb 13
  guest_write vdb 0 60M 6
  backup_args+=("$@")
  proved_backup disturb 14
  assert_decision vda incremental
  assert_decision vdb incremental
  backup_args=("${options[@]}")
}

# assert_decision DISK DECISION [REGEX]: of the newest backup, and its reason.
assert_decision ()
{
  local backup
  backup=$(newest_backup)
  # A backup does not change.
  if [ "${shown_backup:-}" != "$backup" ]; then
    varve show --from "images:$store" "$backup" > "$tmp/show.log"
    shown_backup=$backup
  fi
  assert_shown_decision "$@"
}

# Of the backup that $tmp/show.log shows. Who else writes that unsets $shown_backup.
assert_shown_decision ()
{
  if ! grep -A 1 "^$1: " "$tmp/show.log" | grep -qE "^  $2: ${3:-}"; then
    cat "$tmp/show.log" >&2
    fail "disk $1 was not backed up as: $2 ${3:-}"
  fi
}

assert_digest ()
{
  local found
  found=$(digest "$1" "$2")
  if [ "$found" != "$3" ]; then
    fail "$1 is not what $4 was"
  fi
}

# assert_all_exact: every backup that was proved, restored by varve to raw and qcow2, and by qemu-img alone.
assert_all_exact ()
{
  local file backup disk expected to_raw to_qcow2 n=0
  for backup in $(cd "$tmp" && printf '%s\n' digest.2* | cut -d . -f 2 | sort -u); do
    rm -f "$tmp/restored".*
    to_raw=()
    to_qcow2=()
    for file in "$tmp/digest.$backup".*; do
      disk=${file##*.}
      to_raw+=(--disk "$disk=$tmp/restored.$disk.raw")
      to_qcow2+=(--disk "$disk=$tmp/restored.$disk.qcow2,format=qcow2")
    done
    varve restore --from "images:$store" "$backup" "${to_raw[@]}" > "$tmp/restore.log"
    varve restore --from "images:$store" "$backup" "${to_qcow2[@]}" > "$tmp/restore.log"
    for file in "$tmp/digest.$backup".*; do
      disk=${file##*.}
      expected=$(cat "$file")
      assert_digest "$tmp/restored.$disk.raw" raw "$expected" "disk $disk at backup $backup (varve, raw)"
      qemu-img check -q -f qcow2 "$tmp/restored.$disk.qcow2"
      assert_digest "$tmp/restored.$disk.qcow2" qcow2 "$expected" "disk $disk at backup $backup (varve, qcow2)"
      assert_digest "$store"/*/"$backup/$disk.qcow2" qcow2 "$expected" "disk $disk at backup $backup (qemu-img alone)"
      n=$((n + 1))
    done
  done
  assert_equal "$n" "$proof_count" "number of proofs"
  varve verify --from "images:$store" > "$tmp/verify.log"
  echo "$n restores exact, three ways each; every layer verified"
}

# Nothing of varve is left in the state directory but empty directories.
assert_nothing_left_on_host ()
{
  local left
  left=$(find "$VARVE_STATE_DIR"/sessions "$VARVE_STATE_DIR"/scratch "$VARVE_STATE_DIR"/sockets -mindepth 1)
  assert_equal "$left" '' "what is left in the state directory"
}

# And there is no half-made backup in the store.
assert_nothing_left ()
{
  local left
  assert_nothing_left_on_host
  left=$(find "$store" -name '*.partial' -o -name '*.deleted')
  assert_equal "$left" '' "what is left in the store"
}

# qemu_names: nodes, exports, jobs and bitmaps of the bare QEMU, for comparing before and after.
qemu_names ()
{
  "$shell_dir/qmp.py" "$qmp_test" --names
}
