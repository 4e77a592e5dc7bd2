# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""What the tests need: a machine that is off, or one that runs, a store and a state directory of its own, and QEMU's
word for what is on a disk."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from gi.repository import Varve

MIB = 1 << 20
UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f'


def run(*command, **named):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **named).stdout


def digest(path, disk_format):
    """SHA-256 of the disk, read by qemu-img, also while QEMU has it."""
    raw = path + '.digest'
    run('qemu-img', 'convert', '-U', '-f', disk_format, '-O', 'raw', path, raw)
    with open(raw, 'rb') as file:
        found = hashlib.file_digest(file, 'sha256').hexdigest()
    os.unlink(raw)
    return found


class Case(unittest.TestCase):
    """A domain "web01" of two disks, vda and vdb, each test with its own. It is off."""

    uri = 'image:'

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='varve-gir.', dir=os.environ.get('TMPDIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.directory)
        self.state = os.path.join(self.directory, 'state')
        self.store = 'images:' + os.path.join(self.directory, 'store')
        self.images = {disk: os.path.join(self.directory, disk + '.qcow2') for disk in ('vda', 'vdb')}
        for number, image in enumerate(self.images.values(), 1):
            run('qemu-img', 'create', '-q', '-f', 'qcow2', image, f'{number * 16}M')
            self.write(image, number, 0, 4)

    def write(self, image, pattern, at, length):
        """In MiB."""
        run('qemu-io', '-f', 'qcow2', image, '-c', f'write -P {pattern} {at}M {length}M')

    def write_disk(self, disk, pattern, at, length):
        """As the guest would. In MiB."""
        self.write(self.images[disk], pattern, at, length)

    def digests(self):
        return {disk: digest(image, 'qcow2') for disk, image in self.images.items()}

    def describe(self, what):
        """Says of a backup, an export or of checkpoints where the disks are."""
        what.set_uuid(UUID)
        for disk, image in self.images.items():
            what.set_image(disk, image, 'qcow2', None)

    def backup_job(self, name='nightly'):
        job = Varve.Job.new(name)
        action = job.add_backup('web01', self.uri, self.store)
        self.describe(action)
        return job, action

    def checkpoints(self, owner=None):
        found = Varve.Checkpoints.new(self.uri, 'web01')
        self.describe(found)
        found.set_owner(owner)
        found.set_state_directory(self.state)
        return found

    def run_job(self, job, func=None, data=None, cancellable=None):
        execution = Varve.Run.new(job)
        execution.set_state_directory(self.state)
        execution.set_event_func(func, data)
        return execution.execute(cancellable)

    def back_up(self, **named):
        self.run_job(self.backup_job()[0], **named)

    def newest(self):
        return Varve.Store.open(self.store).find('web01@latest', None)

    def decisions(self):
        return {disk.name: disk.decision for disk in self.newest().get_disks()}


class Monitor:
    """QEMU's, for what the test itself has to say to it: of two that it has, the other is varve's."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.stream = self.socket.makefile('rwb')
        self._receive()
        self.execute('qmp_capabilities')

    def execute(self, command, **arguments):
        self.stream.write(json.dumps({'execute': command, 'arguments': arguments, 'id': 'test'}).encode() + b'\n')
        self.stream.flush()
        while True:
            reply = self._receive()
            if reply.get('id') == 'test':
                return reply['return']

    def close(self):
        self.stream.close()
        self.socket.close()

    def _receive(self):
        line = self.stream.readline()
        if not line:
            raise EOFError('QEMU closed its monitor')
        return json.loads(line)


class RunningCase(Case):
    """The same with its disks in a QEMU. Its guest does nothing."""

    def setUp(self):
        super().setUp()
        monitor, ours = (os.path.join(self.directory, name) for name in ('monitor', 'ours'))
        self.uri = 'qmp+unix://' + monitor
        command = ['qemu-system-x86_64', '-name', 'web01', '-machine', 'q35,accel=tcg', '-m', '64', '-nodefaults',
                   '-no-user-config', '-display', 'none', '-S']
        for path in (monitor, ours):
            command += ['-qmp', f'unix:{path},server=on,wait=off']
        for disk, image in self.images.items():
            command += ['-blockdev', f'driver=file,node-name=file-{disk},filename={image}',
                        '-blockdev', f'driver=qcow2,node-name=fmt-{disk},file=file-{disk}',
                        '-device', f'virtio-blk-pci,id={disk},drive=fmt-{disk}']
        self.log = os.path.join(self.directory, 'qemu.log')
        with open(self.log, 'wb') as log:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.end_qemu)
        self.monitor = self.connect(ours)
        self.addCleanup(self.monitor.close)

    def connect(self, path):
        """QEMU makes the socket a while before it listens."""
        deadline = time.monotonic() + 120
        while True:
            self.assertIsNone(self.qemu.poll(), 'QEMU has ended')
            self.assertLess(time.monotonic(), deadline, 'QEMU has no monitor')
            try:
                return Monitor(path)
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)

    def end_qemu(self):
        self.qemu.kill()
        self.qemu.wait()

    def write_disk(self, disk, pattern, at, length):
        """Through the guest's own device, with a flush, so that the image file has it. QEMU tells of it in its log."""
        wrote = self.count_in_log('wrote ')
        for command in (f'write -P {pattern} {at}M {length}M', 'flush'):
            self.monitor.execute('human-monitor-command', **{
                'command-line': f'qemu-io -d /machine/peripheral/{disk}/virtio-backend "{command}"'})
        deadline = time.monotonic() + 120
        while self.count_in_log('wrote ') == wrote:
            self.assertLess(time.monotonic(), deadline, 'QEMU did not write')
            time.sleep(0.02)

    def count_in_log(self, words):
        with open(self.log, encoding='utf-8') as log:
            return log.read().count(words)

    def describe(self, what):
        """QEMU has its disks by the names of their devices."""
