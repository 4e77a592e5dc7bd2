# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# libvirt for shell tests: its system instance, as root, where QEMU runs as libvirt's own user. Sourced by functions.sh.
#
# Where no daemon answers (a container without an init system), virtlogd and libvirtd are started with their own
# time limit for idleness: tests that come together share them, and nobody has to end them. A test with a daemon of its
# own, in name spaces, may set $libvirtd_options.

libvirt_uri=qemu:///system
libvirt_idle_limit=300

virsh ()
{
  timeout --foreground --kill-after=5 300 virsh -q -c "$libvirt_uri" "$@"
}

libvirt_answers ()
{
  timeout 60 virsh -q -c "$libvirt_uri" uri > /dev/null 2>&1
}

# True when libvirtd answers, or could be made to.
start_libvirtd ()
{
  local n
  if libvirt_answers; then
    return 0
  fi
  exec {libvirt_lock}> /run/lock/varve-test-libvirtd.lock
  flock -w 300 "$libvirt_lock"
  if ! libvirt_answers; then
    # The lock must not live on in the daemons.
    if [ ! -S /run/libvirt/virtlogd-sock ] || ! virt-admin -c virtlogd:///system srv-list > /dev/null 2>&1; then
      virtlogd -d -t "$libvirt_idle_limit" {libvirt_lock}>&- > /dev/null 2>&1 || return 1
    fi
    libvirtd -d ${libvirtd_options:-} -t "$libvirt_idle_limit" {libvirt_lock}>&- > /dev/null 2>&1 || return 1
    for ((n = 0; n < 600; n++)); do
      if libvirt_answers; then
        break
      fi
      sleep 0.2
    done
  fi
  exec {libvirt_lock}>&-
  libvirt_answers
}

# In a mount name space of the test's own: so are the daemons that requires_libvirt then starts.
make_libvirt_private ()
{
  local directory
  for directory in /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt/qemu; do
    mkdir -p "$directory"
    mount -t tmpfs -o mode=0755 varve-test "$directory"
  done
  mkdir /run/lock
  cleanup_fn end_private_daemons
}

end_private_daemons ()
{
  local file
  for file in /run/libvirtd.pid /run/virtlogd.pid; do
    if [ -s "$file" ]; then
      end_process "$(cat "$file")"
    fi
  done
}

requires_libvirt ()
{
  requires_qemu
  requires libvirtd virtlogd virsh
  requires_root
  if ! start_libvirtd; then
    fail "libvirtd does not answer and could not be started"
  fi
}

# define_domain [OPTION]... NAME [DISK=FILE[:FORMAT]]...
#   --guest COMMANDS  it boots the test guest, which obeys these
#   --iothread        disks run on an iothread
#   --werror POLICY   of the disks: what becomes of a write that fails
# With the channel of a guest agent where $guest_agent is set. Defines it; `start_domain` starts it. Sets $domain and $vm; names are made unique for this test. $serial is its
# console's socket, $tmp/$vm.console all that it said. Disk vda is the qdev ua-vda.
define_domain ()
{
  local guest='' boots=0 iothreads='' driver_options='' spec file
  while [[ "${1:-}" == --* ]]; do
    case "$1" in
    --guest) guest=$2; boots=1; shift ;;
    --werror) driver_options+=" error_policy='$2'"; shift ;;
    --iothread) iothreads='<iothreads>1</iothreads>'; driver_options+=" iothread='1'" ;;
    *) fail "define_domain: no such option: $1" ;;
    esac
    shift
  done
  domain=varve-test-$$-$1
  vm=$domain
  serial=$tmp/$vm.serial
  shift
  if [ "$boots" = 1 ]; then
    build_guest
  fi
  {
    echo "<domain type='qemu'>"
    echo "  <name>$domain</name>"
    echo "  <memory unit='MiB'>256</memory>"
    # The place for a second one: see start_qemu.
    echo "  <vcpu current='1'>2</vcpu>$iothreads"
    echo "  <os><type arch='x86_64' machine='q35'>hvm</type>"
    if [ "$boots" = 1 ]; then
      echo "    <kernel>$tmp/guest.kernel</kernel><initrd>$tmp/guest.initrd</initrd>"
      echo "    <cmdline>$(guest_append "$guest")</cmdline>"
    fi
    echo "  </os>"
    echo "  <on_reboot>destroy</on_reboot>"
    echo "  <devices>"
    for spec; do
      file=${spec#*=}
      echo "    <disk type='file' device='disk'>"
      echo "      <driver name='qemu' type='$(disk_format "$file")' discard='unmap'$driver_options/>"
      echo "      <source file='${file%:*}'/><target dev='${spec%%=*}' bus='virtio'/>"
      echo "      <alias name='ua-${spec%%=*}'/>"
      echo "    </disk>"
    done
    echo "    <serial type='unix'>"
    echo "      <source mode='bind' path='$serial'/><log file='$tmp/$vm.console' append='on'/>"
    echo "      <target type='isa-serial' port='0'/>"
    echo "    </serial>"
    if [ -n "${guest_agent:-}" ]; then
      echo "    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    fi
    echo "    <controller type='usb' model='none'/><memballoon model='none'/>"
    echo "  </devices>"
    echo "</domain>"
  } > "$tmp/$vm.xml"
  cleanup_fn remove_domain "$domain"
  virsh define "$tmp/$vm.xml"
}

remove_domain ()
{
  if ! virsh dominfo "$1" > /dev/null 2>&1; then
    return 0
  fi
  if virsh domstate "$1" 2> /dev/null | grep -qvx 'shut off'; then
    virsh destroy "$1"
  fi
  virsh undefine --checkpoints-metadata --snapshots-metadata --nvram "$1"
}

# Starts $domain; a guest that boots is waited for.
start_domain ()
{
  virsh start "$domain"
  monitor=libvirt
  if grep -q '<kernel>' "$tmp/$vm.xml"; then
    wait_for_guest
  fi
}

stop_domain ()
{
  virsh destroy "$domain"
}

# The process of $domain's QEMU.
domain_pid ()
{
  cat "/run/libvirt/qemu/$domain.pid"
}

# libvirt_names: block nodes, bitmaps, exports and jobs of $domain's QEMU, and libvirt's job, for comparing before and
# after. Checkpoints that are kept, and their bitmaps, are left out.
libvirt_names ()
{
  local command
  virsh domjobinfo "$domain" | sed -n 's/^Job type: */job /p'
  for command in query-named-block-nodes query-block-exports query-jobs; do
    virsh qemu-monitor-command "$domain" "{\"execute\":\"$command\"}"
  done | python3 -c '
import json, sys
decoder = json.JSONDecoder()
text = sys.stdin.read()
while text.strip():
    reply, end = decoder.raw_decode(text.lstrip())
    text = text.lstrip()[end:]
    for item in reply["return"]:
        print(item.get("node-name") or item["id"] if not item.get("node-name", "").startswith("#block") else "unnamed")
        for bitmap in item.get("dirty-bitmaps", []):
            if not bitmap.get("name", "").startswith("varve."):
                print("bitmap", bitmap.get("name"))
' | sort
}
