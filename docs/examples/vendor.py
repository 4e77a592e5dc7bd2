#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""A backup product of its own: sessions by varve, data by libnbd.

usage: vendor.py URI DOMAIN DIRECTORY

A backup is a directory DIRECTORY/CHECKPOINT with a raw image of each disk, and DIRECTORY/latest is a link to the newest.
The first backup reads everything. Each later one begins as a copy of the newest, and reads what has changed since. vendor.c
and vendor.sh do the same, and go on where this one has stopped. It needs Debian's python3-gi and python3-libnbd."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

import gi
import nbd

gi.require_version('Varve', '0.1')
from gi.repository import GLib, Varve  # noqa: E402: the version comes first

LABEL = 'acme'  # whose checkpoints: ours, and nobody else's
OWNER = 'x-acme'  # the same, as it is in their names
PIECE = 4 << 20  # is read at once
ASKED = 1 << 30  # is asked for at once, in the map
DIRTY, ZERO = 1, 2  # flags of a dirty map, and of "base:allocation"


# --- the session -----------------------------------------------------------------------------------------------------

def end_left_over(domain):
    """A session of ours that is still there was begun by a process that has died: nothing that it read counts."""
    for session in Varve.Export.list(None):
        if session.get_owner() == OWNER and session.get_domain() == domain:
            print('ended what a killed run has left:', session.get_id())
            session.end(False, None)


def begin_since(uri, domain, since, socket):
    ready = []

    def on_event(event, data):
        if event.type == Varve.EventType.EXPORT_READY:
            ready.append(event.session)
        elif event.type in (Varve.EventType.NOTE, Varve.EventType.WARNING):
            print(event.text, file=sys.stderr)

    job = Varve.Job.new('vendor')
    action = job.add_export(domain, uri, LABEL)
    action.set_since(since)
    action.set_socket(socket, 0o600, None)
    run = Varve.Run.new(job)
    run.set_event_func(on_event, None)
    run.execute(None)
    return Varve.Export.find(None, ready[0])


def begin(uri, domain, since, socket):
    """Where the checkpoint of the newest backup is lost, everything is read."""
    try:
        return begin_since(uri, domain, since, socket)
    except GLib.Error as error:
        if since is None or not error.matches(Varve.Error.quark(), Varve.Error.CHECKPOINT):
            raise
        print(error.message, file=sys.stderr)
        return begin_since(uri, domain, None, socket)


# --- the data --------------------------------------------------------------------------------------------------------

def extents(handle, context):
    """Offset, length and flags of each extent of the disk."""
    at, size = 0, handle.get_size()
    while at < size:
        found = []
        handle.block_status(min(size - at, ASKED), at, lambda name, offset, entries, error: found.extend(entries))
        for length, flags in zip(found[::2], found[1::2]):
            yield at, min(length, size - at), flags
            at += length


def copy_disk(disk, image):
    """Of a disk to be read in full: all that is not zero, as the image is new. Otherwise: what is dirty, zeros too."""
    context = disk.dirty_context or 'base:allocation'
    flag, wanted = (DIRTY, DIRTY) if disk.dirty_context else (ZERO, 0)
    handle = nbd.NBD()
    handle.add_meta_context(context)
    handle.connect_uri(disk.uri)
    count = 0
    for offset, length, flags in extents(handle, context):
        if flags & flag != wanted:
            continue
        image.seek(offset)
        for at in range(offset, offset + length, PIECE):
            image.write(handle.pread(min(PIECE, offset + length - at), at))
        count += length
    handle.shutdown()
    return count


# --- backups ---------------------------------------------------------------------------------------------------------

def sync_directory(path):
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def back_up_disk(disk, directory, since, part):
    path = os.path.join(part, disk.name + '.raw')
    if disk.dirty_context:
        newest = os.path.join(directory, since, disk.name + '.raw')
        subprocess.run(['cp', '--reflink=auto', '--sparse=always', newest, path], check=True)
    with open(path, 'r+b' if disk.dirty_context else 'wb') as image:
        image.truncate(disk.size)
        count = copy_disk(disk, image)
        image.flush()
        os.fsync(image.fileno())
    print(f'{disk.name}: {disk.decision}, {count} bytes read ({disk.reason})')


def publish(directory, part, checkpoint):
    """The backup gets its name, and then the link. Whoever is killed before that has the older backup, and its
    checkpoint."""
    latest = os.path.join(directory, 'latest')
    with contextlib.suppress(FileNotFoundError):
        os.unlink(latest + '.new')
    os.rename(part, os.path.join(directory, checkpoint))
    os.symlink(checkpoint, latest + '.new')
    os.rename(latest + '.new', latest)
    sync_directory(directory)


def back_up(uri, domain, directory, socket):
    """What was read counts when the session has ended well, and not before."""
    part = os.path.join(directory, 'part')
    latest = os.path.join(directory, 'latest')
    since = os.readlink(latest) if os.path.islink(latest) else None
    end_left_over(domain)
    session = begin(uri, domain, since, socket)
    try:
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part, 0o700)
        for disk in session.get_disks():
            back_up_disk(disk, directory, since, part)
        sync_directory(part)
    except BaseException:
        session.end(False, None)
        raise
    session.end(True, None)
    publish(directory, part, session.get_checkpoint())
    print('backed up:', session.get_checkpoint())


def main(uri, domain, directory):
    try:
        with tempfile.TemporaryDirectory(prefix='vendor-') as run:
            back_up(uri, domain, directory, os.path.join(run, 'nbd.sock'))
    except GLib.Error as error:
        print(error.message, file=sys.stderr)
        return Varve.Error.exit_status(error)
    return 0


if __name__ == '__main__':
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
