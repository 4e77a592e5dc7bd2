#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""Code in docs/vendor-guide.md is code that is run: each block that is marked as C, Python or shell stands, line by
line, in a file of docs/examples with that ending."""

import re

import lint

GUIDE = 'docs/vendor-guide.md'
ENDINGS = {'c': '.c', 'python': '.py', 'sh': '.sh'}

problems = []
text = lint.read(GUIDE)
blocks = list(re.finditer(r'^```(\w+)\n(.*?)^```$', text, re.M | re.S))

for block in blocks:
    language, code = block.groups()
    where = f'{GUIDE}:{lint.line_of(text, block.start())}'
    if language not in ENDINGS:
        problems.append(f'{where}: a block of {language}: only {", ".join(ENDINGS)} can be held against an example')
        continue
    examples = [lint.read(path) for path in lint.files(ENDINGS[language], under='docs/examples/')]
    if not any('\n' + code in example for example in examples):
        problems.append(f'{where}: no file docs/examples/*{ENDINGS[language]} has these lines')

lint.finish(problems, len(blocks))
