# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
"""Jobs: made by calls, read from documents, checked, and what is wrong with them told as errors."""

import os

from gi.repository import GLib, Varve

import machine

DOCUMENT = b"""<job name='nightly'>
  <backup name='web' owner='night'>
    <domain uri='qemu:///system'>web01</domain>
    <target><images directory='/srv/backup'/></target>
  </backup>
  <restore name='proof'>
    <backup store='images:/srv/backup'>web01@latest</backup>
  </restore>
</job>
"""


class Job(machine.Case):

    def test_calls_make_the_document(self):
        job = Varve.Job.new('nightly')
        action = job.add_backup('web01', 'qemu:///system', 'images:/srv/backup')
        action.set_name('web')
        action.set_owner('night')
        action.set_incremental('never')
        action.set_mode('push')
        action.set_verify(False)
        action.set_fleece(True)
        action.set_compress(True)
        action.set_requests(16, 1024)
        action.add_disk('vdb', False)
        action.set_quiesce(True, 30)
        action.set_speed(50 * machine.MIB)
        action.set_wait(60)
        action.set_scratch('/srv/scratch', machine.MIB)
        action.set_server('kvm1', 10810, '/etc/varve/tls')
        stopped = job.add_backup('web02', 'image:', 'images:/srv/backup')
        stopped.set_uuid(machine.UUID)
        stopped.set_image('vda', '/srv/vda.qcow2', 'qcow2', None)
        bare = job.add_backup('web03', 'qmp+unix:///run/web03.qmp', 'images:/srv/backup')
        bare.set_quiesce(False, 30)
        bare.set_agent('/run/web03.agent')
        copies = job.add_backup('web04', 'qemu:///system', None)
        copies.set_target('vda', '/mnt/usb/vda.qcow2', 'qcow2')
        copies.set_target('vdb', 'nbd://copies.example/vdb', None)
        copies.set_force(True)
        restore = job.add_restore('images:/srv/backup', 'web01@latest')
        restore.set_name('proof')
        restore.add_disk('vda', '/srv/vda.raw', None)
        restore.set_directory('/srv/restored', 'qcow2')
        restore.set_define('web04', 'qemu:///session')
        restore.set_force(True)
        over = job.add_restore('images:/srv/backup', 'web01@latest')
        over.add_disk('vda', 'nbd+unix:///disk?socket=/run/disk.nbd', None)
        over.set_over(True)
        instant = job.add_restore('images:/srv/backup', 'vm1@latest')
        instant.add_disk('vda', '/srv/vm1/vda.qcow2', 'qcow2')
        instant.set_instant(True, 'qmp+unix:///run/vm1.qmp', 100 * machine.MIB)
        revert = job.add_revert('web01', 'image:', 'images:/srv/backup', 'web01@latest')
        revert.set_name('undo')
        revert.set_owner('night')
        revert.set_uuid(machine.UUID)
        revert.add_disk('vdc', False)
        revert.set_image('vda', '/srv/a.qcow2', 'qcow2', None)
        revert.set_wait(30)
        revert.set_keep(False)
        revert.set_dry_run(True)
        revert.set_restart(True)
        verify = job.add_verify('images:/srv/backup', None)
        verify.set_name('sums')
        boot = job.add_verify('images:/srv/backup', 'web01@latest')
        boot.set_boot(90)
        boot.set_console('web01 login:')
        boot.set_screenshot('/srv/web01.png')
        boot.set_memory(512 * machine.MIB)
        mounted = job.add_verify('images:/srv/backup', 'web02@latest')
        mounted.set_boot(0)
        mounted.set_mounted('/srv')
        self.assertEqual(job.get_name(), 'nightly')
        self.assertEqual([type(action) for action in job.get_actions()],
                         [Varve.BackupAction] * 4 + [Varve.RestoreAction] * 3 + [Varve.RevertAction] +
                         [Varve.VerifyAction] * 3)

        text = job.to_xml()
        for part in ("name='web'", "owner='night'", '<incremental>never</incremental>', machine.UUID,
                     "<mode verify='no' compress='yes' workers='16' chunk='1024'>push</mode>", '<fleece/>',
                     "file='/srv/vda.qcow2'", "timeout='30'", "name='proof'", 'web01@latest', '/srv/vda.raw',
                     "scratch-limit='1' unit='MiB'", "directory='/srv/scratch'", "agent='/run/web03.agent'",
                     "name='kvm1' port='10810'", "<define uri='qemu:///session'>web04</define>",
                     "over='yes'", "nbd='nbd+unix:///disk?socket=/run/disk.nbd'",
                     "<revert dry-run='yes' keep='no' restart='yes' name='undo' owner='night'>", "<wait>30</wait>",
                     "file='/srv/a.qcow2'", "<disks force='yes'>", "<target nbd='nbd://copies.example/vdb'/>",
                     "<target file='/mnt/usb/vda.qcow2' format='qcow2'/>", "<verify name='sums'>",
                     "<boot timeout='90'>", '<console>web01 login:</console>', "<screenshot file='/srv/web01.png'/>",
                     "<memory unit='MiB'>512</memory>", '<mounted>/srv</mounted>',
                     "<instant uri='qmp+unix:///run/vm1.qmp'/>", "<speed unit='MiB'>100</speed>"):
            self.assertIn(part, text)
        self.assertEqual(Varve.Job.parse(text.encode(), 'calls').to_xml(), text)

        path = os.path.join(self.directory, 'job.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        self.assertEqual(Varve.Job.load(path).to_xml(), text)
        self.assertEqual(self.validate(path), [])

    def validate(self, path):
        schema = os.path.join(os.environ['VARVE_SRCDIR'], 'xml-schemas', 'job.rng')
        made, problems = Varve.Job.validate(path, schema)
        self.assertTrue(made)
        return problems

    def test_none_takes_back(self):
        job, action = self.backup_job()
        before = job.to_xml()
        for setter, value in ((action.set_name, 'web'), (action.set_owner, 'night'), (action.set_incremental, 'never'),
                              (action.set_mode, 'push')):
            setter(value)
            self.assertNotEqual(job.to_xml(), before)
            setter(None)
            self.assertEqual(job.to_xml(), before)

    def test_wrong_document(self):
        text = DOCUMENT.replace(b'<target>', b'<aim>').replace(b'</target>', b'</aim>')
        with self.assertRaises(GLib.Error) as raised:
            Varve.Job.parse(text, 'wrong.xml')
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), Varve.Error.DOCUMENT))
        self.assertRegex(raised.exception.message, r'^wrong\.xml:\d+: ')

        path = os.path.join(self.directory, 'wrong.xml')
        with open(path, 'wb') as file:
            file.write(text)
        problems = self.validate(path)
        self.assertGreater(len(problems), 0)
        self.assertTrue(problems[0].startswith(path + ':'), problems[0])

    def test_none_where_a_text_is_wanted(self):
        with self.assertRaises(TypeError):
            Varve.Job.new(None)
        with self.assertRaises(TypeError):
            self.backup_job()[0].add_restore(self.store, None)

    def test_made_without_constructor(self):
        for kind in (Varve.Job, Varve.Run, Varve.Store, Varve.Backup, Varve.BackupAction, Varve.RestoreAction,
                     Varve.RevertAction, Varve.VerifyAction):
            kind()
        with self.assertRaises(GLib.Error) as raised:
            Varve.Run().execute(None)
        self.assertTrue(raised.exception.matches(Varve.Error.quark(), Varve.Error.USAGE))
        self.assertEqual(Varve.Job().get_actions(), [])
        Varve.BackupAction().set_image('vda', '/srv/vda.qcow2', 'qcow2', None)
