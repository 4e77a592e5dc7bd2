#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""What other languages see is what C sees: the GIR has each function of lib/varve.map and each type and value of the
public headers, and nothing else; each is documented, down to its parameters, with "Since:", and none is hidden
because an annotation is missing.

Arguments: ROOT, then the built Varve-0.1.gir."""

import sys
import xml.etree.ElementTree

import api
import lint

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'
CALLABLES = [CORE + name for name in ('function', 'method', 'constructor', 'callback')]
TYPES = [CORE + name for name in ('class', 'record', 'union', 'interface', 'enumeration', 'bitfield', 'alias')]

problems = []


def name_of(element):
    return element.get(C + 'identifier') or element.get(C + 'type') or element.get('name')


def has_doc(element):
    doc = element.find(CORE + 'doc')
    return doc is not None and bool((doc.text or '').strip())


def elements(root):
    """All types and callables once: a function that belongs to a type stands there, and its first place refers to
    it. The structs of classes are GObject's own affair."""
    for element in root.iter():
        if element.get('moved-to') or element.get(GLIB + 'is-gtype-struct-for'):
            continue
        if element.tag in TYPES + CALLABLES:
            yield element


def is_plain(parameter):
    """The same everywhere, so that nothing need be said: what is cancelled by, and what goes with a function."""
    kind = parameter.find(CORE + 'type')
    return parameter.get('name') == 'user_data' or (kind is not None and kind.get('name') == 'Gio.Cancellable')


def check_callable(element):
    name = name_of(element)
    returned = element.find(CORE + 'return-value')
    is_void = returned.find(CORE + 'type') is not None and returned.find(CORE + 'type').get('name') == 'none'
    if not is_void and not has_doc(returned):
        problems.append(f'{name}: "Returns:" is missing')
    if not has_doc(element) and not has_doc(returned):
        problems.append(f'{name}: nothing says what it does')
    for parameter in element.iter(CORE + 'parameter'):
        if not has_doc(parameter) and not is_plain(parameter):
            problems.append(f'{name}: parameter {parameter.get("name")} is not documented')


def check_type(element):
    name = name_of(element)
    if not has_doc(element):
        problems.append(f'{name}: nothing says what it is')
    for tag in ('field', 'member'):
        for part in element.findall(CORE + tag):
            if not part.get('private') and not part.get('readable') == '0' and not has_doc(part):
                problems.append(f'{name}: {part.get("name")} is not documented')


def check_same(what, header, gir):
    problems.extend(f'{what} {name} is not in the GIR' for name in sorted(header - gir))
    problems.extend(f'{what} {name} is in the GIR and not in C' for name in sorted(gir - header))


root = xml.etree.ElementTree.parse(sys.argv[2]).getroot()
functions, types, values = set(), set(), set()
for element in elements(root):
    name = name_of(element)
    if element.get('introspectable') == '0':
        problems.append(f'{name}: other languages cannot use it; an annotation is missing')
    if not element.get('version'):
        problems.append(f'{name}: "Since:" is missing')
    if element.tag in CALLABLES:
        check_callable(element)
    if element.get(C + 'identifier'):
        functions.add(name)
    if element.get(GLIB + 'get-type'):
        functions.add(element.get(GLIB + 'get-type'))
    if element.tag in TYPES:
        check_type(element)
    if element.get(C + 'type'):
        types.add(name)
    values.update(name_of(member) for member in element.findall(CORE + 'member'))

check_same('function', set(api.mapped()), functions)
check_same('type', api.declared_types(), types)
check_same('value', api.declared_values(), values)
lint.finish(problems, len(functions))
