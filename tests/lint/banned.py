#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""Calls that are not made, each with what is called instead."""

import re

import lint

NUMBER = 'g_ascii_string_to_unsigned or _signed, which say what they did not understand'
FORMAT = 'g_strdup_printf, g_snprintf or GString, which know how much room there is'
MEMORY = 'its g_ namesake, so that g_autofree and g_free fit everywhere'
SHELL = 'GSubprocess with an argument vector'
TEMP = 'mkostemp, g_dir_make_tmp or varve_durable_replace'
TIME = 'GDateTime, or util/clock.h'
RANDOM = 'varve_random_hex'
QUIET = 'an event or an error: the library does not print'
STAYS = 'an error: the library does not end its caller'

EVERYWHERE = {
    'atoi atol atoll atof strtol strtoll strtoul strtoull strtod': NUMBER,
    'sprintf vsprintf strcpy strncpy stpcpy strcat strncat gets': FORMAT,
    'malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf': MEMORY,
    'alloca g_alloca g_newa strdupa': 'g_malloc: sizes come from outside',
    'system popen wordexp': SHELL,
    'mktemp tmpnam tempnam tmpfile': TEMP,
    'localtime gmtime ctime asctime mktime': TIME,
    'rand srand random srandom rand_r drand48': RANDOM,
    'readdir_r': 'readdir',
    'strtok': 'g_strsplit',
    'strerror perror': 'g_strerror, varve_throw_errno',
}
LIBRARY = {
    'exit quick_exit abort': STAYS,
    'printf fprintf vprintf vfprintf puts fputs putchar g_print g_printerr dprintf': QUIET,
    'setenv unsetenv putenv g_setenv g_unsetenv chdir fchdir g_chdir umask setlocale': 'a parameter: '
    'this belongs to the whole process, which is not ours',
}


def pattern(table):
    names = {name: why for key, why in table.items() for name in key.split()}
    # Neither a member that is called, nor a part of a longer name.
    return names, re.compile(r'(?<![\w.>])(' + '|'.join(names) + r')\s*\(')


everywhere = pattern(EVERYWHERE)
library = pattern(LIBRARY)
problems = []
# What runs inside of a test guest is linked without GLib.
paths = [p for p in lint.files('.c', '.h') if not p.startswith('tests/guest/')]

for path in paths:
    text = lint.without_comments(lint.read(path), strings=False)
    # The programs in lib/libexec/ are their own processes.
    in_library = path.startswith('lib/') and not path.startswith('lib/libexec/')
    for names, regex in [everywhere] + ([library] if in_library else []):
        for match in regex.finditer(text):
            name = match.group(1)
            problems.append(f'{path}:{lint.line_of(text, match.start())}: {name}(): use {names[name]}')

lint.finish(problems, len(paths))
