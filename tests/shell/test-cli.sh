#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The command as a newcomer uses it, also wrongly: what it says, with which status, and what programs get with --json.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io qemu-storage-daemon python3

make_disk "$tmp/a.qcow2" 8M
qemu-io -f qcow2 "$tmp/a.qcow2" -c 'write -P 1 0 1M' > "$tmp/io.log"
backup_args=(-c image: web01 --image "vda=$tmp/a.qcow2,format=qcow2")

# refused STATUS REGEX ARGUMENT...
refused ()
{
  local status=$1 words=$2
  shift 2
  expect_status "$status" varve "$@"
  assert_contains "$tmp/said.log" "^varve: .*$words"
}

# Each line that was printed is an object of version 1; the condition of Python is true of the list `lines` of them.
assert_json ()
{
  python3 - "$1" "$2" << 'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert lines and all(line["version"] == 1 for line in lines), lines
assert eval("(" + sys.argv[2] + ")"), lines
END
}

# ---- wrongly ---------------------------------------------------------------------------------------
refused 2 'no verb' bakcup web01
refused 2 '--to' backup "${backup_args[@]}"
refused 2 'images:' backup "${backup_args[@]}" --to "$tmp/store"
refused 2 'format' backup -c image: web01 --image "vda=$tmp/a.qcow2" --to "images:$store"
refused 2 '--from' list
refused 1 'store' list --from "images:$tmp/nowhere"
refused 2 'Say where to' restore --from "images:$store" web01@latest
refused 2 'exclude each other' restore --from "images:$store" web01@latest --to "$tmp/x" --force --over
refused 2 'exclude each other' revert --from "images:$store" web01 --yes --dry-run
refused 2 'a store by --from' revert web01
refused 2 '--to' restore --from "images:$store" web01@latest --disk "vda=$tmp/x" --format qcow2
refused 2 '--bogus' verify --bogus
assert_equal "$(find "$tmp" -name '*store*')" '' "stores made by commands that were refused"

# ---- rightly ---------------------------------------------------------------------------------------
varve --help > "$tmp/help.log"
for verb in run validate backup list show verify delete restore revert recover; do
  assert_contains "$tmp/help.log" "^  $verb "
  varve "$verb" --help > "$tmp/verb.log"
  assert_contains "$tmp/verb.log" "varve $verb"
done

varve backup "${backup_args[@]}" --to "images:$store" --json > "$tmp/json"
assert_json "$tmp/json" 'lines[0]["event"] == "run-started" and lines[-1]["event"] == "run-done"'
varve backup "${backup_args[@]}" --to "images:$store" --print-xml > "$tmp/job.xml"
varve validate "$tmp/job.xml"
varve run "$tmp/job.xml" > "$tmp/run.log"
varve list --from "images:$store" --json > "$tmp/json"
assert_json "$tmp/json" '[l["event"] for l in lines] == ["backup"] * 2 and lines[0]["disks"][0]["decision"] == "full"
  and lines[1]["disks"] == [lines[1]["disks"][0] | {"disk": "vda", "decision": "incremental", "base": lines[0]["backup"]}]'
varve show --from "images:$store" web01@latest --json > "$tmp/again"
assert_json "$tmp/again" 'len(lines) == 1 and lines[0] == json.loads(open("'"$tmp"'/json").readlines()[1])'
refused 1 'no backup' show --from "images:$store" web02@latest
refused 2 'time' show --from "images:$store" web01@noon
refused 1 'vdz' restore --from "images:$store" web01@latest --disk "vdz=$tmp/x"

# ---- what cannot be read is told, and hides nothing else -------------------------------------------
manifest=$(ls "$store"/*/*/manifest.xml | head -n 1)
chmod u+w "$manifest"
echo '<backup' > "$manifest"
refused 7 'cannot be read' list --from "images:$store"
status=0
varve list --from "images:$store" --json > "$tmp/json" 2> "$tmp/said.log" || status=$?
assert_equal "$status" 7 "status of list"
assert_json "$tmp/json" '[l["event"] for l in lines] == ["backup", "problem", "error"] and lines[2]["exit"] == 7'

# ---- a libvirt that is not there is told of once -----------------------------------------------------
status=0
varve backup -c "qemu+unix:///system?socket=$tmp/nowhere" web01 --to "images:$store" > "$tmp/said.log" 2>&1 || status=$?
assert_contains "$tmp/said.log" '^varve: .*libvirt'
assert_equal "$(grep -vc '^Backing up' "$tmp/said.log")" 1 "lines about it"
# Or this varve was built without libvirt.
if ! grep -q 'built without it' "$tmp/said.log"; then
  assert_equal "$status" 5 "status of a libvirt that cannot be reached"
fi

# ---- without rights --------------------------------------------------------------------------------
touch "$tmp/file"
refused 6 'something else of that name' backup "${backup_args[@]}" --to "images:$tmp/file"
chmod 0755 "$tmp"
# Another user's, where the build is not hidden from him.
as_nobody ()
{
  setpriv --reuid=65534 --clear-groups "${varve_command[@]}" "$@"
}
if [ "$(id -u)" -eq 0 ] && as_nobody --version > "$tmp/version.log" 2>&1; then
  expect_status 6 as_nobody list --from "images:$store"
  assert_contains "$tmp/said.log" "^varve: The store '$store' cannot be opened: Permission denied"
  expect_status 1 as_nobody export list
  assert_contains "$tmp/said.log" 'Run varve as the user'
fi
