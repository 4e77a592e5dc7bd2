# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Export sessions of a machine that is off, and of one that runs: begun by a job, found, read, ended."""

import os
import subprocess
import time

from gi.repository import Gio, GLib, Varve

import machine


class Sessions:
    """What is the same everywhere."""

    def export_job(self, since=None):
        job = Varve.Job.new('vendor')
        action = job.add_export('web01', self.uri, 'acme')
        self.describe(action)
        action.set_since(since)
        action.set_max_age(600)
        return job, action

    def begin(self, since=None):
        job, action = self.export_job(since)
        action.set_socket(os.path.join(self.directory, 'published'), 0o660, None)
        ready = []

        def tell(event, data):
            if event.type == Varve.EventType.EXPORT_READY:
                ready.append(event.session)
        self.run_job(job, tell)
        self.assertEqual(len(ready), 1)
        found = Varve.Export.find(self.state, ready[0])
        self.addCleanup(self.end_left_over, ready[0])
        return found

    def end_left_over(self, session):
        """After a test that failed."""
        for export in Varve.Export.list(self.state):
            if export.get_id() == session:
                export.end(False, None)

    def read(self, uri):
        raw = os.path.join(self.directory, 'read.raw')
        machine.run('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, raw)
        return machine.digest(raw, 'raw')

    def test_begin_and_end(self):
        before = self.digests()
        now = GLib.DateTime.new_now_utc().to_unix()
        export = self.begin()
        self.assertEqual((export.get_domain(), export.get_owner(), export.get_since(), export.get_trouble()),
                         ('web01', 'x-acme', None, None))
        self.assertEqual(export.get_state(), Varve.ExportState.SERVING)
        self.assertEqual(export.get_consistency(), self.consistency)
        self.assertLess(abs(export.get_started() - now), 60)
        self.assertEqual(export.get_expires() - export.get_started(), 600)
        self.assertTrue(all(isinstance(note, str) for note in export.get_notes()))
        self.assertIn(export.get_id(), export.to_json())
        self.assertIn("<exportsession version='1'", export.to_xml())
        with open(export.get_path(), encoding='utf-8') as file:
            self.assertEqual(file.read().strip(), export.to_json())
        self.assertEqual([each.get_id() for each in Varve.Export.list(self.state)], [export.get_id()])
        for disk in export.get_disks():
            self.assertEqual((disk.export_name, disk.decision, disk.dirty_context), (disk.name, 'full', None))
            self.assertEqual(self.read(disk.uri), before[disk.name])
        kept = disk.copy()
        self.assertEqual(kept.name, 'vdb')
        kept.free()

        checkpoint = export.get_checkpoint()
        self.assertTrue(export.end(True, None))
        self.assertEqual(Varve.Export.list(self.state), [])
        self.write_disk('vda', 9, 1, 1)
        export = self.begin(checkpoint)
        self.assertEqual(export.get_since(), checkpoint)
        self.assertEqual([disk.decision for disk in export.get_disks()], ['incremental', 'incremental'])
        self.assertTrue(export.get_disks()[0].dirty_context.startswith('qemu:dirty-bitmap:'))
        export.end(False, None)
        self.assertEqual([each.get_name() for each in self.checkpoints().list(None)], [checkpoint])
        with self.assertRaises(GLib.Error) as raised:
            Varve.Export.find(self.state, export.get_id())
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), Varve.Error.NOT_FOUND))

    def test_command(self):
        job, action = self.export_job()
        out = os.path.join(self.directory, 'out')
        action.set_command(f'echo "$VARVE_URI_vda" && exit "$(cat {out}.status)"')
        for status, kept in ((7, 0), (0, 1)):
            with open(out + '.status', 'w', encoding='utf-8') as file:
                file.write(str(status))
            with open(out, 'wb') as file:
                execution = Varve.Run.new(job)
                execution.set_state_directory(self.state)
                execution.set_output(file.fileno())
                if status:
                    with self.assertRaises(GLib.Error):
                        execution.execute(None)
                else:
                    execution.execute(None)
            with open(out, encoding='utf-8') as file:
                self.assertTrue(file.read().startswith('nbd+unix:///vda?socket='))
            self.assertEqual(len(self.checkpoints().list(None)), kept)


class Off(Sessions, machine.Case):
    consistency = 'off'

    def test_calls_make_the_document(self):
        job, action = self.export_job('varve.other')
        action.set_name('vendor')
        action.add_disk('vdb', False)
        action.set_quiesce(True, 30)
        action.set_agent('/run/web01.agent')
        self.assertIn("<quiesce required='yes' timeout='30' agent='/run/web01.agent'/>", job.to_xml())
        # It is for a bare QEMU.
        action.set_agent(None)
        action.set_wait(60)
        action.set_listen('127.0.0.1', 10809)
        action.set_clear_text(True)
        action.set_allow_trim(True)
        text = job.to_xml()
        for part in ("name='vendor'", "owner='acme'", '<incremental>varve.other</incremental>', machine.UUID,
                     "<max-age>600</max-age>", "transport='tcp' name='127.0.0.1' port='10809' tls='no' trim='yes'"):
            self.assertIn(part, text)
        self.assertEqual(Varve.Job.parse(text.encode(), 'calls').to_xml(), text)
        action.set_clear_text(False)
        action.set_credentials('/etc/pki/varve')
        self.assertIn("credentials='/etc/pki/varve'", job.to_xml())

    def test_cancelled_when_it_stands(self):
        """When the run returns, nothing of the session is left."""
        job, action = self.export_job()
        action.set_socket(os.path.join(self.directory, 'published'), 0o600, None)
        cancellable = Gio.Cancellable()

        def tell(event, data):
            if event.type == Varve.EventType.EXPORT_READY:
                cancellable.cancel()
        execution = Varve.Run.new(job)
        execution.set_state_directory(self.state)
        execution.set_event_func(tell, None)
        with self.assertRaises(GLib.Error) as raised:
            execution.execute(cancellable)
        self.assertTrue(raised.exception.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED))
        self.assertEqual(Varve.Export.list(self.state), [])
        self.assertEqual(self.checkpoints().list(None), [])
        self.assertEqual(os.listdir(os.path.join(self.state, 'exports')), [])

    def test_times_of_one_that_waited(self):
        """It waits for a session that comes to its max-age; its own age counts from its instant."""
        job, action = self.export_job()
        action.set_max_age(3)
        action.set_socket(os.path.join(self.directory, 'first'), 0o600, None)
        before = int(time.time())
        self.run_job(job)
        job, action = self.export_job()
        action.set_wait(60)
        action.set_socket(os.path.join(self.directory, 'second'), 0o600, None)
        self.run_job(job)
        second = Varve.Export.list(self.state)[0]
        self.addCleanup(self.end_left_over, second.get_id())
        self.assertGreaterEqual(second.get_started(), before + 3)
        self.assertEqual(second.get_expires() - second.get_started(), 600)
        second.end(False, None)

    def test_host_that_was_killed(self):
        export = self.begin()
        hosts = subprocess.run(['pgrep', '-f', f'varve-export {self.state} {export.get_id()}'], check=True,
                               stdout=subprocess.PIPE).stdout.split()
        self.assertEqual(len(hosts), 1)
        os.kill(int(hosts[0]), 9)
        deadline = time.monotonic() + 10
        while Varve.Export.list(self.state):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assertEqual(self.checkpoints().list(None), [])


class Running(Sessions, machine.RunningCase):
    consistency = 'crash'
