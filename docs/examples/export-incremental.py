#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Keeps raw copies of a domain's disks up to date: libvarve for the session, libnbd for the data.

usage: export-incremental.py DIRECTORY DOMAIN URI [DISK=IMAGE]...

DIRECTORY/DISK.raw are the copies, DIRECTORY/checkpoint says of which instant; the path is absolute. Images (qcow2) are
named for the URI "image:". It needs Debian's python3-gi and python3-libnbd."""

import os
import sys

import gi
import nbd

gi.require_version('Varve', '0.1')
from gi.repository import GLib, Varve  # noqa: E402: the version comes first

PIECE = 1 << 20
# In "base:allocation"
ZERO = 2
# In the map of changes
DIRTY = 1


def begin(directory, domain, uri, since, images):
    """The session, which lives on in a process of its own."""
    ready = []

    def note(event, user_data):
        if event.type == Varve.EventType.EXPORT_READY:
            ready.append(event.session)
    job = Varve.Job.new('example')
    action = job.add_export(domain, uri, 'example')
    action.set_since(since)
    action.set_socket(os.path.join(directory, 'socket'), 0o600, None)
    for image in images:
        name, path = image.split('=', 1)
        action.set_image(name, path, 'qcow2', None)
    run = Varve.Run.new(job)
    run.set_event_func(note, None)
    run.execute(None)
    return Varve.exports_find(None, ready[0])


def extents(handle, context):
    """All of the disk: offset, length, flags."""
    at, size = 0, handle.get_size()
    while at < size:
        found = []

        def note(name, offset, entries, error):
            if name == context:
                found.extend(entries)
        handle.block_status(min(size - at, 1 << 30), at, note)
        for length, flags in zip(found[::2], found[1::2]):
            yield at, length, flags
            at += length


def copy(disk, path):
    """What has changed, where that is known; else all that is no zeros, into a new file."""
    context = disk.dirty_context or 'base:allocation'
    handle = nbd.NBD()
    handle.add_meta_context(context)
    handle.connect_uri(disk.uri)
    copied = 0
    with open(path, 'r+b' if disk.dirty_context else 'wb') as raw:
        raw.truncate(handle.get_size())
        for offset, length, flags in extents(handle, context):
            if not flags & DIRTY if disk.dirty_context else flags & ZERO:
                continue
            for at in range(offset, offset + length, PIECE):
                piece = handle.pread(min(PIECE, offset + length - at), at)
                raw.seek(at)
                raw.write(piece)
                copied += len(piece)
    handle.shutdown()
    print(f'{disk.name}: {disk.decision}, {copied} bytes')


def main(directory, domain, uri, *images):
    path = os.path.join(directory, 'checkpoint')
    since = None
    if os.path.exists(path):
        with open(path, encoding='utf-8') as file:
            since = file.read().strip()
    export = None
    try:
        export = begin(directory, domain, uri, since, images)
        for disk in export.get_disks():
            copy(disk, os.path.join(directory, disk.name + '.raw'))
        # Only now is it known that all that was read is of one instant.
        session, export = export, None
        session.end(True, None)
    except GLib.Error as error:
        print(error.message, file=sys.stderr)
        return Varve.Error.exit_status(error)
    finally:
        if export:
            export.end(False, None)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(session.get_checkpoint() + '\n')
    return 0


if __name__ == '__main__':
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
