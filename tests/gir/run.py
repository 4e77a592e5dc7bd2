# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Runs each test_*.py of this directory, and wants each function of the GIR to have been called by them: a function
that Python cannot call is found here, and so is one that nobody tried.

usage: run.py Varve-0.1.gir...   (in the environment: GI_TYPELIB_PATH and LD_LIBRARY_PATH of the build, VARVE, VARVE_SRCDIR)

77: skipped, as python3-gi or QEMU's tools are not installed."""

import os
import shutil
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
# What is started from here is not what is tested.
os.environ.pop('LD_PRELOAD', None)


def skip(reason):
    print('skipped:', reason)
    sys.exit(77)


try:
    import gi
except ImportError:
    skip(f'{sys.executable} has no module gi')
for tool in ('qemu-img', 'qemu-io', 'qemu-storage-daemon', 'qemu-system-x86_64'):
    if shutil.which(tool) is None:
        skip(f'{tool} is not installed')
gi.require_version('Varve', '0.1')

import calls  # noqa: E402: only now is it known that gi is there


def main():
    gir = next(path for path in sys.argv[1:] if path.endswith('.gir'))
    recorder = calls.Recorder(gir)
    tests = unittest.defaultTestLoader.discover(HERE)
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    missing = recorder.not_called()
    for name in missing:
        print(f'no test called {name}')
    if not result.wasSuccessful() or result.testsRun == 0 or missing:
        sys.exit(1)
    print(f'{len(recorder.wanted)} functions were called')


main()
