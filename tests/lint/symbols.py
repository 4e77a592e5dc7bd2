#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""What libvarve exports is what lib/varve.map names, and each of it is documented with "Since:".

Arguments: ROOT, then the built libvarve.so."""

import re
import subprocess
import sys

import lint

problems = []


def exports(library):
    run = subprocess.run(['nm', '-D', '--defined-only', library], capture_output=True, check=True)
    found = set()
    for line in run.stdout.decode().splitlines():
        kind, name = line.split()[-2:]
        if kind != 'A':  # the name of the version node itself
            found.add(name.split('@')[0])
    return found


def mapped():
    names = []
    text = re.sub(r'/\*.*?\*/|#[^\n]*', '', lint.read('lib/varve.map'), flags=re.S)
    for section in re.findall(r'global:(.*?)(?:local:|\})', text, re.S):
        names += re.findall(r'([^\s;]+)\s*;', section)
    return names


def documented():
    """Names of functions and types that have a comment of their own with Since: in it."""
    found = set()
    for path in lint.files('.h', under='lib/'):
        if not re.match(r'lib/(\w+/)?varve[\w-]*\.h$', path):
            continue
        for comment in re.findall(r'/\*\*(.*?)\*/', lint.read(path), re.S):
            name = re.match(r'[\s*]*(\w+)', comment)
            if name and re.search(r'\bSince: \d', comment):
                found.add(name.group(1))
    return found


def type_of(function):
    """VarveJob of varve_job_get_type: GObject Introspection documents the type, not this function."""
    return ''.join(part.capitalize() for part in function[:-len('_get_type')].split('_'))


names = mapped()
exported = exports(sys.argv[2])
documents = documented()
for name in sorted(set(names) - exported):
    problems.append(f'lib/varve.map names {name}, which the library does not export')
for name in sorted(exported - set(names)):
    problems.append(f'the library exports {name}, which lib/varve.map does not name')
for name in sorted(n for n in set(names) if names.count(n) > 1):
    problems.append(f'lib/varve.map names {name} twice')
for name in names:
    subject = type_of(name) if name.endswith('_get_type') else name
    if subject not in documents:
        problems.append(f'{subject} has no comment with "Since:" in a public header')

lint.finish(problems, len(names))
