#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Compares two directories: names, kinds, bytes, targets of links, permissions, and times of change to the second.

usage: same-tree.py [--content] ORIGINAL COPY

With --content neither permissions nor times: not all file systems have them. What is no file, directory or link is
not looked for in the copy, and must not be there. Set-user-id and the like are gone in it.
"""
import os
import stat
import sys


def describe(path, content_only):
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    more = () if content_only else (oct(info.st_mode & 0o777), int(info.st_mtime))
    if stat.S_ISLNK(kind):
        return ('link', os.readlink(path)) + more[1:]
    if stat.S_ISREG(kind):
        with open(path, 'rb') as file:
            return ('file', file.read()) + more
    return ('directory' if stat.S_ISDIR(kind) else 'special',) + more


def tree(top, content_only):
    found = {b'.': describe(top, content_only)}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = describe(path, content_only)
    return found


def main():
    arguments = [a for a in sys.argv[1:] if a != '--content']
    content_only = len(arguments) < len(sys.argv) - 1
    original, copy = (tree(os.fsencode(a), content_only) for a in arguments)
    original = {name: what for name, what in original.items() if what[0] != 'special'}
    wrong = [n for n in sorted(original.keys() | copy.keys()) if original.get(n) != copy.get(n)]
    for name in wrong:
        print(name, *(str(t.get(name))[:100] for t in (original, copy)), sep='\n  ')
    print(f'{len(original)} compared, {len(wrong)} differ')
    sys.exit(1 if wrong or len(original) < 2 else 0)


if __name__ == '__main__':
    main()
