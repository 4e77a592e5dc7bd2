#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Fills a directory with real files for the bench.

usage: make-files.py DIRECTORY BYTES

Copies of what /usr holds, in a fixed order, until there are BYTES; where /usr has less, once more from the start.
"""
import os
import shutil
import sys


def files_of(top):
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def main():
    target, wanted = sys.argv[1], int(sys.argv[2])
    have = turn = 0
    while have < wanted:
        before = have
        for path in files_of("/usr"):
            copy = os.path.join(target, str(turn), path.lstrip("/"))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copyfile(path, copy)
            have += os.path.getsize(copy)
            if have >= wanted:
                break
        if have == before:
            sys.exit("make-files: /usr holds no files")
        turn += 1
    print(f"{have} bytes")


if __name__ == "__main__":
    main()
