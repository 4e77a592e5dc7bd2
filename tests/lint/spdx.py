#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""Every source says in its first lines under which licence it stands, and C also whose it is."""

import lint

paths = [p for p in lint.all_files()
         if p.endswith(('.c', '.h', '.py', '.sh', '.rng', '.pod', '/meson.build'))
         or p in ('meson.build', 'meson_options.txt')]
problems = []

for path in paths:
    head = lint.read(path).splitlines()[:5]
    if not any('SPDX-License-Identifier: LGPL-2.1-or-later' in line for line in head):
        problems.append(f'{path}: no "SPDX-License-Identifier: LGPL-2.1-or-later" in the first lines')
    if path.endswith(('.c', '.h')) and not any('Copyright the varve authors' in l for l in head):
        problems.append(f'{path}: no "Copyright the varve authors" in the first lines')

lint.finish(problems, len(paths))
