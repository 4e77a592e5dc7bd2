#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""What libvarve exports, what lib/varve.map names and what public headers declare as VARVE_API is the
same, and each of it is documented with "Since:".

Arguments: ROOT, then the built libvarve.so."""

import re
import subprocess
import sys

import api
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


def declared():
    """Functions behind VARVE_API; of a G_DECLARE_FINAL_TYPE (Name, name, …) it is name_get_type."""
    found = set()
    for text in map(lint.without_comments, api.public_headers()):
        for word, rest in re.findall(r'^VARVE_API\b.*?(\w+) \(([^;]*?)\)', text, re.M | re.S):
            macro = word.startswith('G_DECLARE_')
            found.add(rest.split(',')[1].strip() + '_get_type' if macro else word)
    return found


def documented():
    """Names of functions and types that have a comment of their own with Since: in it."""
    found = set()
    for text in api.public_headers():
        for comment in re.findall(r'/\*\*(.*?)\*/', text, re.S):
            name = re.match(r'[\s*]*(\w+)', comment)
            if name and re.search(r'\bSince:[\s*]+\d', comment):
                found.add(name.group(1))
    return found


def type_of(function):
    """VarveJob of varve_job_get_type: GObject Introspection documents the type, not this function."""
    return ''.join(part.capitalize() for part in function[:-len('_get_type')].split('_'))


names = api.mapped()
exported = exports(sys.argv[2])
documents = documented()
for name in sorted(set(names) - exported):
    problems.append(f'lib/varve.map names {name}, which the library does not export')
for name in sorted(exported - set(names)):
    problems.append(f'the library exports {name}, which lib/varve.map does not name')
for name in sorted(declared() - set(names)):
    problems.append(f'a public header declares {name}, which lib/varve.map does not name')
for name in sorted(n for n in set(names) if names.count(n) > 1):
    problems.append(f'lib/varve.map names {name} twice')
for name in names:
    subject = type_of(name) if name.endswith('_get_type') else name
    if subject not in documents:
        problems.append(f'{subject} has no comment with "Since:" in a public header')

lint.finish(problems, len(names))
