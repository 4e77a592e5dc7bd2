# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors

"""What the lint tests of the public interface share: the version map, and what public headers declare."""

import re

import lint


def is_public(path):
    return re.match(r'lib/(\w+/)?varve[\w-]*\.h$', path) is not None


def public_headers():
    return [lint.read(path) for path in lint.files('.h', under='lib/') if is_public(path)]


def mapped():
    """What lib/varve.map names, in its order."""
    names = []
    text = re.sub(r'/\*.*?\*/|#[^\n]*', '', lint.read('lib/varve.map'), flags=re.S)
    for section in re.findall(r'global:(.*?)(?:local:|\})', text, re.S):
        names += re.findall(r'([^\s;]+)\s*;', section)
    return names


def declared_types():
    """Objects, structs, enumerations and functions' types."""
    found = set()
    for text in map(lint.without_comments, public_headers()):
        found.update(re.findall(r'^G_DECLARE_FINAL_TYPE \((\w+),', text, re.M))
        found.update(re.findall(r'^\} (\w+);', text, re.M))
        found.update(re.findall(r'^typedef [^;{]*?\(\*(\w+)\)', text, re.M))
    return found


def declared_values():
    """Values of enumerations."""
    found = set()
    for text in map(lint.without_comments, public_headers()):
        for body in re.findall(r'^typedef enum[^{;]*\{(.*?)\}', text, re.M | re.S):
            found.update(re.findall(r'^\s*(\w+)', body, re.M))
    return found
