# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Stores: what is in one, its disks, its verification and its deletion, and the errors of all that."""

import gc
import os
import subprocess

from gi.repository import Gio, GLib, Varve

import machine


class Store(machine.Case):

    def assert_refused(self, code, function, *args):
        with self.assertRaises(GLib.Error) as raised:
            function(*args)
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), code), raised.exception)
        return raised.exception.message

    def test_list_and_find(self):
        self.back_up()
        self.back_up()
        store = Varve.Store.open(self.store)
        self.assertRegex(store.get_uuid(), r'^[0-9a-f-]{36}$')
        backups, problems = store.list('web01', None)
        self.assertEqual((len(backups), problems), (2, []))
        self.assertEqual(store.list('other', None), ([], []))
        newest = store.find('web01@latest', None)
        self.assertEqual(newest.get_id(), backups[1].get_id())
        self.assertEqual((newest.get_domain(), newest.get_uuid()), ('web01', machine.UUID))
        self.assertTrue(newest.get_owner().startswith('nightly-'))
        self.assertIn(newest.get_owner(), newest.get_checkpoint())
        self.assertEqual(newest.get_consistency(), 'off')
        # The id is drawn before the instant.
        stamp = '%Y%m%dT%H%M%SZ'
        instant = GLib.DateTime.new_from_unix_utc(newest.get_time()).format(stamp)
        self.assertLessEqual(newest.get_id().partition('-')[0], instant)
        self.assertLessEqual(instant, GLib.DateTime.new_now_utc().format(stamp))
        self.assertTrue(os.path.exists(os.path.join(newest.get_directory(), 'vda.qcow2')))
        with open(os.path.join(newest.get_directory(), 'manifest.xml'), encoding='utf-8') as file:
            self.assertEqual(newest.get_manifest(), file.read())

    def test_problems(self):
        self.back_up()
        manifest = os.path.join(self.newest().get_directory(), 'manifest.xml')
        os.chmod(manifest, 0o600)
        with open(manifest, 'w', encoding='utf-8') as file:
            file.write('<nothing/>')
        backups, problems = Varve.Store.open(self.store).list(None, None)
        self.assertEqual(backups, [])
        self.assertEqual(len(problems), 1)
        self.assertIn(manifest, problems[0])

    def test_disks(self):
        self.back_up()
        self.write(self.images['vdb'], 9, 8, 1)
        self.back_up()
        disks = self.newest().get_disks()
        store = Varve.Store.open(self.store)
        base = store.list(None, None)[0][0].get_id()
        # The backup that they came from is gone by now.
        gc.collect()
        self.assertEqual([(disk.name, disk.size, disk.stored, disk.links) for disk in disks],
                         [('vda', 16 * machine.MIB, 0, 2), ('vdb', 32 * machine.MIB, machine.MIB, 2)])
        self.assertEqual([(disk.decision, disk.base, disk.format, disk.file) for disk in disks],
                         [('incremental', base, 'qcow2', disk + '.qcow2') for disk in ('vda', 'vdb')])
        self.assertIn(base, disks[0].reason)
        self.assertEqual((disks[1].read, disks[1].zeroed), (machine.MIB, 0))
        copy = disks[1].copy()
        del disks
        gc.collect()
        self.assertEqual((copy.name, copy.file), ('vdb', 'vdb.qcow2'))
        copy.copy().free()

    def test_verify(self):
        self.back_up()
        store = Varve.Store.open(self.store)
        done = []

        def tell(event, data):
            if event.type == Varve.EventType.DISK_DONE:
                done.append((event.action, event.disk, data))
        self.assertEqual(tuple(store.verify(None, tell, 'mine', None)), (True, []))
        self.assertEqual(done, [('verify', 'vda', 'mine'), ('verify', 'vdb', 'mine')])

        layer = os.path.join(self.newest().get_directory(), 'vdb.qcow2')
        os.chmod(layer, 0o600)
        self.write(layer, 99, 1, 1)
        made, problems = store.verify(self.newest(), None, None, None)
        self.assertTrue(made)
        self.assertGreater(len(problems), 0)
        self.assertIn('vdb', problems[0])

    def test_delete(self):
        self.back_up()
        self.back_up()
        store = Varve.Store.open(self.store)
        (old, new), _ = store.list(None, None)
        self.assertIn(new.get_id(), self.assert_refused(Varve.Error.REFUSED, store.delete, old, False, None, None))
        self.assertEqual(tuple(store.delete(old, True, None, None)), (True, [new.get_id(), old.get_id()]))
        self.assert_refused(Varve.Error.NOT_FOUND, store.delete, old, True, None, None)
        self.assert_refused(Varve.Error.NOT_FOUND, store.verify, old, None, None, None)
        self.assertEqual(store.list(None, None), ([], []))

    def test_served(self):
        plugin = Varve.nbdkit_plugin()
        self.assertTrue(os.path.isabs(plugin))
        if not os.path.exists(plugin):
            self.skipTest('built without nbdkit')
        self.back_up()
        backup = Varve.Store.open(self.store).find('web01@latest', None)
        disk = backup.get_disks()[0]
        command = ['nbdkit', '--unix', '-', '--run', 'nbdinfo --size "$uri"', plugin, f'store={self.store}',
                   f'backup={backup.get_id()}', f'disk={disk.name}']
        self.assertEqual(int(subprocess.check_output(command)), disk.size)

    def test_errors(self):
        self.assert_refused(Varve.Error.USAGE, Varve.Store.open, 'nonsense')
        self.assert_refused(Varve.Error.NOT_FOUND, Varve.Store.open, self.store)
        self.assert_refused(Varve.Error.USAGE, Varve.Store().list, None, None)
        self.back_up()
        store = Varve.Store.open(self.store)
        message = self.assert_refused(Varve.Error.NOT_FOUND, store.find, 'other@latest', None)
        self.assertIn("'other'", message)
        with self.assertRaises(GLib.Error) as raised:
            cancellable = Gio.Cancellable()
            cancellable.cancel()
            store.list(None, cancellable)
        self.assertTrue(raised.exception.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED))
