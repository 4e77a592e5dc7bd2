#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Runs a command and appends what it cost to a file of JSON lines.

usage: measure.py RESULTS SECTION TOOL COMMAND...

wall: seconds until the command ends. cpu: user and system seconds of it and all its descendants, also of those
that left it. pss_kib: the largest sum of their proportional set sizes, sampled every 50 ms: memory that
they share counts once. The command's status is ours.
"""
import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
INTERVAL = 0.05


def children():
    """Process ids by parent."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            table.setdefault(parent, []).append(int(entry))
    return table


def descendants(pid):
    table = children()
    found = []
    todo = list(table.get(pid, []))
    while todo:
        child = todo.pop()
        found.append(child)
        todo.extend(table.get(child, []))
    return found


def pss_kib(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as smaps:
            for line in smaps:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass  # it has just ended
    return 0


class Sampler(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(INTERVAL):
            self.peak = max(self.peak, sum(map(pss_kib, descendants(os.getpid()))))


def reap_the_rest(seconds=10):
    """Descendants that outlived the command are ours now; their CPU time counts when they end."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    results, section, tool, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler = Sampler()
    sampler.start()
    start = time.monotonic()
    status = subprocess.call(command)
    wall = time.monotonic() - start
    sampler.done.set()
    sampler.join()
    reap_the_rest()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status == 0:
        with open(results, "a", encoding="utf-8") as out:
            row = {
                "section": section,
                "tool": tool,
                "wall": wall,
                "cpu": usage.ru_utime + usage.ru_stime,
                "pss_kib": sampler.peak,
            }
            out.write(json.dumps(row) + "\n")
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
