#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""A table of runs from what `varve run --json` told of them.

usage: table.py LABEL.events...            (LABEL.milliseconds beside it holds how long the run took)
       table.py --backup-id LABEL.events   prints the id of the backup that the run made
"""
import json
import pathlib
import sys

MIB = 1 << 20


def read_events(path):
    with open(path, encoding="utf-8") as events:
        return [json.loads(line) for line in events if line.strip()]


def backup_id(events):
    for event in events:
        if event.get("event") == "run-done" and event.get("backup"):
            return event["backup"]
    sys.exit("the run told of no backup")


def rows(path):
    events = read_events(path)
    took = int(pathlib.Path(path).with_suffix(".milliseconds").read_text())
    plans = {e["disk"]: e["decision"] for e in events if e.get("event") == "disk-planned"}
    done = [e for e in events if e.get("event") == "disk-done"]
    for number, event in enumerate(done):
        first = number == 0
        yield (
            backup_id(events) if first else "",
            event["disk"],
            plans.get(event["disk"], "?"),
            f"{event.get('done', 0) / MIB:.1f}",
            f"{event.get('stored', 0) / MIB:.1f}",
            f"{took / 1000:.2f}" if first else "",
        )


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--backup-id":
        print(backup_id(read_events(sys.argv[2])))
        return
    table = [("backup", "disk", "kind", "read MiB", "stored MiB", "seconds")]
    for path in sys.argv[1:]:
        table.extend(rows(path))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        cells = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
