#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""The failure points in lib/ are those in docs/failure-points.md: each once in the table, and each
in the code at one place only, since a test names the place by it."""

import collections
import re

import lint

CALL = re.compile(r'varve_failpoint\s*\(\s*(?:"([^"]*)")?')
code = collections.defaultdict(list)
problems = []

for path in lint.files('.c', under='lib/'):
    if path == 'lib/util/failpoint.c':
        continue
    text = lint.without_comments(lint.read(path))
    for match in CALL.finditer(text):
        place = f'{path}:{lint.line_of(text, match.start())}'
        if not match.group(1) or not re.fullmatch(r'[a-z][a-z0-9-]*', match.group(1)):
            problems.append(f'{place}: the name must be a literal of letters, digits and "-"')
        else:
            code[match.group(1)].append(place)

# The last table of the page; its first column is the name.
page = lint.read('docs/failure-points.md').partition('| name |')[2]
rows = re.findall(r'^\|\s*`([^`]+)`\s*\|(.*)\|\s*$', page, re.M)
table = collections.Counter(name for name, _ in rows)

for name, places in code.items():
    if name not in table:
        problems.append(f'{places[0]}: "{name}" is not in docs/failure-points.md')
    if len(places) > 1:
        problems.append(f'"{name}" stands at several places: {", ".join(places)}')
for name, rest in rows:
    if name not in code:
        problems.append(f'docs/failure-points.md: `{name}` is not in lib/')
    if len([cell for cell in rest.split('|') if cell.strip()]) != 2:
        problems.append(f'docs/failure-points.md: the row of `{name}` lacks a cell')
    if table[name] > 1:
        problems.append(f'docs/failure-points.md: `{name}` is there twice')

lint.finish(problems, len(code))
