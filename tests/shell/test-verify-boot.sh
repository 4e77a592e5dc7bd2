#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A backup is proved by starting it: a disk that BIOS boots, and that says on the serial console what it read behind its boot
# sector. What was overwritten before the backup, in a store whose sums are right, is found; so are a damaged store and a
# machine that gives no sign. The store stays as it is, and nothing of the machine is left, however it ends.
. "$(dirname "$0")/functions.sh"
requires_qemu
requires nbdkit pgrep

export TMPDIR=$tmp/temporary
mkdir "$TMPDIR"
disk_files=(vda="$tmp/a.raw" vdb="$tmp/b.raw")
backup_args=(-c image: web01 --image "vda=$tmp/a.raw,format=raw" --image "vdb=$tmp/b.raw,format=raw")
make_boot_disk "$tmp/a.raw" 'root is well'
make_disk "$tmp/b.raw" 2M raw
proved_backup
good=$last_backup
qemu-io -f raw "$tmp/a.raw" -c 'write -P 0 1M 1M' > "$tmp/io.log"
proved_backup
overwritten=$last_backup
before=$(store_digest)

# boot STATUS BACKUP [OPTION...]
boot ()
{
  local status=$1
  shift
  expect_status "$status" varve verify --boot --from "images:$store" "$@"
  assert_no_machine_left
}

# --- proved, and not --------------------------------------------------------------------------------

boot 0 "$good" --sign 'console:root is well' --timeout 60 --memory 64M
assert_contains "$tmp/said.log" "^Starting backup $good of web01"
assert_contains "$tmp/said.log" "^Backup $good starts: it said 'root is well' on its serial console after [0-9.]* s"
assert_contains "$tmp/said.log" 'no definition of its domain: it is started as a plain machine'
picture=$(sed -n "s/.*screen is kept in '\(.*\)'.*/\1/p" "$tmp/said.log")
assert_equal "${picture%/*}" "$VARVE_STATE_DIR/screenshots" "directory of the picture"
assert_picture "$picture"
rm "$picture"

# Its sums are right, and it does not start.
varve verify --from "images:$store" "$overwritten" > "$tmp/verify.log"
boot 9 "$overwritten" --sign 'console:root is well' --timeout 6 --memory 64M --screenshot "$tmp/screen.png"
assert_contains "$tmp/said.log" "Backup $overwritten of 'web01' was started, and its time of 6 s was over before it had said 'root is well'"
assert_contains "$tmp/said.log" 'It said nothing on its serial console'
assert_picture "$tmp/screen.png"
if [ -e "$picture" ]; then
  fail "a screenshot lies at '$picture', and was to be elsewhere"
fi

# No agent, as there is none; the console's last words are told.
boot 9 "$good" --timeout 3 --memory 64M
assert_contains "$tmp/said.log" 'its time of 3 s was over before its guest agent had answered'
assert_contains "$tmp/said.log" "serial console said is: 'root is well'"

# --- as a document, for programs ----------------------------------------------------------------------

varve verify --boot --from "images:$store" web01@latest --sign 'console:root is well' --timeout 1m --memory 64M \
  --screenshot "$tmp/screen.png" --print-xml > "$tmp/job.xml"
assert_contains "$tmp/job.xml" "<boot timeout='60'>"
varve validate "$tmp/job.xml"
sed -i "s/web01@latest/$good/" "$tmp/job.xml"
varve run "$tmp/job.xml" --json > "$tmp/events.json"
python3 - "$tmp/events.json" "$good" << 'END'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
kinds = [event['event'] for event in events]
assert kinds[0] == 'run-started' and kinds[-1] == 'run-done' and 'note' in kinds, kinds
assert all(event['action'] == 'verify' and event['backup'] == sys.argv[2] for event in events), events
for event in events:
    if event['event'] == 'progress':
        assert event['total'] == 60 and 0 < event['done'] <= 60 and 'disk' not in event, event
assert events[-1]['decision'] == 'boot' and 'serial console' in events[-1]['text'], events[-1]
END
sed "/<boot/,/<\/boot>/d" "$tmp/job.xml" > "$tmp/sums.xml"
varve run "$tmp/sums.xml" > "$tmp/sums.log"
assert_contains "$tmp/sums.log" "$good vda: .* checked"
assert_contains "$tmp/sums.log" 'all that was checked is as it was written'

# --- how it ends ------------------------------------------------------------------------------------

# In the background; $worker is it, and its machine runs.
begin_boot ()
{
  "${varve_command[@]}" verify --boot --from "images:$store" "$good" --timeout 200 --memory 64M > "$tmp/boot.log" 2>&1 &
  worker=$!
  cleanup_fn end_process "$worker" KILL
  wait_for 60 "the machine" machine_runs
}

machine_runs ()
{
  children_of "$worker" > "$tmp/children"
  grep -q ' qemu-system' "$tmp/children" && grep -q ' nbdkit' "$tmp/children" &&
    [ -z "$(find "$VARVE_STATE_DIR/sockets" -mindepth 1)" ]
}

children_are_gone ()
{
  local pid
  while read -r pid _; do
    if [ -e "/proc/$pid" ] && ! grep -q '^State:.*Z' "/proc/$pid/status"; then
      return 1
    fi
  done < "$tmp/children"
}

for signal in TERM KILL; do
  begin_boot
  machine=$(sed -n 's/ qemu-system.*//p' "$tmp/children")
  tr '\0' ' ' < "/proc/$machine/cmdline" > "$tmp/cmdline"
  assert_contains "$tmp/cmdline" ' -nic none '
  if grep -qE 'netdev|virtio-net|e1000|rtl8139|virtfs|vhost' "$tmp/cmdline"; then
    fail "the machine is not isolated"
  fi
  kill "-$signal" "$worker"
  status=0
  wait "$worker" || status=$?
  case "$signal" in
  TERM) assert_equal "$status" 143 "status of a proof that was interrupted" ;;
  KILL) assert_equal "$status" 137 "status of a proof that was killed" ;;
  esac
  wait_for 30 "the end of the machine" children_are_gone
  assert_no_machine_left
done

# It is killed before QEMU has connected: what that leaves goes with the next.
status=0
VARVE_FAILPOINT=boot-served:kill "${varve_command[@]}" verify --boot --from "images:$store" "$good" > "$tmp/boot.log" 2>&1 || status=$?
assert_equal "$status" 137 "status of a proof that was killed"
if [ -z "$(find "$VARVE_STATE_DIR/sockets" -name 'boot-*')" ]; then
  fail "nothing was left by a proof that was killed: the test is void"
fi
boot 0 "$good" --sign 'console:root is well' --timeout 60 --memory 64M

# QEMU is killed.
begin_boot
kill -KILL "$(sed -n 's/ qemu-system.*//p' "$tmp/children")"
status=0
wait "$worker" || status=$?
assert_equal "$status" 1 "status of a proof whose QEMU was killed"
assert_contains "$tmp/boot.log" 'QEMU, which ran the machine, has gone'
if grep -q warning "$tmp/boot.log"; then
  fail "a machine that has gone was asked for its picture"
fi
assert_no_machine_left
assert_equal "$(store_digest)" "$before" "the store"

# --- refused ------------------------------------------------------------------------------------------

boot 2 "$good" --sign agents
assert_contains "$tmp/said.log" "'agents' is no sign"
boot 2 "$good" --sign console:
assert_contains "$tmp/said.log" 'The text that is waited for'
boot 2
assert_contains "$tmp/said.log" 'name it'
boot 2 "$good" --memory 1M
boot 1 web02@latest
expect_status 2 varve verify --from "images:$store" "$good" --timeout 5
assert_contains "$tmp/said.log" 'go with --boot'

# --- a damaged store ----------------------------------------------------------------------------------

# Where the boot sector reads, the table leads nowhere.
layer=$(echo "$store"/*/"$good"/vda.qcow2)
"$shell_dir/damage-layer.py" "$layer" $((1 << 20))
boot 7 "$good" --sign 'console:root is well' --timeout 60 --memory 64M
assert_contains "$tmp/said.log" "a disk of it could not be read: .*'$layer' is damaged at guest offset"

# Its file is cut off: told before anything is started.
truncate -s -65536 "$layer"
boot 7 "$good" --sign 'console:root is well'
assert_contains "$tmp/said.log" "Disk 'vda' of backup $good: the image of disk 'vda' .* has [0-9]* bytes instead of"
