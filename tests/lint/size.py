#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""No file above 800 lines, no function above 100."""

import lint

MAX_FILE = 800
MAX_FUNCTION = 100
problems = []
paths = lint.files('.c', '.h', '.py', '.sh')

for path in paths:
    lines = lint.read(path).splitlines()
    if len(lines) > MAX_FILE:
        problems.append(f'{path}: {len(lines)} lines, {MAX_FILE} are allowed: split it by what it does')
    if not path.endswith(('.c', '.h')):
        continue
    start = None
    for number, line in enumerate(lines, 1):
        # clang-format puts the braces of a function, and nothing else, alone into column 0.
        if line == '{':
            start = number
        elif line == '}' and start:
            if number - start - 1 > MAX_FUNCTION:
                problems.append(f'{path}:{start}: a function of {number - start - 1} lines, '
                                f'{MAX_FUNCTION} are allowed')
            start = None

lint.finish(problems, len(paths))
