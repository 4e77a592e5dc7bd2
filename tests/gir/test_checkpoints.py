# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Checkpoints of a machine that is off, and of one that runs: made, listed with what has changed since, merged, deleted,
checked and mended."""

import gc
import os
import subprocess

from gi.repository import GLib, Varve

import machine

GRAIN = 65536


class Verbs:
    """What is the same everywhere."""

    def assert_refused(self, code, function, *args):
        with self.assertRaises(GLib.Error) as raised:
            function(*args)
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), code), raised.exception)
        return raised.exception.message

    def changed(self, name):
        """By disk: bytes written since the checkpoint."""
        found = {each.get_name(): each for each in self.checkpoints().list(None)}
        return {disk.name: disk.changed for disk in found[name].get_disks()}

    def names(self):
        return [checkpoint.get_name() for checkpoint in self.checkpoints().list(None)]

    def test_create(self):
        self.assert_refused(Varve.Error.USAGE, self.checkpoints().create, None, None)
        acme = self.checkpoints('acme')
        self.assertEqual(acme.list(None), [])
        self.assert_refused(Varve.Error.NOT_FOUND, acme.create, ['vdx'], None)
        before = GLib.DateTime.new_now_utc().to_unix()
        made = acme.create(None, None)
        self.assertEqual((made.get_owner(), made.get_state()), ('x-acme', 'kept'))
        self.assertIn(made.get_backup(), made.get_name())
        self.assertLess(abs(made.get_time() - before), 60)
        self.assertEqual([disk.name for disk in made.get_disks()], ['vda', 'vdb'])
        only = acme.create(['vdb'], None)
        self.assertEqual([disk.name for disk in only.get_disks()], ['vdb'])

        self.write_disk('vdb', 5, 3, 1)
        found = acme.list(None)
        del acme
        gc.collect()
        self.assertEqual([each.get_name() for each in found], [made.get_name(), only.get_name()])
        disk = found[0].get_disks()[1].copy()
        del found
        gc.collect()
        self.assertEqual((disk.name, disk.granularity, disk.recording, disk.persistent, disk.inconsistent, disk.missing),
                         ('vdb', GRAIN, True, True, False, False))
        self.assertEqual(self.changed(made.get_name()), {'vda': 0, 'vdb': machine.MIB})
        disk.copy().free()

    def test_merge_and_delete(self):
        acme = self.checkpoints('acme')
        names = []
        for number in range(4):
            names.append(acme.create(None, None).get_name())
            self.write_disk('vda', number + 1, number + 5, 1)
        sum_of_all = {'vda': 4 * machine.MIB, 'vdb': 0}
        self.assertEqual(self.changed(names[0]), sum_of_all)
        self.assertEqual(tuple(acme.delete(names[1], None)), (True, names[1]))
        self.assert_refused(Varve.Error.NOT_FOUND, acme.delete, names[1], None)
        self.assert_refused(Varve.Error.REFUSED, self.checkpoints('other').delete, names[0], None)
        self.assertEqual(self.changed(names[0]), sum_of_all)
        self.assertEqual(self.changed(names[2]), {'vda': 2 * machine.MIB, 'vdb': 0})
        self.assert_refused(Varve.Error.USAGE, acme.merge, [names[3], names[0]], False, None)
        self.assertEqual(tuple(acme.merge([names[0], names[3]], False, None)), (True, names[2:]))
        self.assertEqual(self.names(), names[:1])
        self.assertEqual(self.changed(names[0]), sum_of_all)
        # Nobody but libvirt keeps records that could be lost.
        self.assertEqual(acme.redefine(None, None), [])

    def test_foreign(self):
        for name in ('old.1', 'old.2'):
            self.add_bitmap('vda', name)
            self.write_disk('vda', 7, 9, 1)
        found = self.checkpoints().list(None)
        self.assertEqual([(each.get_name(), each.get_owner(), each.get_backup(), each.get_state(), each.get_time())
                          for each in found],
                         [(name, None, None, 'foreign', -1) for name in ('old.1', 'old.2')])
        acme = self.checkpoints('acme')
        self.assert_refused(Varve.Error.REFUSED, acme.delete, 'old.1', None)
        self.assertEqual(tuple(acme.merge(['old.1', 'old.2'], True, None)), (True, ['old.2']))
        self.assertEqual(self.changed('old.1'), {'vda': machine.MIB})

    def check(self, repair, *stores, owner='nightly'):
        """Findings, and the error that they come to."""
        checkpoints = self.checkpoints(owner)
        for store in stores:
            checkpoints.add_store(store)
        findings = checkpoints.check(repair, None)
        try:
            self.assertTrue(checkpoints.judge(findings, repair))
        except GLib.Error as error:
            self.assertEqual(error.domain, 'varve-error-quark')
            return findings, Varve.Error(error.code)
        return findings, None

    def test_check(self):
        self.back_up()
        self.back_up()
        self.assertEqual(self.check(False, self.store), ([], None))
        old = self.checkpoints().list(None)[0]
        self.assertEqual(old.get_owner(), self.newest().get_owner())
        for disk in self.images:
            self.disable_bitmap(disk, old.get_name())

        findings, verdict = self.check(False, self.store)
        self.assertEqual(verdict, Varve.Error.CHECKPOINT)
        self.assertEqual([found.get_disk() for found in findings], ['vda', 'vdb'])
        found = findings[0]
        self.assertTrue(found.is_damage())
        self.assertEqual((found.get_kind(), found.get_state(), found.get_checkpoint(), found.get_disk()),
                         ('bitmap-disabled', 'mendable', old.get_name(), 'vda'))
        self.assertEqual((found.get_session(), found.get_failure()), (None, None))
        self.assertIn("'vda'", found.get_text())
        self.assertIn('incremental', found.get_meaning())
        self.assertTrue(found.get_cure().endswith('.'))

        self.assertEqual(self.check(True, self.store, owner='other')[1], Varve.Error.REFUSED)
        findings, verdict = self.check(True, self.store)
        self.assertEqual(([each.get_state() for each in findings], verdict), (['mended'] * 2, None))
        self.assertEqual(self.check(False, self.store), ([], None))

    def test_what_a_killed_run_left(self):
        """It is told of and ended before a checkpoint is made."""
        job = os.path.join(self.directory, 'job.xml')
        with open(job, 'w', encoding='utf-8') as file:
            file.write(self.backup_job()[0].to_xml())
        environment = {**os.environ, 'VARVE_STATE_DIR': self.state, 'VARVE_FAILPOINT': 'copy-disk:kill',
                       'VARVE_GUARD': 'none'}
        killed = subprocess.run([os.environ['VARVE'], 'run', job], check=False, stdout=subprocess.DEVNULL,
                                env=environment)
        self.assertEqual(killed.returncode, -9)
        findings, _ = self.check(False, self.store)
        self.assertIn('session-dead', [each.get_kind() for each in findings])
        self.assertTrue(all(each.get_session() for each in findings))

        told = []
        acme = self.checkpoints('acme')
        acme.set_event_func(lambda event, data: told.append((event.type, data)), 'mine')
        acme.create(None, None)
        self.assertEqual(told, [(Varve.EventType.RECOVERED, 'mine')])
        self.assertEqual(self.check(False, self.store), ([], None))

    def test_busy(self):
        """Two at the same domain are kept apart."""
        refused = []

        def second(event, data):
            if event.type == Varve.EventType.SNAPSHOT_STARTED:
                acme = self.checkpoints('acme')
                acme.set_wait(1)
                refused.append(self.assert_refused(Varve.Error.BUSY, acme.create, None, None))
        self.back_up(func=second)
        self.assertEqual(len(refused), 1)


class Off(Verbs, machine.Case):

    def add_bitmap(self, disk, name):
        machine.run('qemu-img', 'bitmap', '--add', '-f', 'qcow2', self.images[disk], name)

    def disable_bitmap(self, disk, name):
        machine.run('qemu-img', 'bitmap', '--disable', '-f', 'qcow2', self.images[disk], name)

    def test_no_store(self):
        self.assert_refused(Varve.Error.NOT_FOUND, self.check, False, 'images:/nowhere')


class Running(Verbs, machine.RunningCase):

    def add_bitmap(self, disk, name):
        self.monitor.execute('block-dirty-bitmap-add', node='fmt-' + disk, name=name, persistent=True)

    def disable_bitmap(self, disk, name):
        self.monitor.execute('block-dirty-bitmap-disable', node='fmt-' + disk, name=name)

    def test_named_disk(self):
        acme = self.checkpoints('acme')
        acme.set_qdev('system', 'vda')
        self.assertEqual([disk.name for disk in acme.create(None, None).get_disks()], ['system', 'vdb'])
