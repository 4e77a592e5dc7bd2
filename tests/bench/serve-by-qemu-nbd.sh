#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# usage: serve-by-qemu-nbd.sh IMAGE SOCKET COMMAND...
#
# What varve's serving is measured against: qemu-nbd with the image, for as long as the command runs, which gets --uri.
set -eu
image=$1 socket=$2
shift 2
qemu-nbd --fork --pid-file="$socket.pid" -t -r -e 16 -f qcow2 -k "$socket" "$image"
status=0
"$@" --uri="nbd+unix:///?socket=$socket" || status=$?
kill "$(cat "$socket.pid")"
exit "$status"
