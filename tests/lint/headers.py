#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""Each header compiles alone; each public one also as C++, and without config.h, as others use it.

One that a source file of the library has as its first, behind config.h, is shown to by the build.

Arguments: ROOT, then the build directory with config.h. CC and CXX come from the environment."""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import api
import lint

BUILD = sys.argv[2]
CC = shlex.split(os.environ.get('CC', 'cc'))
CXX = shlex.split(os.environ.get('CXX', 'g++'))
PACKAGES = ['glib-2.0', 'gio-unix-2.0', 'json-glib-1.0', 'libxml-2.0', 'libnbd', 'libvirt']


def cflags(package):
    run = subprocess.run(['pkg-config', '--cflags', package], capture_output=True, check=False)
    return shlex.split(run.stdout.decode())


def compile_header(compiler, language, path, config):
    flags = ['-I' + os.path.join(lint.ROOT, d)
             for d in ('lib', 'lib/util', 'lib/job', 'lib/store', 'lib/run')]
    source = f'#include "{os.path.join(lint.ROOT, path)}"\n'
    if config:
        flags.append('-I' + BUILD)
        source = '#include "config.h"\n' + source
    command = compiler + ['-x', language, '-fsyntax-only', '-Wall', '-Werror', *flags, *packages, '-']
    run = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if run.returncode == 0:
        return None
    return f'{path}: as {language}{"" if config else " without config.h"}:\n{run.stderr.decode()}'


def first_headers():
    """The first header that each source file of the library has behind config.h."""
    for path in lint.files('.c', under='lib/'):
        included = re.findall(r'^#include [<"]([^>"]+)[>"]', lint.read(path), re.MULTILINE)
        if included[:1] == ['config.h']:
            yield from (os.path.join('lib', name) for name in included[1:2])


packages = sorted({flag for package in PACKAGES for flag in cflags(package)})
headers = lint.files('.h', under='lib/')
public = [h for h in headers if api.is_public(h)]
jobs = [(CC, 'c', h, True) for h in sorted(set(headers) - set(first_headers()))]
jobs += [(CC, 'c', h, False) for h in public] + [(CXX, 'c++', h, False) for h in public]

with ThreadPoolExecutor(2) as pool:
    problems = [p for p in pool.map(lambda job: compile_header(*job), jobs) if p]
lint.finish(problems, len(public))
