#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Medians and ratios of what measure.py wrote, and the limits that varve sets itself.

usage: report.py RESULTS PART...

The parts are those of bench.sh. Status 1 where a limit of theirs is missed or was not measured.
"""
import json
import statistics
import sys

# section, varve's tool, other tool, what is compared, limit. "at most": varve / other; "at least": other / varve.
COPY_RATIOS = [
    ("full to raw", "varve (engine)", "qemu-img convert", "at most", 1.25),
    ("full to qcow2", "varve (engine)", "qemu-img convert", "at most", 1.5),
]
BACKUP_RATIOS = [
    ("full backup", "varve", "virtnbdbackup", "at least", 2.0),
    ("incremental", "varve", "virtnbdbackup", "at least", 3.0),
    ("restore to raw", "varve", "qemu-img convert", "at most", 1.25),
]
REVERT_RATIOS = [
    ("put back", "varve revert (last)", "varve restore", "at most", 0.15),
    ("put back", "varve revert (third last)", "varve restore", "at most", 0.15),
]
SERVE_RATIOS = [
    ("served, random 4 KiB", "varve", "qemu-nbd", "at least", 0.8),
    ("served, in sequence", "varve", "qemu-nbd", "at least", 0.8),
]
PUSH_RATIOS = [("full push", "varve", "virsh backup-begin", "at most", 1.2)]
PUSH_MORE = ("incremental push", "varve", "virsh backup-begin", 0.3)
PSS_LIMIT_MIB = 128
PSS_GROWTH_MIB = 16


def load(path):
    table = {}
    with open(path, encoding="utf-8") as results:
        for line in results:
            row = json.loads(line)
            table.setdefault(row["section"], {}).setdefault(row["tool"], []).append(row)
    return table


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def print_sections(table):
    for section, tools in table.items():
        reference = median(next(iter(tools.values())), "wall")
        print(f"\n{section}")
        print(f"  {'':29} {'seconds':>8} {'min':>7} {'max':>7} {'ratio':>6} {'CPU s':>7} {'PSS MiB':>8}  runs")
        for tool, rows in tools.items():
            wall = median(rows, "wall")
            lowest = min(row["wall"] for row in rows)
            highest = max(row["wall"] for row in rows)
            peak = max(row["pss_kib"] for row in rows) / 1024
            print(
                f"  {tool:29} {wall:8.2f} {lowest:7.2f} {highest:7.2f} {wall / reference:6.2f}"
                f" {median(rows, 'cpu'):7.2f} {peak:8.1f}  {len(rows)}"
            )


def check(name, good, value):
    print(f"  {'met   ' if good else 'MISSED'}  {name}: {value}")
    return good


def check_ratio(table, section, ours, other, kind, limit):
    tools = table.get(section, {})
    if ours not in tools or other not in tools:
        return check(f"{section}, {kind} {limit} x {other}", False, "not measured")
    ratio = median(tools[ours], "wall") / median(tools[other], "wall")
    if kind == "at least":
        ratio = 1 / ratio
        return check(f"{section}: at least {limit} x as fast as {other}", ratio >= limit, f"{ratio:.2f}")
    return check(f"{section}: at most {limit} x the time of {other}", ratio <= limit, f"{ratio:.2f}")


def check_more(table, section, ours, other, limit):
    tools = table.get(section, {})
    name = f"{section}: at most {limit} s more than {other}"
    if ours not in tools or other not in tools:
        return check(name, False, "not measured")
    more = median(tools[ours], "wall") - median(tools[other], "wall")
    return check(name, more <= limit, f"{more:.2f} s")


def check_peak(table):
    peak = 0.0
    for tools in table.values():
        for tool, rows in tools.items():
            if tool.startswith("varve"):
                peak = max(peak, max(row["pss_kib"] for row in rows) / 1024)
    return check(f"PSS of varve and its children at most {PSS_LIMIT_MIB} MiB", 0 < peak <= PSS_LIMIT_MIB, f"{peak:.1f} MiB")


def check_growth(table):
    name = f"at most {PSS_GROWTH_MIB} MiB more for 1 TiB than for 6 GiB"
    small, large = (table.get(f"sparse {size} to qcow2", {}).get("varve (engine)") for size in ("6G", "1T"))
    if not small or not large:
        return check(name, False, "not measured")
    growth = (median(large, "pss_kib") - median(small, "pss_kib")) / 1024
    return check(name, growth <= PSS_GROWTH_MIB, f"{growth:.1f} MiB")


def main():
    table = load(sys.argv[1])
    parts = sys.argv[2:]
    results = []
    print_sections(table)
    if parts == ["latency"]:
        return
    print("\nlimits (on medians)")
    if "copies" in parts:
        results += [check_ratio(table, *row) for row in COPY_RATIOS] + [check_growth(table)]
    if "reverts" in parts:
        results += [check_ratio(table, *row) for row in REVERT_RATIOS]
    if "serves" in parts:
        results += [check_ratio(table, *row) for row in SERVE_RATIOS]
    if "backups" in parts:
        results += [check_ratio(table, *row) for row in BACKUP_RATIOS]
    if "pushes" in parts:
        results += [check_ratio(table, *row) for row in PUSH_RATIOS] + [check_more(table, *PUSH_MORE)]
    results.append(check_peak(table))
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
