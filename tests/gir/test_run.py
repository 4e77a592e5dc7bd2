# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Runs: a disk goes to a store and comes back, events are told and can be kept, a run is cancelled, and what a killed
one left is ended."""

import gc
import os
import subprocess
import sys
import threading
import weakref

from gi.repository import Gio, GLib, Varve

import machine


class Told:
    """A listener, and data that can be seen to go away."""

    def __init__(self):
        self.events = []
        self.threads = set()

    def tell(self, event, data):
        assert data is None or data is self
        self.events.append(event)
        self.threads.add(threading.get_ident())

    def types(self):
        return [event.type.value_nick for event in self.events]


class Circle:
    """Of a machine that runs, or not."""

    def restore(self, directory):
        job = Varve.Job.new('back')
        job.add_restore(self.store, 'web01@latest').set_directory(directory, 'raw')
        self.run_job(job)
        return {disk: machine.digest(os.path.join(directory, disk + '.raw'), 'raw') for disk in self.images}

    def test_full_circle(self):
        first = self.digests()
        self.back_up()
        self.assertEqual(self.decisions(), {'vda': 'full', 'vdb': 'full'})
        self.assertEqual(self.restore(os.path.join(self.directory, 'one')), first)

        self.write_disk('vda', 7, 3, 2)
        second = self.digests()
        self.assertNotEqual(second, first)
        self.back_up()
        self.assertEqual(self.decisions(), {'vda': 'incremental', 'vdb': 'incremental'})
        self.assertEqual(self.restore(os.path.join(self.directory, 'two')), second)


class Running(Circle, machine.RunningCase):
    pass


class Run(Circle, machine.Case):

    def test_events(self):
        told = Told()
        self.back_up(func=told.tell, data=told)
        # Each is a copy, good for as long as Python has it.
        gc.collect()
        types = told.types()
        self.assertEqual(types[:3], ['run-started', 'disk-planned', 'disk-planned'])
        self.assertEqual(types[-1], 'run-done')
        self.assertEqual({'snapshot-started', 'progress', 'disk-done'} - set(types), set())
        self.assertEqual(types, [Varve.EventType.get_name(event.type) for event in told.events])
        self.assertEqual({event.action for event in told.events}, {'backup'})
        planned = told.events[1]
        self.assertEqual((planned.type, planned.domain, planned.disk, planned.decision, planned.text, planned.backup),
                         (Varve.EventType.DISK_PLANNED, 'web01', 'vda', 'full', 'first backup of this disk', None))
        done = [event for event in told.events if event.type == Varve.EventType.DISK_DONE]
        self.assertEqual([(event.disk, event.stored) for event in done],
                         [('vda', 4 * machine.MIB), ('vdb', 4 * machine.MIB)])
        self.assertEqual(told.events[-1].backup, self.newest().get_id())

        copy = done[0].copy()
        del done, told
        gc.collect()
        self.assertEqual((copy.disk, copy.domain), ('vda', 'web01'))
        copy.copy().free()

    def test_targets(self):
        job = Varve.Job.new('copies')
        action = job.add_backup('web01', self.uri, None)
        self.describe(action)
        copies = {disk: os.path.join(self.directory, disk + '.copy') for disk in self.images}
        for disk, path in copies.items():
            action.set_target(disk, path, 'qcow2')
        self.run_job(job)
        self.assertEqual({disk: machine.digest(path, 'qcow2') for disk, path in copies.items()}, self.digests())

        with self.assertRaises(GLib.Error) as raised:
            self.run_job(job)
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), Varve.Error.REFUSED))
        self.write_disk('vda', 9, 6, 1)
        action.set_force(True)
        self.run_job(job)
        self.assertEqual(machine.digest(copies['vda'], 'qcow2'), self.digests()['vda'])

    def revert(self, backup, **named):
        job = Varve.Job.new('nightly')
        action = job.add_revert('web01', self.uri, self.store, backup)
        self.describe(action)
        action.set_dry_run(named.get('dry_run', False))
        told = Told()
        self.run_job(job, func=told.tell, data=told)
        return told

    def test_revert(self):
        first = self.digests()
        self.back_up()
        wanted = self.newest().get_id()
        self.write_disk('vda', 7, 3, 2)
        second = self.digests()
        told = self.revert(wanted, dry_run=True)
        planned = {event.disk: event for event in told.events if event.type == Varve.EventType.DISK_PLANNED}
        self.assertEqual({disk: (event.decision, event.stored) for disk, event in planned.items()},
                         {'vda': ('difference', 2 * machine.MIB), 'vdb': ('difference', 0)})
        self.assertEqual(told.events[-1].text, 'dry run')
        self.assertEqual(self.digests(), second)

        told = self.revert(wanted)
        self.assertEqual(self.digests(), first)
        self.assertEqual({event.action for event in told.events}, {'backup', 'revert'})
        # What was there is the newest backup, and the next increment is on the one that was put back.
        self.assertNotEqual(self.newest().get_id(), wanted)
        self.write_disk('vda', 8, 9, 2)
        self.back_up()
        self.assertEqual(self.decisions(), {'vda': 'incremental', 'vdb': 'incremental'})
        self.assertIn(wanted, self.newest().get_disks()[0].reason)

    def test_data_is_released_once(self):
        execution = Varve.Run.new(self.backup_job()[0])
        first, second = Told(), Told()
        gone = [weakref.ref(first), weakref.ref(second)]
        execution.set_event_func(lambda event, data: None, first)
        execution.set_event_func(lambda event, data: None, second)
        del first
        gc.collect()
        self.assertEqual([ref() is None for ref in gone], [True, False])
        del execution, second
        gc.collect()
        self.assertEqual([ref() is None for ref in gone], [True, True])

    def test_only(self):
        job, action = self.backup_job()
        action.set_name('web')
        execution = Varve.Run.new(job)
        execution.set_state_directory(self.state)
        execution.set_only('db')
        with self.assertRaises(GLib.Error) as raised:
            execution.execute(None)
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), Varve.Error.USAGE))
        execution.set_only('web')
        self.assertTrue(execution.execute(None))
        self.assertEqual(len(Varve.Store.open(self.store).list(None, None)[0]), 1)

    def test_cancel_from_an_event(self):
        self.back_up()
        cancellable = Gio.Cancellable()

        def cancel(event, data):
            if event.type == Varve.EventType.SNAPSHOT_STARTED:
                cancellable.cancel()
        with self.assertRaises(GLib.Error) as raised:
            self.back_up(func=cancel, cancellable=cancellable)
        self.assertTrue(raised.exception.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED))
        self.assertEqual(Varve.Error.exit_status(raised.exception), 130)
        self.back_up()
        self.assertEqual(self.decisions(), {'vda': 'incremental', 'vdb': 'incremental'})

    def test_cancel_from_another_thread(self):
        """The run is in a thread, and Python goes on beside it."""
        job, action = self.backup_job()
        action.set_speed(machine.MIB)
        cancellable, told, errors, reading = Gio.Cancellable(), Told(), [], threading.Event()

        def tell(event, data):
            told.tell(event, data)
            if event.type == Varve.EventType.PROGRESS:
                reading.set()

        def work():
            try:
                self.run_job(job, tell, None, cancellable)
            except GLib.Error as error:
                errors.append(error)
        thread = threading.Thread(target=work)
        thread.start()
        self.assertTrue(reading.wait(60))
        cancellable.cancel()
        thread.join(60)
        self.assertFalse(thread.is_alive())
        self.assertTrue(errors[0].matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED))
        self.assertEqual(told.threads, {thread.ident})

    def test_speed_while_it_runs(self):
        """At the first speed it would take hours."""
        for mode in 'pull', 'push':
            job, action = self.backup_job()
            action.set_mode(mode)
            action.set_incremental('never')
            action.set_speed(1024)
            execution = Varve.Run.new(job)
            execution.set_state_directory(self.state)
            execution.set_event_func(lambda event, data: event.type == Varve.EventType.PROGRESS and execution.set_speed(0),
                                     None)
            self.assertTrue(execution.execute(None))

    def test_busy(self):
        """The lock keeps threads apart as it does processes."""
        errors = []

        def work():
            try:
                self.back_up()
            except GLib.Error as error:
                errors.append(error)

        def meanwhile(event, data):
            if event.type == Varve.EventType.SNAPSHOT_STARTED:
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
        self.back_up(func=meanwhile)
        self.assertEqual([Varve.Error(error.code) for error in errors], [Varve.Error.BUSY])
        self.assertEqual(len(Varve.Store.open(self.store).list(None, None)[0]), 1)

    def test_two_machines_at_once(self):
        told, errors = {}, []

        def work(domain, disk, tell):
            job = Varve.Job.new('nightly')
            job.add_backup(domain, 'image:', self.store).set_image(disk, self.images[disk], 'qcow2', None)
            try:
                self.run_job(job, tell.tell, tell)
            except GLib.Error as error:
                errors.append(error)
        threads = []
        for domain, disk in (('web01', 'vda'), ('web02', 'vdb')):
            told[domain] = Told()
            threads.append(threading.Thread(target=work, args=(domain, disk, told[domain])))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        backups, _ = Varve.Store.open(self.store).list(None, None)
        self.assertEqual({backup.get_domain() for backup in backups}, {'web01', 'web02'})
        for domain, tell in told.items():
            self.assertEqual({event.domain for event in tell.events}, {domain})
            self.assertEqual(tell.types()[-1], 'run-done')

    def test_exception_in_an_event(self):
        """Python shows it, and the run goes on."""
        shown = []
        hook, sys.excepthook = sys.excepthook, lambda kind, value, trace: shown.append(value)
        self.addCleanup(setattr, sys, 'excepthook', hook)

        def fail(event, data):
            raise ValueError(event.type.value_nick)
        self.back_up(func=fail)
        self.assertIn('run-done', [str(value) for value in shown])
        self.assertEqual(self.decisions(), {'vda': 'full', 'vdb': 'full'})

    def test_partly_done(self):
        job, _ = self.backup_job()
        job.add_restore(self.store, 'other@latest').set_directory(os.path.join(self.directory, 'out'), None)
        with self.assertRaises(GLib.Error) as raised:
            self.run_job(job)
        error = raised.exception
        self.assertEqual(error.domain, 'varve-error-quark')
        self.assertEqual(Varve.Error(error.code), Varve.Error.PARTIAL)
        self.assertEqual(Varve.Error(error.code).value_nick, 'partial')
        self.assertEqual(Varve.Error.exit_status(error), 3)
        self.assertIn("'other'", error.message)

    def test_recover(self):
        self.back_up()
        job = os.path.join(self.directory, 'job.xml')
        with open(job, 'w', encoding='utf-8') as file:
            file.write(self.backup_job()[0].to_xml())
        killed = subprocess.run([os.environ['VARVE'], 'run', job], check=False, stdout=subprocess.DEVNULL,
                                env={**os.environ, 'VARVE_STATE_DIR': self.state, 'VARVE_FAILPOINT': 'copy-disk:kill',
                                     'VARVE_GUARD': 'none'})
        self.assertEqual(killed.returncode, -9)

        for dry_run, kind, words in ((True, 'note', 'would end'), (False, 'recovered', 'ended')):
            told = Told()
            self.assertTrue(Varve.recover(self.state, dry_run, told.tell, told, None))
            self.assertEqual(told.types(), [kind])
            self.assertTrue(told.events[0].text.startswith(words), told.events[0].text)
            self.assertEqual(told.events[0].domain, 'web01')
        told = Told()
        self.assertTrue(Varve.recover(self.state, False, told.tell, told, None))
        self.assertEqual(told.events, [])
        self.back_up()
        self.assertEqual(self.decisions(), {'vda': 'incremental', 'vdb': 'incremental'})
