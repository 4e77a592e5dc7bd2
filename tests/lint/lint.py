# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""What the lint tests share: which files there are, C without its comments, and how to fail.

The root of the sources is the first argument of each script. A lint that finds nothing to look at
fails, unless it says why nothing may be there."""

import os
import re
import subprocess
import sys

ROOT = os.path.abspath(sys.argv[1])


def all_files():
    """Paths relative to ROOT: what git tracks, or, in an unpacked tarball, what lies there."""
    git = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z'], capture_output=True, check=False)
    if git.returncode == 0 and git.stdout:
        names = git.stdout.decode().split('\0')
        return sorted(name for name in names if name and os.path.isfile(os.path.join(ROOT, name)))
    found = []
    for top, directories, names in os.walk(ROOT):
        directories[:] = [d for d in directories if not d.startswith(('.', 'build'))]
        found += [os.path.relpath(os.path.join(top, name), ROOT) for name in names]
    return sorted(found)


def files(*suffixes, under=''):
    return [f for f in all_files() if f.endswith(suffixes) and f.startswith(under)]


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8', errors='surrogateescape') as f:
        return f.read()


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments(text, strings=True):
    """Comments, and string literals too if told so, become blanks; lines stay where they were."""
    def blank(match):
        token = match.group()
        if token[0] != '/' and strings:
            return token
        return re.sub(r'[^\n]', ' ', token)
    return TOKEN.sub(blank, text)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def finish(problems, looked_at, may_be_empty=False):
    """Ends the test: 1 with each problem on a line, or 0."""
    if not looked_at and not may_be_empty and not problems:
        problems = ['there was nothing to look at: is the first argument the root of the sources?']
    for problem in problems:
        print(problem)
    print(f'{looked_at} looked at, {len(problems)} problems')
    sys.exit(1 if problems else 0)
