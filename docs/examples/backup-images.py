#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Backs up a machine that is off, verifies the backup, and restores it: libvarve from Python.

usage: backup-images.py DOMAIN STORE-DIRECTORY RESTORE-DIRECTORY DISK=IMAGE...

The images are qcow2; all paths are absolute. It needs Debian's python3-gi."""

import signal
import sys

import gi

gi.require_version('Varve', '0.1')
from gi.repository import Gio, GLib, Varve  # noqa: E402: the version comes first


def show(event, user_data):
    if event.type == Varve.EventType.DISK_PLANNED:
        print(f'{event.disk}: {event.decision} ({event.text})')
    elif event.type == Varve.EventType.DISK_DONE:
        print(f'{event.disk}: {event.stored} bytes written')
    elif event.type in (Varve.EventType.WARNING, Varve.EventType.NOTE):
        print(event.text, file=sys.stderr)


def execute(job, cancellable):
    run = Varve.Run.new(job)
    run.set_event_func(show, None)
    run.execute(cancellable)


def back_up(domain, store, disks, cancellable):
    job = Varve.Job.new('example')
    action = job.add_backup(domain, 'image:', store)
    for disk in disks:
        name, image = disk.split('=', 1)
        action.set_image(name, image, 'qcow2', None)
    execute(job, cancellable)


def verify(domain, name, cancellable):
    """The newest backup, if every byte of it is what was written."""
    store = Varve.Store.open(name)
    backup = store.find(domain + '@latest', cancellable)
    _, problems = store.verify(backup, None, None, cancellable)
    if problems:
        raise GLib.Error.new_literal(Varve.Error.quark(), problems[0], Varve.Error.STORE_DAMAGED)
    return backup


def restore(store, backup, directory, cancellable):
    job = Varve.Job.new('example')
    job.add_restore(store, backup.get_id()).set_directory(directory, 'raw')
    execute(job, cancellable)


def main(domain, directory, restored, *disks):
    cancellable = Gio.Cancellable()
    # Python handles a signal when it next runs Python code: at the latest at the next event, so within a second.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancellable.cancel())
    store = 'images:' + directory
    try:
        back_up(domain, store, disks, cancellable)
        backup = verify(domain, store, cancellable)
        restore(store, backup, restored, cancellable)
    except GLib.Error as error:
        print(error.message, file=sys.stderr)
        if error.matches(Varve.Error.quark(), Varve.Error.BUSY):
            print('Somebody else is at work on it: try again later.', file=sys.stderr)
        return Varve.Error.exit_status(error)
    for disk in backup.get_disks():
        print(f'{disk.name}: {disk.decision}, {disk.stored} bytes in this layer')
    print(f'{backup.get_id()}: backed up, verified and restored')
    return 0


if __name__ == '__main__':
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
