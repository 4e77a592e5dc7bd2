#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Keeps raw copies of a domain's disks up to date, with tools that know nothing of varve: all of a disk the first time,
# later what has changed.
#
# usage: export-incremental.sh DIRECTORY DOMAIN [OPTION OF varve export begin]...
#
# DIRECTORY/DISK.raw are the copies, DIRECTORY/checkpoint says of which instant. Needs jq, nbdcopy, nbdinfo and nbdkit.
set -euo pipefail
directory=$1
domain=$2
shift 2

since=()
if [ -s "$directory/checkpoint" ]; then
  since=(--since "$(cat "$directory/checkpoint")")
fi
report=$directory/session.json
varve export begin "$domain" --owner example "${since[@]}" --socket "$directory/socket" "$@" > "$report"
session=$(jq -r .session "$report")
trap 'varve export end "$session" --discard-checkpoint' EXIT

# copy_changes URI CONTEXT RAW: nbdkit cuts each range out, as nbdcopy copies all of what it is given.
copy_changes ()
{
  local offset length type
  nbdinfo --map="$2" "$1" | while read -r offset length type _; do
    if [ "$type" -eq 1 ]; then
      nbdkit -U - --filter=offset nbd "uri=$1" "offset=$offset" "range=$length" --run 'nbdcopy "$uri" - | cat' |
        dd "of=$3" "seek=$offset" oflag=seek_bytes conv=notrunc bs=1M status=none
      echo "$length bytes from $offset"
    fi
  done
}

jq -r '.disks[] | [.name, .decision, .uri, .dirty_context] | @tsv' "$report" |
  while IFS=$'\t' read -r name decision uri context; do
    echo "$name: $decision"
    if [ "$decision" = incremental ]; then
      copy_changes "$uri" "$context" "$directory/$name.raw"
    else
      nbdcopy "$uri" "$directory/$name.raw"
    fi
  done

# Only now is it known that all that was read is of one instant.
trap - EXIT
varve export end "$session" --keep-checkpoint
jq -r .checkpoint "$report" > "$directory/checkpoint"
