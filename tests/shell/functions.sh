# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# What every shell test begins with:
#
#   #!/bin/bash
#   . "$(dirname "$0")/functions.sh"
#   requires qemu-img
#
# It gives a directory of the test's own ($tmp, removed at the end, kept with VARVE_KEEP_TMP=1), stops the test at
# the first command that fails and says where, and ends all that was started, however the test ends.
# Exit status 77 means skipped. VARVE_TEST_TRACE=1 shows each command.
#
# This file: the frame, varve itself, comparisons. functions-qemu.sh: bare QEMU and the guest.
# functions-libvirt.sh: libvirt's daemons and domains.

set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

shell_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
srcdir=$(cd "$shell_dir/../.." && pwd)
builddir=${VARVE_BUILDDIR:-$srcdir/build}
VARVE=${VARVE:-$builddir/cli/varve}

# QEMU under libvirt has another user: it must be able to pass through here, and need not look around.
tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/varve-test.XXXXXX")
chmod 0711 "$tmp"
export VARVE_STATE_DIR=$tmp/state

cleanup_commands=()

# Runs the command at the end of the test, whatever the end is; last registered, first run.
cleanup_fn ()
{
  cleanup_commands+=("$(printf '%q ' "$@")")
}

# Shows what the machines and commands of a failed test said.
show_logs ()
{
  local log
  for log in "$tmp"/*.log "$tmp"/*.console; do
    if [ -s "$log" ]; then
      echo "--- ${log##*/} (last lines)"
      tail -n 30 "$log"
    fi
  done
}

on_exit ()
{
  local status=$? i
  trap - EXIT ERR INT TERM
  set +e
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
    show_logs >&2
  fi
  for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
    eval "${cleanup_commands[i]}"
  done
  if [ -n "${VARVE_KEEP_TMP:-}" ]; then
    echo "kept: $tmp" >&2
  else
    rm -rf "$tmp"
  fi
  exit "$status"
}

on_error ()
{
  local status=$? i
  echo "failed with status $status: $BASH_COMMAND" >&2
  for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
    echo "  at ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}" >&2
  done
}

trap on_exit EXIT
trap on_error ERR
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -n "${VARVE_TEST_TRACE:-}" ]; then
  set -x
fi

fail ()
{
  echo "FAILED: $*" >&2
  exit 1
}

skip ()
{
  echo "skipped: $*" >&2
  exit 77
}

# requires COMMAND...: skips the test where one is not installed.
requires ()
{
  local command
  for command; do
    if ! command -v "$command" > /dev/null; then
      skip "$command is not installed"
    fi
  done
}

requires_root ()
{
  if [ "$(id -u)" -ne 0 ]; then
    skip "this needs root"
  fi
}

# Nobody ever writes to it: who reads it for a time has slept, without a process made for that.
exec {never}<> <(:)
# nap SECONDS
nap ()
{
  read -rt "$1" -u "$never" || [ $? -gt 128 ]
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; what it sees at a look that begins in time counts, however
# long that takes. Where nothing is promised, SECONDS are many: they only tell when it never comes.
wait_for ()
{
  local limit=$((${EPOCHREALTIME/./} + $1 * 1000000)) what=$2 now
  shift 2
  while now=${EPOCHREALTIME/./} && ! "$@" > /dev/null 2>&1; do
    if [ "$now" -ge "$limit" ]; then
      fail "waited in vain for $what"
    fi
    nap 0.05
  done
}

# Ends a process that this test started, and waits until it is gone.
end_process ()
{
  local pid=$1 signal=${2:-TERM} n
  kill "-$signal" "$pid" 2> /dev/null || return 0
  for ((n = 0; n < 600; n++)); do
    # A child that nobody waited for yet is a zombie: as good as gone.
    case "$(process_state "$pid")" in
    Z | X | '') break ;;
    esac
    nap 0.05
  done
  if [ "$n" -eq 600 ]; then
    kill -KILL "$pid" 2> /dev/null || return 0
  fi
  wait "$pid" 2> /dev/null || return 0
}

# The system's: what stands before it in PATH may take ten times as long to begin (pyenv's shim).
python3 ()
{
  command -p python3 "$@"
}

# ---- varve -----------------------------------------------------------------------------------------

export VARVE_SCHEMA_DIR=$srcdir/xml-schemas
# The command under test, as an array, for those that must know its process. VARVE_VALGRIND=1 puts valgrind before it.
varve_command=("$VARVE")
if [ -n "${VARVE_VALGRIND:-}" ]; then
  # A guard is given a pidfd, and the valgrind of Debian 12 knows none.
  export VARVE_GUARD=none
  # In files, as even --quiet speaks of system calls that it does not know.
  varve_command=(valgrind --quiet --log-file="$tmp/valgrind-%p.log" --error-exitcode=99 --leak-check=full
    --errors-for-leak-kinds=definite --show-leak-kinds=definite "$VARVE")
fi

# The command under test, never for longer than $VARVE_TIMEOUT seconds.
varve ()
{
  timeout --foreground --kill-after=10 "${VARVE_TIMEOUT:-300}" "${varve_command[@]}" "$@"
}

# expect_status STATUS COMMAND...: the command must end so, and its words stay in $tmp/said.log.
expect_status ()
{
  local expected=$1 status=0
  shift
  "$@" > "$tmp/said.log" 2>&1 || status=$?
  cat "$tmp/said.log"
  if [ "$status" -ne "$expected" ]; then
    fail "status $status instead of $expected from: $*"
  fi
}

# write_job FILE DOMAIN-URI DOMAIN STORE-DIRECTORY [DISK...]: a job document "nightly" that backs up these disks
# (all of them where none is named).
write_job ()
{
  local file=$1 uri=$2 domain=$3 store=$4 disk
  shift 4
  {
    echo "<job name='nightly'>"
    echo "  <backup>"
    echo "    <domain uri='$uri'>$domain</domain>"
    if [ $# -gt 0 ]; then
      echo "    <disks>"
      for disk; do
        echo "      <disk name='$disk'/>"
      done
      echo "    </disks>"
    fi
    echo "    <target><images directory='$store'/></target>"
    echo "  </backup>"
    echo "</job>"
  } > "$file"
}

# ---- images and comparisons ------------------------------------------------------------------------

# digest FILE FORMAT: of the disk's content as qemu-img sees it (see disk-digest.c), also while it is in use (-U). That of
# a raw file is the file, if it has whole sectors.
digest ()
{
  local raw
  if [ "$2" = raw ] && [ -f "$1" ] && [ $(($(stat -L -c %s "$1") % 512)) -eq 0 ]; then
    "$builddir/tests/shell/disk-digest" "$1"
    return
  fi
  raw=$(mktemp "$tmp/digest.XXXXXX")
  qemu-img convert -U -f "$2" -O raw "$1" "$raw"
  "$builddir/tests/shell/disk-digest" "$raw"
  rm -f "$raw"
}

# QEMU measures how fast the machine is before it makes a LUKS image, and on a busy one gives up now and then.
patiently ()
{
  local n
  for n in 1 2 3 4 5 6 7 8; do
    if "$@" 2> "$tmp/create.log"; then
      return 0
    fi
  done
  "$@"
}

virtual_size ()
{
  qemu-img info -U --output=json -f "$2" "$1" | sed -n 's/^ *"virtual-size": \([0-9]*\),\{0,1\}$/\1/p' | tail -n 1
}

# assert_same A FORMAT-OF-A B FORMAT-OF-B: equal in size and in every byte.
assert_same ()
{
  local size_a size_b
  size_a=$(virtual_size "$1" "$2")
  size_b=$(virtual_size "$3" "$4")
  if [ "$size_a" != "$size_b" ]; then
    fail "$1 has $size_a bytes, $3 has $size_b"
  fi
  if ! qemu-img compare -U -f "$2" -F "$4" "$1" "$3" > "$tmp/compare.log" 2>&1; then
    fail "$1 and $3 differ: $(cat "$tmp/compare.log")"
  fi
}

assert_equal ()
{
  if [ "$1" != "$2" ]; then
    fail "${3:-values}: '$1' instead of '$2'"
  fi
}

# assert_contains FILE REGEX
assert_contains ()
{
  if ! grep -qE -- "$2" "$1"; then
    cat "$1" >&2
    fail "$1 does not say: $2"
  fi
}

. "$shell_dir/functions-qemu.sh"
. "$shell_dir/functions-libvirt.sh"
. "$shell_dir/functions-backup.sh"
. "$shell_dir/functions-fault.sh"
. "$shell_dir/functions-checkpoint.sh"
. "$shell_dir/functions-export.sh"
. "$shell_dir/functions-revert.sh"
. "$shell_dir/functions-targets.sh"
. "$shell_dir/functions-boot.sh"
