#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""Each option of the command is in a man page. Options are read from the GOptionEntry tables of cli/;
an entry that this cannot read is a problem, not an option less."""

import re

import lint

ENTRY = re.compile(r'\{\s*(?:"([^"]*)"|(G_OPTION_REMAINING))\s*,[^{}]*?G_OPTION_ARG_', re.S)
sources = lint.files('.c', '.h', under='cli/')
pages = {p: lint.read(p) for p in lint.files('.pod', under='docs/man/')}
problems = []
options = 0

for path in sources:
    text = lint.without_comments(lint.read(path))
    entries = ENTRY.findall(text)
    arguments = len(re.findall(r'\bG_OPTION_ARG_', text))
    if arguments != len(entries):
        problems.append(f'{path}: {arguments} times G_OPTION_ARG_, but {len(entries)} entries were '
                        'understood: write { "name", \'c\', flags, G_OPTION_ARG_X, …')
    for name in (name for name, remaining in entries if not remaining):
        options += 1
        mention = re.compile(r'(?<![\w-])--' + re.escape(name) + r'(?![\w-])')
        if not any(mention.search(page) for page in pages.values()):
            problems.append(f'{path}: --{name} is in no man page (docs/man/*.pod)')

if any(p.endswith('.c') for p in sources) and not options:
    problems.append('cli/ has sources, but no option was found in them')
# As long as there is no command, there is nothing to document.
lint.finish(problems, options, may_be_empty=not sources)
