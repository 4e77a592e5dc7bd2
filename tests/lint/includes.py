#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""The floors of the house: which room of lib/ may include which. docs/architecture.md has the same
table with its reasons. And: config.h is the first include of every .c file."""

import os
import re

import api
import lint

ROOMS = {
    'util': '',
    'block': 'util',
    'job': 'util',
    'qemu': 'util',
    'state': 'util',
    'virt': 'util qemu',
    'store': 'util block qemu',
    'checkpoint': 'util virt',
    'fleece': 'util virt',
    'push': 'util virt',
    'session': 'util qemu virt checkpoint fleece push state',
    'plan': 'util virt checkpoint store',
    'restore': 'util block qemu virt checkpoint store session',
    'run': 'util block job qemu state virt store checkpoint fleece push session plan restore',
    'report': 'util',
    'libexec': 'util block job qemu state virt store checkpoint fleece push session plan restore run',
}

# Linked into the programs, and no part of the library.
PROGRAMS_SHARE = ['libexec/quiet.h', 'libexec/signals.h']

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
paths = lint.files('.c', '.h')
public = {os.path.basename(p): p for p in paths if api.is_public(p)}
problems = []


def room_of(path):
    parts = path.split('/')
    return parts[1] if len(parts) > 2 else None


def check_lib(path, name):
    here = room_of(path)
    if name == 'config.h':
        return None if path.endswith('.c') else 'a header includes config.h'
    if '/' not in name:
        if name not in public or os.path.basename(path) not in public:
            return f'"{name}" is to be written "room/file.h"'
        there = room_of(public[name])
    else:
        there = name.split('/')[0]
        if there not in ROOMS:
            return f'"{name}" is in no room'
    if here is None or here == there or there in ROOMS[here].split():
        return None
    return f'{here}/ may not include {there}/ ("{name}")'


def check_cli(path, name):
    if name == 'config.h' or name in public or f'cli/{name}' in paths or name in PROGRAMS_SHARE:
        return None
    return f'"{name}" is neither public nor in cli/, nor what programs share'


for path in paths:
    text = lint.without_comments(lint.read(path))
    found = [(m.group(1), m.group(2), lint.line_of(text, m.start())) for m in INCLUDE.finditer(text)]
    if path.startswith('lib/') and room_of(path) not in ROOMS and path not in public.values():
        problems.append(f'{path}: lib/{room_of(path)}/ is not a room that tests/lint/includes.py knows')
        continue
    for kind, name, line in found:
        wrong = None
        if path.startswith('lib/') and kind == '"':
            wrong = check_lib(path, name)
        elif path.startswith('cli/') and kind == '"':
            wrong = check_cli(path, name)
        elif path.startswith('cli/') and name.split('/')[0] in ROOMS:
            wrong = f'<{name}> reaches behind the public headers'
        if wrong:
            problems.append(f'{path}:{line}: {wrong}')
    if path.endswith('.c') and re.match(r'(lib|cli|tests/unit)/', path):
        if not found or found[0][:2] != ('"', 'config.h'):
            problems.append(f'{path}: the first include is not "config.h"')

lint.finish(problems, len(paths))
