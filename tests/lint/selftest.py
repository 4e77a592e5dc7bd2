#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""The lint tests can fail: each is shown small trees that are in order, and ones that are not.

Arguments: ROOT, then the build directory with config.h."""

import os
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = sys.argv[2]
HEAD = '/* SPDX-License-Identifier: LGPL-2.1-or-later */\n/* Copyright the varve authors */\n'
C = HEAD + '#include "config.h"\n'
TABLE = 'text | `x` |\n\n| name | where | what |\n| --- | --- | --- |\n'
DOCUMENTED = HEAD + '/**\n * varve_a: does it.\n *\n * Since: 0.1\n */\nVARVE_API int *varve_a (int x);\n'
# A function and an enumeration in C, and what the scanner makes of them.
API = (HEAD + '/**\n * VarveX:\n * @VARVE_X_A: one\n *\n * A.\n *\n * Since: 0.1\n */\ntypedef enum {\n'
       '  VARVE_X_A,\n} VarveX;\nVARVE_API int *varve_a (int x);\n')
GIR = '''<repository xmlns="http://www.gtk.org/introspection/core/1.0" xmlns:c="http://www.gtk.org/introspection/c/1.0"
xmlns:glib="http://www.gtk.org/introspection/glib/1.0"><namespace name="Varve">
<function name="a" c:identifier="varve_a" version="0.1"><doc>Does it.</doc>
<return-value><doc>a number</doc><type name="gint"/></return-value>
<parameters><parameter name="x"><doc>another</doc><type name="gint"/></parameter></parameters></function>
<enumeration name="X" c:type="VarveX" version="0.1"><doc>A.</doc>
<member name="a" c:identifier="VARVE_X_A"><doc>one</doc></member></enumeration></namespace></repository>'''
MAP = 'X { global: varve_a; local: *; };'
OPTION = C + 'static const GOptionEntry e[] = { { "to", 0, 0, G_OPTION_ARG_STRING, &x, "X", "Y" } };\n'

# Script, the files of the tree, and what it must say; nothing to say: the tree is in order.
CASES = [
    ('includes', {'lib/util/a.c': C + '#include "util/a.h"\n', 'lib/util/a.h': HEAD}, ''),
    ('includes', {'lib/util/a.c': C + '#include "block/a.h"\n'}, 'util/ may not include block/'),
    ('includes', {'lib/state/a.c': C + '#include "virt/a.h"\n'}, 'state/ may not include virt/'),
    ('includes', {'lib/plan/a.c': C + '#include "block/a.h"\n'}, 'plan/ may not include block/'),
    ('includes', {'lib/util/a.c': C + '#include "a.h"\n'}, '"room/file.h"'),
    ('includes', {'lib/util/a.c': HEAD + '#include <stdio.h>\n#include "config.h"\n'}, 'first'),
    ('includes', {'lib/cellar/a.c': C}, 'not a room'),
    ('includes', {'lib/util/varve-a.h': HEAD + '#include "varve-b.h"\n', 'lib/run/varve-b.h': HEAD},
     'util/ may not include run/'),
    ('includes', {'cli/a.c': C + '#include "cli.h"\n#include <varve.h>\n', 'cli/cli.h': HEAD}, ''),
    ('includes', {'cli/a.c': C + '#include "util/error.h"\n'}, 'neither public nor in cli/'),
    ('includes', {'cli/a.c': C + '#include <util/error.h>\n'}, 'reaches behind'),
    ('includes', {}, 'nothing to look at'),
    ('size', {'a.c': C + 'int\nf (void)\n{\n' + '  g ();\n' * 100 + '}\n'}, ''),
    ('size', {'a.c': C + 'int\nf (void)\n{\n' + '  g ();\n' * 101 + '}\n'}, 'function of 101 lines'),
    ('size', {'a.c': '\n' * 801}, '801 lines'),
    ('spdx', {'a.c': C, 'meson.build': '# SPDX-License-Identifier: LGPL-2.1-or-later\n'}, ''),
    ('spdx', {'a.c': 'int x;\n'}, 'SPDX'),
    ('spdx', {'meson.build': "project('x')\n"}, 'SPDX'),
    ('banned', {'lib/a.c': C + 'x = g_strdup ("atoi (y)"); /* free (x) */ o->free (x); g_free (x);\n'},
     ''),
    ('banned', {'lib/a.c': C + 'x = atoi (y);\n'}, 'atoi()'),
    ('banned', {'lib/a.c': C + 'exit (1);\n'}, 'exit()'),
    ('banned', {'lib/a.c': C + 'fprintf(stderr, "x");\n'}, 'fprintf()'),
    ('banned', {'cli/a.c': C + 'exit (1); g_print ("x");\n'}, ''),
    ('banned', {'cli/a.c': C + 'system ("x");\n'}, 'system()'),
    ('headers', {'lib/util/varve-a.h': HEAD + '#include <glib.h>\nint a (GError *e);\n'}, ''),
    ('headers', {'lib/util/varve-a.h': HEAD, 'lib/util/a.h': HEAD + 'int a (GError *e);\n'}, 'lib/util/a.h'),
    ('headers', {'lib/util/varve-a.h': HEAD, 'lib/util/a.h': HEAD + 'int a (GError *e);\n',
                 'lib/util/a.c': C + '#include <glib.h>\n#include "util/a.h"\n'}, 'lib/util/a.h'),
    ('headers', {'lib/util/varve-a.h': HEAD, 'lib/util/a.h': HEAD + 'int a (GError *e);\n',
                 'lib/util/a.c': C + '#include "util/a.h"\n'}, ''),
    ('headers', {'lib/util/varve-a.h': HEAD + 'int a (int class);\n'}, 'as c++'),
    ('headers', {'lib/util/varve-a.h': HEAD + '#ifndef _GNU_SOURCE\n#error\n#endif\n'}, 'without config.h'),
    ('symbols', {'lib/varve.map': 'X { global: varve_a; local: *; };', 'lib/varve-a.h': DOCUMENTED}, ''),
    ('symbols', {'lib/varve.map': 'X { global: varve_a; varve_b; local: *; };',
                 'lib/varve-a.h': DOCUMENTED}, 'names varve_b'),
    ('symbols', {'lib/varve.map': 'X { global: varve_b; local: *; };', 'lib/varve-a.h': DOCUMENTED},
     'exports varve_a'),
    ('symbols', {'lib/varve.map': 'X { global: varve_a; local: *; };',
                 'lib/varve-a.h': DOCUMENTED.replace('Since', 'From')}, 'no comment with "Since:"'),
    ('symbols', {'lib/varve.map': 'X { global: varve_a; local: *; };', 'lib/varve-a.h': DOCUMENTED,
                 'lib/run/varve-b.h': 'VARVE_API\nG_DECLARE_FINAL_TYPE (VarveB, varve_b, VARVE, B, X)\n'},
     'declares varve_b_get_type'),
    ('gir', {'x.gir': GIR, 'lib/varve.map': MAP, 'lib/varve-a.h': API}, ''),
    ('gir', {'x.gir': GIR, 'lib/varve.map': 'X { global: varve_a; varve_b; local: *; };', 'lib/varve-a.h': API},
     'function varve_b is not in the GIR'),
    ('gir', {'x.gir': GIR, 'lib/varve.map': 'X { global: local: *; };', 'lib/varve-a.h': API},
     'function varve_a is in the GIR and not in C'),
    ('gir', {'x.gir': GIR, 'lib/varve.map': MAP, 'lib/varve-a.h': API.replace('_A,', '_A,\n  VARVE_X_B,')},
     'value VARVE_X_B is not in the GIR'),
    ('gir', {'x.gir': GIR, 'lib/varve.map': MAP, 'lib/varve-a.h': API, 'lib/run/varve-b.h':
             'G_DECLARE_FINAL_TYPE (VarveB, varve_b, VARVE, B, GObject)\n'}, 'type VarveB is not in the GIR'),
    ('gir', {'x.gir': GIR.replace('a" version="0.1"', 'a"'), 'lib/varve.map': MAP, 'lib/varve-a.h': API},
     'varve_a: "Since:" is missing'),
    ('gir', {'x.gir': GIR.replace('<doc>another</doc>', ''), 'lib/varve.map': MAP, 'lib/varve-a.h': API},
     'varve_a: parameter x is not documented'),
    ('gir', {'x.gir': GIR.replace('<doc>a number</doc>', ''), 'lib/varve.map': MAP, 'lib/varve-a.h': API},
     'varve_a: "Returns:" is missing'),
    ('gir', {'x.gir': GIR.replace('<doc>one</doc>', ''), 'lib/varve.map': MAP, 'lib/varve-a.h': API},
     'VarveX: a is not documented'),
    ('gir', {'x.gir': GIR.replace('"a" c:', '"a" introspectable="0" c:'), 'lib/varve.map': MAP,
             'lib/varve-a.h': API}, 'varve_a: other languages cannot use it'),
    ('guide', {'docs/vendor-guide.md': '```c\n  f ();\n```\n', 'docs/examples/a.c': C + 'x\n  f ();\n  g ();\n'}, ''),
    ('guide', {'docs/vendor-guide.md': '```c\n  f ();\n```\n', 'docs/examples/a.c': C + '  g ();\n'},
     'docs/vendor-guide.md:1: no file'),
    ('guide', {'docs/vendor-guide.md': '```c\n  f ();\n```\n', 'docs/examples/a.py': '\n  f ();\n'},
     'docs/vendor-guide.md:1: no file'),
    ('guide', {'docs/vendor-guide.md': 'text\n```perl\nx;\n```\n'}, 'docs/vendor-guide.md:2: a block of perl'),
    ('guide', {'docs/vendor-guide.md': 'text\n'}, 'nothing to look at'),
    ('failpoints', {'lib/a.c': C + 'varve_failpoint ("a-b", error);\n',
                    'docs/failure-points.md': TABLE + '| `a-b` | here | nothing |\n'}, ''),
    ('failpoints', {'lib/a.c': C + 'varve_failpoint ("a-b", error);\n',
                    'docs/failure-points.md': TABLE}, 'is not in docs'),
    ('failpoints', {'lib/a.c': C + 'varve_failpoint ("a", error);\n', 'docs/failure-points.md':
                    TABLE + '| `a` | x | y |\n| `b` | x | y |\n'}, '`b` is not in lib/'),
    ('failpoints', {'lib/a.c': C + 'varve_failpoint (name, error);\n',
                    'docs/failure-points.md': TABLE}, 'literal'),
    ('failpoints', {'lib/a.c': C + 'varve_failpoint ("a", e);\nvarve_failpoint ("a", e);\n',
                    'docs/failure-points.md': TABLE + '| `a` | x | y |\n'}, 'several places'),
    ('options', {'lib/a.c': C}, ''),
    ('options', {'cli/a.c': OPTION, 'docs/man/a.pod': '=item B<--to> STORE\n'}, ''),
    ('options', {'cli/a.c': OPTION, 'docs/man/a.pod': '=item B<--together>\n'}, '--to is in no man page'),
    ('options', {'cli/a.c': OPTION}, '--to is in no man page'),
    ('options', {'cli/a.c': C}, 'no option was found'),
    ('options', {'cli/a.c': OPTION + 'int x = G_OPTION_ARG_NONE;\n', 'docs/man/a.pod': '--to'},
     'understood'),
    ('mentions', {'README.md': 'see docs/\n'}, ''),
    ('mentions', {'README.md': 'see ../' + 'shared/x\n'}, 'README.md:1: speaks of'),
    ('clang-format', {'lib/a.c': C, '.clang-format': 'BasedOnStyle: LLVM\n'}, ''),
    ('clang-format', {'lib/a.c': C + 'int  x;\n', '.clang-format': 'BasedOnStyle: LLVM\n'}, 'error'),
]


def make_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as f:
            f.write(text)


def make_library(root):
    """A library of one function, varve_a; named so that no lint takes its source for ours."""
    path = os.path.join(root, 'one.so')
    subprocess.run(shlex.split(os.environ.get('CC', 'cc')) + ['-shared', '-x', 'c', '-', '-o', path],
                   input=b'int varve_a (void); int varve_a (void) { return 1; }', check=True)
    return path


def run_case(script, files, says):
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as aside:
        make_tree(root, files)
        name = os.path.join(HERE, script + ('.sh' if script == 'clang-format' else '.py'))
        command = ['sh' if name.endswith('.sh') else sys.executable, name, root]
        if script == 'headers':
            command.append(BUILD)
        if script == 'gir':
            command.append(os.path.join(root, 'x.gir'))
        if script == 'symbols':
            command.append(make_library(aside))
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        output = run.stdout.decode()
        if run.returncode == 77:
            return None
        if (run.returncode != 0) == bool(says) and says in output:
            return None
        return f'{script}: exit {run.returncode}, should say "{says}"; files: {list(files)}\n{output}'


problems = [p for p in (run_case(*case) for case in CASES) if p]
print('\n'.join(problems))
print(f'{len(CASES)} cases, {len(problems)} problems')
sys.exit(1 if problems else 0)
