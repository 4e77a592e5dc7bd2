#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Sums up several runs of `meson test`.

usage: summary.py [--ci] LABEL=TESTLOG.json...

Names each test that failed or was skipped; the last line is "N passed, N failed". A run without a log, or with
no test in it, is a failure, and with --ci so is a skipped test.
"""
import json
import os
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def read_log(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.strip()]


def main():
    args = sys.argv[1:]
    ci = "--ci" in args
    passed = failed = 0
    for arg in [a for a in args if a != "--ci"]:
        label, path = arg.split("=", 1)
        tests = read_log(path)
        if not tests:
            print(f"failed: {label}: no test was run")
            failed += 1
        for test in tests:
            result = test["result"]
            if result in PASSED:
                passed += 1
            elif result in SKIPPED and not ci:
                print(f"skipped: {label}: {test['name']}")
            else:
                word = "skipped, and so failed" if result in SKIPPED else f"failed ({result})"
                print(f"{word}: {label}: {test['name']}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
