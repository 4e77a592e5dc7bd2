#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# File systems frozen by a real guest agent for the instant of a backup: what is restored needs no replay of its
# journal, and the guest is thawed, whatever becomes of the worker, of the guard or of the agent. Argument: libvirt or
# qmp.
. "$(dirname "$0")/functions.sh"
requires_guest
requires qemu-ga mkfs.ext4 dumpe2fs qemu-storage-daemon nbdcopy python3

driver=$1
guest_agent=agent
guard=
bound=5
truncate -s 64M "$tmp/fs.raw"
mkfs.ext4 -q "$tmp/fs.raw"
qemu-img convert -f raw -O qcow2 "$tmp/fs.raw" "$tmp/a.qcow2"
if [ "$driver" = libvirt ]; then
  requires_libvirt
  define_domain --guest '' quiesce vda="$tmp/a.qcow2"
  start_domain
  backup_args=("$domain")
  uri=qemu:///system
  agent_options=()
else
  start_qemu --guest '' vda="$tmp/a.qcow2"
  backup_args=(-c "qmp+unix://$qmp" vm)
  domain=vm
  uri=qmp+unix://$qmp
  agent_options=(--agent "$agent")
fi
guest sh 'mount -t ext4 /dev/vda /mnt'
# A file that is written all the time, each write flushed: those of a frozen file system wait.
guest sh 'dd if=/dev/zero of=/mnt/numbers bs=1M count=8 2> /dev/null'
guest numbers /mnt/numbers offset=4K blocks=64 delay=5000

# ask_agent COMMAND: prints what it returns.
ask_agent ()
{
  if [ "$driver" = libvirt ]; then
    virsh qemu-agent-command "$domain" --timeout 20 "{\"execute\":\"$1\"}" | sed 's/^{"return":\(.*\)}$/\1/'
  else
    "$shell_dir/agent.py" "$agent" "$1"
  fi
}

agent_answers ()
{
  ask_agent guest-ping > /dev/null 2>&1
}

is_thawed ()
{
  [ "$(ask_agent guest-fsfreeze-status)" = '"thawed"' ]
}

session_is_over ()
{
  [ -z "$(find "$VARVE_STATE_DIR/sessions" -name '*.session')" ]
}

# quiesce_job REQUIRED TIMEOUT
quiesce_job ()
{
  backup_job=$tmp/job.xml
  write_backup_job "$backup_job" "$uri" "$domain" '' \
    "<quiesce required='$1' timeout='$2'${agent_options[1]:+ agent='$agent'}/>"
}

# assert_journal clean|dirty [RAW]: whether the file system in RAW, else that of the newest backup, needs its journal
# replayed.
assert_journal ()
{
  local found=clean raw=${2:-$tmp/restored.raw}
  if [ -z "${2:-}" ]; then
    rm -f "$raw"
    varve restore --from "images:$store" "$(newest_backup)" --disk "vda=$raw" > "$tmp/restore.log"
  fi
  dumpe2fs -h "$raw" > "$tmp/dump.log" 2>&1
  if grep -q '^Filesystem features:.*needs_recovery' "$tmp/dump.log"; then
    found=dirty
  fi
  assert_equal "$found" "$1" "journal of the file system that was read"
}

assert_consistency ()
{
  shown_backup=
  varve show --from "images:$store" "$(newest_backup)" > "$tmp/show.log"
  assert_contains "$tmp/show.log" "consistency: $1"
}

# The agent answers, nothing is frozen, nothing is left; no write waited longer than MILLISECONDS.
assert_thawed ()
{
  wait_for 120 "the agent to answer" agent_answers
  wait_for 120 "the guest to be thawed" is_thawed
  guest status
  assert_guest_unhurt "$1"
}

# As numbers keep their longest write from beginning to end, each scenario begins anew.
begin_anew ()
{
  guest stop > "$tmp/stop.log"
  guest numbers /mnt/numbers offset=4K blocks=64 delay=5000
}

wait_for 120 "the agent to answer" agent_answers

varve backup "${backup_args[@]}" --to "images:$store"
assert_consistency crash
assert_journal dirty
varve backup "${backup_args[@]}" --quiesce "${agent_options[@]}" --to "images:$store"
assert_consistency file-systems
assert_journal clean
assert_thawed 3000
assert_nothing_left
guest sh 'test "$(cat /run/hook.log)" = "$(printf "freeze\nthaw")"'
echo "frozen for the instant: as it should be"

# The same for a reader that is not varve, who can tell by the session what he has.
export_args=("${backup_args[@]}" --owner vendor)
for wanted in file-systems crash; do
  quiesce=()
  journal=dirty
  if [ "$wanted" = file-systems ]; then
    quiesce=(--quiesce "${agent_options[@]}")
    journal=clean
  fi
  begin_export "${quiesce[@]}"
  assert_equal "$(export_get consistency)" "$wanted" "consistency that begin tells"
  varve export list --json > "$tmp/list.json"
  assert_contains "$tmp/list.json" "\"consistency\":\"$wanted\""
  nbdcopy "$(export_get uri vda)" "$tmp/exported.raw"
  end_export --discard-checkpoint
  assert_journal "$journal" "$tmp/exported.raw"
done
assert_thawed 3000
assert_no_export_left
echo "frozen for the instant of an export: as it should be"

# A freeze that takes longer than it may: the agent obeys when the time is up, and is told to thaw.
begin_anew
guest sh 'echo 6 > /run/hold'
quiesce_job no 2
started=$SECONDS
expect_status 0 varve run "$backup_job"
if [ $((SECONDS - started)) -gt 60 ]; then
  fail "a freeze that may take 2 s took $((SECONDS - started)) s"
fi
assert_contains "$tmp/said.log" 'only crash-consistent, as the file systems could not be frozen'
assert_contains "$tmp/said.log" 'thawed as soon as it answers again'
assert_consistency crash
wait_for 120 "the late freeze and its thaw" session_is_over
assert_thawed 10000
guest sh 'rm /run/hold; grep -c freeze /run/hook.log | grep -qx 3; tail -n 1 /run/hook.log | grep -qx thaw'
assert_nothing_left
echo "freeze too late, not required: as it should be"

begin_anew
guest sh 'echo 6 > /run/hold'
quiesce_job yes 2
expect_status 5 varve run "$backup_job"
assert_contains "$tmp/said.log" 'could not be frozen, and the job requires it'
assert_backups 3
wait_for 120 "the late freeze and its thaw" session_is_over
assert_thawed 10000
guest sh 'rm /run/hold; tail -n 1 /run/hook.log | grep -qx thaw'
assert_nothing_left
echo "freeze too late, required: as it should be"

# The agent hangs. libvirt has put the command before it all the same: it freezes when it comes to itself, long after
# the backup.
begin_anew
guest sh 'killall -STOP qemu-ga'
quiesce_job no 1
expect_status 0 varve run "$backup_job"
assert_consistency crash
sleep 1
if [ "$driver" = libvirt ] && session_is_over; then
  fail "a session that may have frozen its guest was given up"
fi
guest sh 'killall -CONT qemu-ga'
wait_for 120 "the agent's thaw" session_is_over
assert_thawed 10000
assert_nothing_left
echo "agent hung: as it should be"

# The worker dies, or stands still, while all is frozen.
quiesce_job yes 10
for action in kill stop; do
  begin_anew
  status=0
  VARVE_FAILPOINT=quiesce-frozen:$action "${varve_command[@]}" run "$backup_job" > "$tmp/backup.log" 2>&1 || status=$?
  assert_equal "$status" 137 "status of a worker that met its $action"
  wait_for "$bound" "the guard to end the session" session_is_over
  assert_thawed $((bound * 1000))
  assert_nothing_left_on_host
  echo "worker met its $action while the guest was frozen: as it should be"
done

# And the guard dies with it: the next run thaws.
begin_anew
status=0
VARVE_GUARD=none VARVE_FAILPOINT=quiesce-frozen:kill "${varve_command[@]}" run "$backup_job" > "$tmp/backup.log" 2>&1 ||
  status=$?
assert_equal "$status" 137 "status of a worker that is killed"
assert_equal "$(ask_agent guest-fsfreeze-status)" '"frozen"' "state of the file systems"
varve run "$backup_job"
assert_thawed 10000
assert_journal clean
assert_nothing_left
echo "nobody was left to thaw but the next run: as it should be"

# No agent at all.
guest sh 'killall qemu-ga'
wait_for 120 "the end of the agent" guest sh '! pidof qemu-ga'
quiesce_job yes 2
expect_status 1 varve run "$backup_job"
assert_contains "$tmp/said.log" 'guest agent (is not connected|behind .* does not answer)'
assert_nothing_left
quiesce_job no 2
expect_status 0 varve run "$backup_job"
assert_consistency crash
wait_for 120 "the end of the session" session_is_over
assert_nothing_left
echo "no agent: as it should be"
