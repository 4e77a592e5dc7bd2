# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Bare QEMU for shell tests, always emulated (TCG), so that a test is the same on every host. Sourced by functions.sh.
#
# The machine that was started last is "the" machine: $vm (its name), $qemu_pid, $qmp (the monitor for varve),
# $qmp_test (one for the test itself: a QMP socket serves one client), $serial (its console's socket),
# $tmp/$vm.console (all that the console said) and $tmp/$vm.log (QEMU's stderr).

requires_qemu ()
{
  requires qemu-system-x86_64 qemu-img python3
}

requires_guest ()
{
  requires_qemu
  requires cpio busybox modprobe
  if [ ! -x "$builddir/tests/guest/writer" ]; then
    skip "tests/guest/writer is not built"
  fi
}

# make_disk FILE SIZE [FORMAT [CREATE-OPTIONS]]
make_disk ()
{
  qemu-img create -q -f "${3:-qcow2}" ${4:+-o "$4"} "$1" "$2"
}

# Format of a disk argument ID=FILE[:FORMAT].
disk_format ()
{
  case "$1" in
  *:*) echo "${1##*:}" ;;
  *.raw | *.img) echo raw ;;
  *) echo qcow2 ;;
  esac
}

# Builds the guest's kernel and initramfs into $tmp, once for a test; with qemu-ga where $guest_agent says `agent`.
build_guest ()
{
  if [ ! -e "$tmp/guest.kernel" ]; then
    "$srcdir/tests/guest/build-guest.sh" "$builddir/tests/guest/writer" "$tmp/guest.kernel" "$tmp/guest.initrd" \
      ${guest_agent:+"$guest_agent"}
  fi
}

# Kernel command line of the guest; commands (see writer.c) are separated by ";".
guest_append ()
{
  local commands=${1// /,}
  echo "console=ttyS0 quiet loglevel=3 panic=-1${commands:+ run=$commands}"
}

# start_qemu [OPTION]... [ID=FILE[:FORMAT]]...
#   --name NAME       default "vm"
#   --guest COMMANDS  boots the test guest, which obeys these (may be ''), and waits until it is ready
#   --stopped         CPUs stand still (prelaunch). Default without --guest: firmware runs, disks idle
#   --cache none      O_DIRECT on the host
#   --iothread        disks run on an iothread
#   --werror POLICY   of the disks: what becomes of a write that fails
#   --no-id           disks by -drive, without a qdev id (named by their -drive id)
#   --arg ARG         passed to QEMU
# With the port of a guest agent, whose socket is $agent, where $guest_agent is set.
# Disk ID is virtio device ID on format node fmt-ID, protocol node file-ID.
start_qemu ()
{
  local args=() device_options='' cache='' guest='' boots=0 by_drive=0 spec id file format
  vm=vm
  while [[ "${1:-}" == --* ]]; do
    case "$1" in
    --name) vm=$2; shift ;;
    --guest) guest=$2; boots=1; shift ;;
    --stopped) args+=(-S) ;;
    --cache) cache=$2; shift ;;
    --werror) device_options+=,werror=$2; shift ;;
    --iothread) args+=(-object iothread,id=iothread0); device_options+=,iothread=iothread0 ;;
    --no-id) by_drive=1 ;;
    --arg) args+=("$2"); shift ;;
    *) fail "start_qemu: no such option: $1" ;;
    esac
    shift
  done
  for spec; do
    id=${spec%%=*}
    file=${spec#*=}
    format=$(disk_format "$file")
    file=${file%:*}
    if [ "$by_drive" = 1 ]; then
      args+=(-drive "if=virtio,id=$id,file=$file,format=$format,discard=unmap")
      continue
    fi
    args+=(-blockdev "driver=file,node-name=file-$id,filename=$file,discard=unmap${cache:+,cache.direct=on}"
           -blockdev "driver=$format,node-name=fmt-$id,file=file-$id,discard=unmap"
           -device "virtio-blk-pci,id=$id,drive=fmt-$id$device_options")
  done
  qmp=$tmp/$vm.qmp
  qmp_test=$tmp/$vm.qmp-test
  serial=$tmp/$vm.serial
  if [ "$boots" = 1 ]; then
    build_guest
    args+=(-kernel "$tmp/guest.kernel" -initrd "$tmp/guest.initrd" -append "$(guest_append "$guest")")
  fi
  if [ -n "${guest_agent:-}" ]; then
    agent=$tmp/$vm.agent
    args+=(-chardev "socket,id=agent,path=$agent,server=on,wait=off" -device virtio-serial
           -device "virtserialport,chardev=agent,name=org.qemu.guest_agent.0")
  fi
  rm -f "$qmp" "$qmp_test" "$serial" "$tmp/$vm.console"
  # With one emulated processor and no place for another QEMU before 8.1 leaves the guest's memory barriers out, and the guest
  # and an iothread may miss each other's word.
  qemu-system-x86_64 -name "$vm" -machine q35,accel=tcg -smp 1,maxcpus=2 -m 256 -nodefaults -no-user-config \
    -display none -no-reboot \
    -qmp "unix:$qmp,server=on,wait=off" -qmp "unix:$qmp_test,server=on,wait=off" \
    -qmp "unix:$tmp/$vm.qmp-stalls,server=on,wait=off" \
    -chardev "socket,id=console,path=$serial,server=on,wait=off,logfile=$tmp/$vm.console" -serial chardev:console \
    "${args[@]}" < /dev/null >> "$tmp/$vm.log" 2>&1 &
  qemu_pid=$!
  cleanup_fn end_process "$qemu_pid" KILL
  monitor=bare
  wait_for 120 "QEMU's monitor ($vm)" qmp query-status
  if [ "$boots" = 1 ]; then
    wait_for_guest
  fi
}

wait_for_guest ()
{
  wait_for 300 "the guest of $vm" grep -aq '^guest: ok ready' "$tmp/$vm.console"
}

# Ends the machine by the monitor, so that QEMU writes its bitmaps.
stop_qemu ()
{
  qmp quit > /dev/null
  wait "$qemu_pid"
}

# A crash of QEMU: its bitmaps are lost.
kill_qemu ()
{
  kill -KILL "$qemu_pid"
  wait "$qemu_pid" 2> /dev/null || return 0
}

# qmp COMMAND [JSON]: prints what it returns.
qmp ()
{
  "$shell_dir/qmp.py" "$qmp_test" "$@"
}

# hmp LINE...: commands of the human monitor, of bare QEMU or of libvirt's (there they have no single quotes).
hmp ()
{
  local commands
  if [ "$monitor" = libvirt ]; then
    printf -v commands "qemu-monitor-command --hmp $domain '%s'; " "$@"
    virsh "$commands"
  else
    "$shell_dir/qmp.py" "$qmp_test" --hmp "$@"
  fi
}

# guest_io DISK COMMAND: a qemu-io command through the guest's own device, as if the guest did it: it passes through
# whatever filter is above the disk. What came of it QEMU tells on its stdout, not in the monitor. Flushed, because QEMU
# keeps new qcow2 tables to itself until then: before a flush, `digest` of the file sees the old content. (So a
# digest of a disk that the booted guest writes is right only behind a `stop`, which flushes too.)
guest_io ()
{
  local device=$1 log=$tmp/$vm.log said
  if [ "$monitor" = libvirt ]; then
    device=ua-$1
    log=/var/log/libvirt/qemu/$domain.log
  fi
  local start=$(($(stat -c %s "$log") + 1))
  local backend=/machine/peripheral/$device/virtio-backend
  said=$(hmp "qemu-io -d $backend \"$2\"" "qemu-io -d $backend flush")
  wait_for 120 "the end of guest_io $1 '$2': $said" guest_io_ended "$log" "$start"
  if ! tail -c "+$start" "$log" | grep -aqE '^(wrote|read|discard) '; then
    fail "guest_io $1 '$2': $(tail -c "+$start" "$log")"
  fi
}

guest_io_ended ()
{
  tail -c "+$2" "$1" | grep -aqE '^(wrote|read|discard) |failed|rror|nvalid'
}

# guest_write DISK OFFSET LENGTH PATTERN (0 to 255)
guest_write ()
{
  guest_io "$1" "write -P $4 $2 $3"
}

guest_discard ()
{
  guest_io "$1" "discard $2 $3"
}

# guest_zero DISK OFFSET LENGTH. Not of a disk on an iothread: QEMU 7.2 then aborts in qemu-io itself, which waits for the
# zeros in the wrong thread (a guest's own are another matter).
guest_zero ()
{
  guest_io "$1" "write -z -u $2 $3"
}

# guest COMMAND...: to the program in the booted guest (see tests/guest/writer.c); prints its answer.
guest ()
{
  local status=0
  "$shell_dir/guest.py" "$serial" "$@" || status=$?
  if [ "$status" -eq 3 ]; then
    show_silent_machine >&2
  fi
  return "$status"
}

# Of a machine whose guest does not answer: what its threads wait for, whether its monitor answers, and whether the guest comes
# back when it is stopped and goes on, as QEMU then looks at all of its queues again.
show_silent_machine ()
{
  local task
  if [ "$monitor" = libvirt ]; then
    qemu_pid=$(domain_pid)
  fi
  for task in /proc/"$qemu_pid"/task/*; do
    echo "$(cat "$task/comm"): $(sed -n 's/^State:[[:space:]]*//p' "$task/status"), $(cat "$task/wchan")"
  done
  if [ "$monitor" = bare ] &&
    ! timeout 20 "$shell_dir/qmp.py" "$qmp_test" --hmp 'info status' 'info block-jobs' 'info blockstats'; then
    echo "its monitor does not answer"
    return
  fi
  pause_guest
  resume_guest
  "$shell_dir/guest.py" --timeout 30 "$serial" status || echo "nor does the guest when it goes on"
}

# more_numbers N: waits until the guest has written so many numbers more.
more_numbers ()
{
  local highest
  highest=$(highest_number)
  wait_for 300 "$1 more numbers of the guest" numbers_are_beyond $((highest + $1))
}

highest_number ()
{
  guest status | sed -n 's/^guest: ok numbers running at \([0-9]*\) .*/\1/p'
}

numbers_are_beyond ()
{
  [ "$(highest_number)" -ge "$1" ]
}

# No write of the guest failed, and none took longer than MILLISECONDS (default 5000). `guest stop` must have been
# before, or `guest status`.
assert_guest_unhurt ()
{
  local limit=$((${1:-5000} * 1000)) report errors longest
  # virtlogd writes what the console said a little behind it.
  wait_for 120 "the report of the guest on its writes" \
    grep -a '^guest: ok numbers \(stopped\|running\)' "$tmp/$vm.console"
  report=$(grep -a '^guest: ok numbers \(stopped\|running\)' "$tmp/$vm.console" | tail -n 1)
  if ! [[ "$report" =~ with\ ([0-9]+)\ errors,\ longest\ write\ ([0-9]+)\ us ]]; then
    fail "the guest told nothing about its writes"
  fi
  errors=${BASH_REMATCH[1]}
  longest=${BASH_REMATCH[2]}
  if [ "$errors" -ne 0 ] || grep -aq '^numbers: write of .* failed' "$tmp/$vm.console"; then
    grep -a '^numbers: write of' "$tmp/$vm.console" >&2
    fail "writes of the guest failed: $report"
  fi
  if [ "$longest" -gt "$limit" ]; then
    fail "a write of the guest took $longest us: $report"
  fi
  echo "guest unhurt: $report"
}

# watch_stalls: from here on, when the machine stands still and when it goes on is kept for `assert_stalls`. The guest
# cannot tell, as its clock stands still too. A bare QEMU has a monitor of its own for that, $tmp/$vm.qmp-stalls.
watch_stalls ()
{
  if [ "$monitor" = libvirt ]; then
    requires stdbuf
    "$shell_dir/stalls.py" watch libvirt "$domain" > "$tmp/stalls" &
  else
    "$shell_dir/stalls.py" watch qmp "$tmp/$vm.qmp-stalls" > "$tmp/stalls" &
  fi
  cleanup_fn end_process "$!"
  wait_for 120 "the watch for stalls" test -s "$tmp/stalls"
}

# The watch may hear of it a little later than others.
stalls_are_over ()
{
  ! tail -n 1 "$tmp/stalls" | grep -q stop
}

# assert_stalls MILLISECONDS: it runs, and never stood still for longer.
assert_stalls ()
{
  local longest
  wait_for 120 "the end of the last stall" stalls_are_over
  longest=$("$shell_dir/stalls.py" longest "$tmp/stalls")
  if [ "$longest" -gt "$1" ]; then
    fail "the machine stood still for $longest ms"
  fi
  echo "longest stall: $longest ms"
}

# assert_numbers AT-LEAST RAW...: restored disks are of one instant (see check-numbers.py); prints the highest numbers.
assert_numbers ()
{
  local at_least=$1
  shift
  "$srcdir/tests/guest/check-numbers.py" --at-least "$at_least" "$@"
}
