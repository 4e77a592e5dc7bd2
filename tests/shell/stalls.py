#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""How long a machine stood still, by the clock of the host: that of the guest stands still with it.

usage: stalls.py watch qmp SOCKET        prints a line for each stop and resume, until the monitor closes
       stalls.py watch libvirt DOMAIN    likewise, from libvirt's events
       stalls.py longest FILE            of what a watch has printed: the longest stall in milliseconds

A machine that stands still at the end of the file is an error.
"""
import datetime
import json
import re
import socket
import subprocess
import sys

LINE = re.compile(r"^(\S+ \S+): event 'lifecycle' for domain \S+: (Suspended|Resumed)")


def tell(seconds, what):
    print(f"{seconds:.6f} {what}", flush=True)


def watch_qmp(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    stream = connection.makefile("rwb")
    stream.readline()
    stream.write(b'{"execute": "qmp_capabilities"}\n')
    stream.flush()
    tell(0, "ready")
    for line in stream:
        event = json.loads(line)
        if event.get("event") in ("STOP", "RESUME"):
            time = event["timestamp"]
            tell(time["seconds"] + time["microseconds"] / 1e6, event["event"].lower())


def watch_libvirt(domain):
    command = ["stdbuf", "-oL", "virsh", "-c", "qemu:///system", "event", "--domain", domain, "--event", "lifecycle",
               "--loop", "--timestamp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        tell(0, "ready")
        for line in process.stdout:
            match = LINE.match(line)
            if match:
                time = datetime.datetime.strptime(match.group(1), "%Y-%m-%d %H:%M:%S.%f%z")
                tell(time.timestamp(), "stop" if match.group(2) == "Suspended" else "resume")


def longest(path):
    worst = 0.0
    since = None
    with open(path, encoding="ascii") as lines:
        for line in lines:
            time, what = line.split()
            if what == "stop" and since is None:
                since = float(time)
            elif what == "resume" and since is not None:
                worst = max(worst, float(time) - since)
                since = None
    if since is not None:
        sys.exit("stalls: the machine stands still")
    print(round(worst * 1000))


def main():
    if sys.argv[1:2] == ["longest"]:
        longest(sys.argv[2])
    elif sys.argv[1:3] == ["watch", "qmp"]:
        watch_qmp(sys.argv[3])
    elif sys.argv[1:3] == ["watch", "libvirt"]:
        watch_libvirt(sys.argv[3])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
