#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""The table of how long a guest's writes take, without and with a backup.

usage: latency.py RESULTS

Each line of RESULTS: strategy, "without" or "with", number of writes, and their p50, p99 and longest in us.
Medians over the rounds; of the longest the longest.
"""
import statistics
import sys


def load(path):
    table = {}
    with open(path, encoding="ascii") as results:
        for line in results:
            strategy, what, *numbers = line.split()
            table.setdefault(strategy, {}).setdefault(what, []).append([int(number) for number in numbers])
    return table


def summary(rounds):
    writes, p50, p99, longest = zip(*rounds)
    return sum(writes), statistics.median(p50) / 1000, statistics.median(p99) / 1000, max(longest) / 1000


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\nwrites of a guest (4 KiB, flushed, each to another cluster), in ms")
    print(f"  {'':22} {'writes':>8} {'p50':>8} {'p99':>8} {'longest':>8}")
    for strategy, phases in load(sys.argv[1]).items():
        for what in ("without", "with"):
            writes, p50, p99, longest = summary(phases[what])
            print(f"  {strategy + ', ' + what + ' backup':22} {writes:8} {p50:8.2f} {p99:8.2f} {longest:8.1f}")


if __name__ == "__main__":
    main()
