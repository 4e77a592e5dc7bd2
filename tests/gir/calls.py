# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Notes which functions of the library are called, whoever calls them."""

import xml.etree.ElementTree

from gi.repository import Varve

CORE = '{http://www.gtk.org/introspection/core/1.0}'
IDENTIFIER = '{http://www.gtk.org/introspection/c/1.0}identifier'
OWNERS = [CORE + kind for kind in ('class', 'record', 'enumeration')]
FUNCTIONS = [CORE + kind for kind in ('function', 'method', 'constructor')]


class Recorder:
    """Puts a note-taker before each function that the GIR has."""

    def __init__(self, gir):
        self.wanted = set()
        self.called = set()
        namespace = xml.etree.ElementTree.parse(gir).getroot().find(CORE + 'namespace')
        self._watch(Varve, namespace)
        for element in namespace:
            if element.tag in OWNERS:
                self._watch(getattr(Varve, element.get('name')), element)

    def not_called(self):
        return sorted(self.wanted - self.called)

    def _watch(self, owner, element):
        for function in element:
            if function.tag in FUNCTIONS and not function.get('moved-to'):
                self._wrap(owner, function.get('name'), function.get(IDENTIFIER), function.tag == CORE + 'method')

    def _wrap(self, owner, name, identifier, is_method):
        original = getattr(owner, name)
        self.wanted.add(identifier)

        def call(*args, **named):
            self.called.add(identifier)
            return original(*args, **named)
        setattr(owner, name, call if is_method or owner is Varve else staticmethod(call))
