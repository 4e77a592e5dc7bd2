#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# A backup product of its own: sessions by varve, data by nbdcopy and nbdinfo.
#
# usage: vendor.sh URI DOMAIN DIRECTORY
#
# A backup is a directory DIRECTORY/CHECKPOINT with a raw image of each disk, and DIRECTORY/latest is a link to the newest.
# The first backup reads everything. Each later one begins as a copy of the newest, and reads what has changed since.
# vendor.c and vendor.py do the same, and go on where this one has stopped. It needs jq, libnbd-bin and nbdkit.
set -euo pipefail
shopt -s inherit_errexit

if [ $# -ne 3 ]; then
  echo "usage: ${0##*/} URI DOMAIN DIRECTORY" >&2
  exit 2
fi
uri=$1
domain=$2
directory=$3
label=acme
part=$directory/part
run=$(mktemp -d)
session=

# However we end: what is not known to be whole does not count.
leave ()
{
  if [ -n "$session" ]; then
    varve export end "$session" --discard-checkpoint
  fi
  rm -rf "$run"
}
trap leave EXIT

# ---- the session -----------------------------------------------------------------------------------

# A session of ours that is still there was begun by a process that has died: nothing that it read counts.
end_left_over ()
{
  local left
  for left in $(varve export list --json | jq -r --arg domain "$domain" --arg owner "x-$label" \
                  'select(.owner == $owner and .domain == $domain).session'); do
    echo "ended what a killed run has left: $left"
    varve export end "$left" --discard-checkpoint
  done
}

begin_since ()
{
  varve export begin -c "$uri" "$domain" --owner "$label" --socket "$run/nbd.sock" "$@" > "$run/session.json"
}

# Where the checkpoint of the newest backup is lost (status 1), everything is read.
begin ()
{
  local since status=0
  if since=$(readlink "$directory/latest"); then
    begin_since --since "$since" || status=$?
  fi
  if [ -z "$since" ] || [ "$status" -eq 1 ]; then
    status=0
    begin_since || status=$?
  fi
  return "$status"
}

# ---- the data --------------------------------------------------------------------------------------

# copy_changes DISK-URI CONTEXT IMAGE: what is dirty in the map, through a window of nbdkit on just that. Prints how much.
copy_changes ()
{
  local offset length count=0
  nbdinfo --map="$2" --json "$1" > "$run/map.json"
  jq -r '.[] | select(.type % 2 == 1) | "\(.offset) \(.length)"' "$run/map.json" > "$run/dirty"
  while read -r offset length; do
    nbdkit -U - --filter=offset nbd "uri=$1" "offset=$offset" "range=$length" --run 'nbdcopy "$uri" -' < /dev/null |
      dd of="$3" bs=1M seek="$offset" oflag=seek_bytes conv=notrunc status=none
    count=$((count + length))
  done < "$run/dirty"
  echo "$count"
}

# back_up_disk JSON: as it is in the session.
back_up_disk ()
{
  local disk=$1 name context size image bytes
  name=$(jq -r .name <<< "$disk")
  context=$(jq -r '.dirty_context // empty' <<< "$disk")
  size=$(jq -r .size <<< "$disk")
  image=$part/$name.raw
  if [ -n "$context" ]; then
    cp --reflink=auto --sparse=always "$directory/latest/$name.raw" "$image"
    truncate -s "$size" "$image"
    bytes=$(copy_changes "$(jq -r .uri <<< "$disk")" "$context" "$image")
  else
    nbdcopy "$(jq -r .uri <<< "$disk")" "$image"
    bytes=$size
  fi
  sync "$image"
  echo "$name: $(jq -r .decision <<< "$disk"), $bytes bytes read ($(jq -r .reason <<< "$disk"))"
}

# ---- backups ---------------------------------------------------------------------------------------

# publish CHECKPOINT: the backup gets its name, and then the link. Whoever is killed before that has the older backup,
# and its checkpoint.
publish ()
{
  mv -T "$part" "$directory/$1"
  ln -sfn "$1" "$directory/latest.new"
  mv -T "$directory/latest.new" "$directory/latest"
  sync "$directory"
}

end_left_over
begin
session=$(jq -r .session "$run/session.json")
checkpoint=$(jq -r .checkpoint "$run/session.json")
rm -rf "$part"
mkdir -p "$part"
jq -c '.disks[]' "$run/session.json" > "$run/disks"
while read -r line; do
  back_up_disk "$line"
done < "$run/disks"
sync "$part"

# What was read counts when this has succeeded, and not before.
ended=$session
session=
varve export end "$ended" --keep-checkpoint
publish "$checkpoint"
echo "backed up: $checkpoint"
