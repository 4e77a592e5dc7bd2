#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A run that is killed while libvirt begins its backup: libvirt goes on with that for a client that is gone. Recovery
# lets it end before it takes it down; libvirtd 9.0 crashes when its job is told to end in the middle. QEMU, which is
# stopped, holds up the beginning until recovery has come to the job; the daemon's log says when that is. The daemon is
# the test's own, in a mount name space: the host's serves others.
if [ -z "${VARVE_TEST_PRIVATE:-}" ]; then
  if [ "$(id -u)" -ne 0 ] || ! unshare --mount true; then
    echo "skipped: this needs root, and mount name spaces" >&2
    exit 77
  fi
  VARVE_TEST_PRIVATE=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/functions.sh"

make_libvirt_private
libvirtd_log=$tmp/libvirtd.log
printf '%s\n' 'log_filters = "1:libvirt 1:qemu 3:*"' "log_outputs = \"1:file:$libvirtd_log\"" > "$tmp/libvirtd.conf"
libvirtd_options="--config $tmp/libvirtd.conf"
requires_libvirt
make_disk "$tmp/a.qcow2" 16M
make_disk "$tmp/b.qcow2" 16M
define_domain dead-start vda="$tmp/a.qcow2" vdb="$tmp/b.qcow2"
start_domain
varve backup "$domain" --to "images:$store"
before=$(libvirt_names)
libvirtd_pid=$(cat /run/libvirtd.pid)
qemu=$(domain_pid)

# A libvirtd that has crashed ends no domain.
end_qemu ()
{
  kill -KILL "$qemu" 2> /dev/null || return 0
}
cleanup_fn end_qemu

# is_said FUNCTION: libvirtd's log has a line of it behind $logged lines.
is_said ()
{
  grep -q "$1" <(tail -n "+$((logged + 1))" "$libvirtd_log")
}

wait_for_log ()
{
  wait_for 120 "libvirtd to come to $1" is_said "$1"
}

VARVE_GUARD=none VARVE_FAILPOINT=libvirt-start-before:stop "${varve_command[@]}" backup "$domain" --to "images:$store" \
  > "$tmp/worker.log" 2>&1 &
worker=$!
wait_for 120 "the run to be about to start" is_stopped "$worker"
logged=$(wc -l < "$libvirtd_log")
kill -STOP "$qemu"
kill -CONT "$worker"
wait_for_log 'virDomainBackupBegin:'
wait_for_log QEMU_MONITOR_SEND_MSG
kill -KILL "$worker"
status=0
wait "$worker" 2> /dev/null || status=$?
assert_equal "$status" 137 "status of a worker that is killed"
logged=$(wc -l < "$libvirtd_log")
"${varve_command[@]}" recover > "$tmp/recover.log" 2>&1 &
recovery=$!
wait_for_log 'virDomainGetJobStats:\|virDomainAbortJob:\|virDomainCheckpointDelete:'
kill -CONT "$qemu"
status=0
wait "$recovery" || status=$?
cat "$tmp/recover.log"
assert_equal "$status" 0 "status of the recovery"
kill -0 "$libvirtd_pid"
assert_equal "$(libvirt_names)" "$before" "what is in QEMU"
assert_nothing_left_on_host

varve backup "$domain" --to "images:$store"
assert_decision vda incremental
assert_decision vdb incremental
