# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Export sessions, and the vendors that read them. Sourced by functions.sh.
#
# A test sets $export_args (what stands behind `varve export begin`, the domain among it), and the disks as in
# "vda=FILE[:FORMAT]" in the array $disk_files; the file of a disk must be readable while it is in use. What begin
# printed is $tmp/export.json, the session $session.

requires_vendors ()
{
  requires nbdcopy nbdinfo nbdkit qemu-img qemu-io python3
  if ! /usr/bin/python3 -c 'import nbd' 2> /dev/null; then
    skip "python3-libnbd is not installed"
  fi
}

vendor ()
{
  timeout --foreground 600 "$shell_dir/vendor.py" "$@"
}

# export_get FIELD [DISK]
export_get ()
{
  vendor get "$tmp/export.json" "$@"
}

# begin_export [OPTION...]; where readers connect is in $export_server, if not at $tmp/published.
begin_export ()
{
  local server=(--socket "$tmp/published")
  if [ -n "${export_server[*]:-}" ]; then
    server=("${export_server[@]}")
  fi
  varve export begin "${export_args[@]}" "${server[@]}" "$@" > "$tmp/export.json"
  session=$(export_get session)
  cleanup_fn end_session "$session"
}

# For a test that failed in the middle.
end_session ()
{
  varve export end "$1" --discard-checkpoint > /dev/null 2>&1 || return 0
}

# end_export OPTION: within 5 s, whatever its readers do.
end_export ()
{
  local begun=${EPOCHREALTIME/./} took
  varve export end "$session" "$@"
  took=$((${EPOCHREALTIME/./} - begun))
  if [ "$took" -ge "${VARVE_END_LIMIT_US:-5000000}" ]; then
    fail "the end of the session took $took us"
  fi
  echo "the end took $((took / 1000)) ms"
}

# reader_uri DISK: as begin printed it, with the reader's own credentials in it ($reader_tls: x509, psk, or not set).
reader_uri ()
{
  local uri creds=$tmp/credentials
  uri=$(export_get uri "$1")
  case "${reader_tls:-}" in
  x509) echo "$uri?tls-certificates=$creds/x509-client" ;;
  psk) echo "${uri/:\/\/\//:\/\/alice@\/}&tls-psk-file=$creds/psk/keys.psk" ;;
  *) echo "$uri" ;;
  esac
}

# proved_export TOOL COMMAND [OPTION...]: a session that begins while the guest is paused. Digests of the disks are taken
# before it goes on; COMMAND (writes of the guest) runs before a byte is read; then TOOL brings $tmp/vendor.DISK up to
# date, by the dirty map alone where there is one, and must have what the digest says.
proved_export ()
{
  local tool=$1 command=$2 spec file disk uri context
  shift 2
  pause_guest
  begin_export "$@"
  for spec in "${disk_files[@]}"; do
    file=${spec#*=}
    digest "${file%:*}" "$(disk_format "$file")" > "$tmp/digest.export.${spec%%=*}"
  done
  resume_guest
  $command
  for spec in "${disk_files[@]}"; do
    disk=${spec%%=*}
    uri=$(reader_uri "$disk")
    context=$(export_get dirty_context "$disk")
    if [ -n "$context" ]; then
      assert_equal "$(export_get decision "$disk")" incremental "decision for $disk"
      vendor changes "$tool" "$uri" "$context" "$tmp/vendor.$disk"
    else
      assert_equal "$(export_get decision "$disk")" full "decision for $disk"
      vendor full "$tool" "$uri" "$tmp/vendor.$disk"
    fi
    assert_digest "$tmp/vendor.$disk" raw "$(cat "$tmp/digest.export.$disk")" "disk $disk ($tool)"
  done
  checkpoint=$(export_get checkpoint)
  end_export --keep-checkpoint
}

# in_the_middle COMMAND...: runs a reader in the background, until it is at it, and stops it (and its children) there: at
# some moment at which it is connected. $reader_pid. What it writes to stdout is taken by nobody.
in_the_middle ()
{
  rm -f "$tmp/reader.fifo"
  mkfifo "$tmp/reader.fifo"
  exec {reader_fifo}<> "$tmp/reader.fifo"
  setsid "$@" > "$tmp/reader.fifo" 2> "$tmp/reader.log" &
  reader_pid=$!
  cleanup_fn leave_reader "$reader_pid"
  sleep 0.4
  wait_for 120 "the reader to be connected: $*" stop_if_connected
}

stop_if_connected ()
{
  local pid
  kill -STOP -- "-$reader_pid"
  for pid in $(pgrep -g "$reader_pid"); do
    if find "/proc/$pid/fd" -type l -lname 'socket:*' | grep -q .; then
      return 0
    fi
  done
  kill -CONT -- "-$reader_pid"
  return 1
}

leave_reader ()
{
  kill -KILL -- "-$1" 2> /dev/null || return 0
  wait "$1" 2> /dev/null || return 0
}

# hang_reader COMMAND...: stopped in the middle, the session ends all the same; and killed in the middle another time.
hang_reader ()
{
  echo "stopped, and killed: $*"
  begin_export
  in_the_middle "$@"
  # QEMU then waits for all that it is asked for.
  pause_guest
  resume_guest
  end_export --discard-checkpoint
  leave_reader "$reader_pid"
  exec {reader_fifo}>&-

  begin_export
  in_the_middle "$@"
  leave_reader "$reader_pid"
  exec {reader_fifo}>&-
  end_export --discard-checkpoint
}

# Readers of each kind, which are at it for as long as one looks: slowed down by who takes what they read, or at it over
# and over.
hang_all_readers ()
{
  local uri=nbd+unix:///vda?socket=$tmp/published
  hang_reader nbdcopy "$uri" -
  hang_reader qemu-img convert -r 1M -f raw -O raw "$uri" "$tmp/slow.raw"
  hang_reader "$shell_dir/vendor.py" slow "$uri"
  hang_reader sh -c 'while nbdinfo --map "$0" > /dev/null; do :; done' "$uri"
}

# assert_tls RAW: sessions with TLS give the disk vda, which is like RAW, to who has the right credentials, and to
# nobody else; by TCP and by UNIX socket, x509 and PSK.
assert_tls ()
{
  local creds=$tmp/credentials uri
  varve export begin "${export_args[@]}" --listen 127.0.0.1:0 --tls-creds "$creds/x509" > "$tmp/export.json"
  session=$(export_get session)
  uri=$(export_get uri vda)
  assert_equal "$(export_get tls)" x509 "TLS"
  vendor full nbd "$uri?tls-certificates=$creds/x509-client" "$tmp/tls.raw"
  assert_same "$tmp/tls.raw" raw "$1" raw
  vendor full python "$uri?tls-certificates=$creds/x509-client" "$tmp/tls.raw"
  assert_same "$tmp/tls.raw" raw "$1" raw
  uri=${uri#nbds://}
  qemu-img convert --object "tls-creds-x509,id=tls,dir=$creds/x509-client,endpoint=client" --image-opts -O raw \
    "driver=nbd,host=127.0.0.1,port=$(echo "$uri" | sed 's/.*:\([0-9]*\).*/\1/'),export=vda,tls-creds=tls" "$tmp/tls.raw"
  assert_same "$tmp/tls.raw" raw "$1" raw
  vendor refused "nbds://$uri?tls-certificates=$creds/x509-other"
  vendor refused "nbds://$uri?tls-certificates=$creds/x509-expired"
  vendor refused "nbds://alice@$uri?tls-psk-file=$creds/psk/keys.psk"
  vendor refused "nbd://$uri"
  end_export --discard-checkpoint

  begin_export --tls-creds "$creds/psk"
  uri=vda?socket=$tmp/published
  assert_equal "$(export_get uri vda)" "nbds+unix:///$uri" "URI"
  vendor full nbd "nbds+unix://alice@/$uri&tls-psk-file=$creds/psk/keys.psk" "$tmp/tls.raw"
  assert_same "$tmp/tls.raw" raw "$1" raw
  vendor refused "nbds+unix://alice@/$uri&tls-psk-file=$creds/psk-other/keys.psk"
  vendor refused "nbds+unix:///$uri&tls-certificates=$creds/x509-client"
  vendor refused "nbd+unix:///$uri"
  end_export --discard-checkpoint
}

# Whether an assertion holds, for `wait_for`.
holds ()
{
  (trap - ERR EXIT; "$@")
}

# Nothing of a session is left on the host.
assert_no_export_left ()
{
  assert_nothing_left_on_host
  assert_equal "$(find "$VARVE_STATE_DIR/exports" -mindepth 1)" '' "what is left of exports"
  assert_equal "$(varve export list)" '' "sessions that are listed"
  if [ -e "$tmp/published" ]; then
    fail "the published socket is left"
  fi
}
