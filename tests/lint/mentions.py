#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""The repository speaks of nothing that is not in it."""

import lint

# In two parts, so that this file does not speak of them either.
OUTSIDE = ['../' + 'shared', '/work/' + 'shared', '.' + 'library', '/work/' + 'wt']
problems = []
paths = lint.all_files()

for path in paths:
    for number, line in enumerate(lint.read(path).splitlines(), 1):
        problems += [f'{path}:{number}: speaks of {word}' for word in OUTSIDE if word in line]

lint.finish(problems, len(paths))
