/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A domain of the real libvirtd of this host, under TCG and without a guest system, for tests of
 * the libvirt driver. Disks: vda and vdc qcow2, vdb raw, hda a CD-ROM. Its "guest" writes through
 * the device's own block backend. */
#pragma once

#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "util/clock.h"
#include "util/durable.h"
#include "util/error.h"
#include "virt/domain.h"

#include "libvirtd.h"
#include "wait.h"

#define SYSTEM "qemu:///system"
#define MIB    (1024 * 1024)

typedef struct {
  char *top;  /* 0711: QEMU's user passes through */
  char *name; /* of the domain */
  VarveDomain *domain;
} Fixture;

/* --- commands
 * ------------------------------------------------------------------------------------- */

static inline bool
run_argv (const char *const *argv, char **out)
{
  g_autofree char *text = NULL;
  g_autofree char *errors = NULL;
  g_autoptr (GError) error = NULL;
  int status = -1;

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text, &errors, &status,
                &error);
  g_assert_no_error (error);
  if (status != 0)
    g_test_message ("%s %s: %s%s", argv[0], argv[1], text, errors);
  if (out)
    *out = g_steal_pointer (&text);
  return status == 0;
}

#define try_run(out, ...) run_argv ((const char *const[]){ __VA_ARGS__, NULL }, out)
#define run(...)          g_assert_true (try_run (NULL, __VA_ARGS__))
#define virsh(...)        run ("virsh", "-q", "-c", SYSTEM, __VA_ARGS__)

/* As the guest would: QEMU's qemu-io command on the disk's own device. */
static inline void
guest_io (Fixture *f, const char *device, const char *command)
{
  g_autofree char *hmp =
      g_strdup_printf ("qemu-io -d /machine/peripheral/%s/virtio-backend \"%s\"", device, command);
  g_autofree char *out = NULL;

  g_assert_true (
      try_run (&out, "virsh", "-q", "-c", SYSTEM, "qemu-monitor-command", f->name, "--hmp", hmp));
  g_assert_null (strstr (out, "rror"));
}

static inline bool
is_zero_range (const char *data, size_t offset, size_t length)
{
  return data[offset] == 0 && memcmp (data + offset, data + offset + 1, length - 1) == 0;
}

static inline void
assert_pattern (const char *data, size_t offset, size_t length, int byte)
{
  for (size_t i = offset; i < offset + length; i++)
    if ((unsigned char)data[i] != byte)
      g_error ("byte %zu is %d, not %d", i, (unsigned char)data[i], byte);
}

/* --- libvirtd
 * ------------------------------------------------------------------------------------- */

static inline void
quiet (void *data, virErrorPtr error)
{
}

static inline bool
have_libvirtd (void)
{
  virSetErrorFunc (NULL, quiet);
  return libvirtd_is_there ();
}

/* --- the domain
 * ----------------------------------------------------------------------------------- */

static inline char *
in_top (Fixture *f, const char *name)
{
  return g_build_filename (f->top, name, NULL);
}

static inline void
make_disks (Fixture *f)
{
  g_autofree char *vda = in_top (f, "vda.qcow2");
  g_autofree char *vdb = in_top (f, "vdb.raw");
  g_autofree char *vdc = in_top (f, "vdc.qcow2");
  g_autofree char *cd = in_top (f, "cd.iso");

  run ("qemu-img", "create", "-q", "-f", "qcow2", vda, "128M");
  run ("qemu-img", "create", "-q", "-f", "raw", vdb, "16M");
  run ("qemu-img", "create", "-q", "-f", "qcow2", vdc, "64M");
  run ("qemu-img", "create", "-q", "-f", "raw", cd, "1M");
}

/* @driver: further attributes of vda's driver. */
static inline char *
domain_document (Fixture *f, const char *driver)
{
  return g_strdup_printf (
      "<domain type='qemu'><name>%s</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
      "<iothreads>1</iothreads><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
      "<emulator>/usr/bin/qemu-system-x86_64</emulator>"
      "<disk type='file' device='disk'><driver name='qemu' type='qcow2' %s/>"
      "<source file='%s/vda.qcow2'/><target dev='vda' bus='virtio'/></disk>"
      "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
      "<source file='%s/vdb.raw'/><target dev='vdb' bus='virtio'/></disk>"
      "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
      "<source file='%s/vdc.qcow2'/><target dev='vdc' bus='virtio'/></disk>"
      "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
      "<source file='%s/cd.iso'/><target dev='hda' bus='ide'/><readonly/></disk>"
      "<memballoon model='none'/></devices></domain>",
      f->name, driver, f->top, f->top, f->top, f->top);
}

static inline void
define_domain (Fixture *f, const char *driver)
{
  g_autofree char *path = in_top (f, "domain.xml");
  g_autofree char *text = domain_document (f, driver);

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  virsh ("define", path);
}

static inline VarveDomain *
open_domain (Fixture *f)
{
  VarveDomainAddress address = { .uri = SYSTEM, .name = f->name };
  g_autoptr (GError) error = NULL;
  VarveDomain *domain = varve_domain_open (&address, NULL, &error);

  g_assert_no_error (error);
  return domain;
}

/* @data: "off" leaves the domain off; "iothread" gives vda one. */
static inline void
set_up (Fixture *f, gconstpointer data)
{
  g_autofree char *suffix = varve_random_hex (4);

  f->top = g_strdup ("/var/tmp/varve-XXXXXX");
  g_assert_nonnull (g_mkdtemp_full (f->top, 0711));
  g_assert_cmpint (chmod (f->top, 0711), ==, 0);
  f->name = g_strconcat ("varve-test-", suffix, NULL);
  make_disks (f);
  define_domain (f, g_strcmp0 (data, "iothread") == 0 ? "iothread='1'" : "");
  if (g_strcmp0 (data, "off") != 0)
    virsh ("start", f->name);
  f->domain = open_domain (f);
}

static inline void
tear_down (Fixture *f, gconstpointer data)
{
  try_run (NULL, "virsh", "-q", "-c", SYSTEM, "destroy", f->name);
  virsh ("undefine", f->name, "--checkpoints-metadata");
  varve_domain_free (f->domain);
  g_assert_true (varve_remove_tree (f->top, NULL));
  g_free (f->name);
  g_free (f->top);
}

/* --- starts
 * --------------------------------------------------------------------------------------- */

static inline VarveStart *
new_start (Fixture *f, const char *checkpoint)
{
  g_autofree char *session = varve_random_hex (8);
  VarveStart *start = varve_start_new (session);

  start->checkpoint = g_strdup (checkpoint);
  start->description = g_strdup ("of a test");
  start->directory = in_top (f, session);
  g_assert_cmpint (g_mkdir (start->directory, 0700), ==, 0);
  return start;
}

static inline VarveStartDisk *
add_disk (Fixture *f, VarveStart *start, const char *name, const char *since)
{
  VarveStartDisk *disk = varve_start_add_disk (start, name);

  disk->since = g_strdup (since);
  disk->checkpoint = start->checkpoint && strcmp (name, "vdb") != 0;
  disk->scratch = g_strdup_printf ("%s/%s-%s.scratch", f->top, start->session, name);
  return disk;
}

static inline VarveSnapshot *
begin (Fixture *f, const VarveStart *start)
{
  g_autoptr (GError) error = NULL;
  VarveSnapshot *snapshot = NULL;
  uint64_t pause_us = 0;

  varve_domain_start (f->domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (snapshot);
  return snapshot;
}

/* The start fails with @code, and leaves neither job, checkpoint nor files. */
static inline char *
begin_fails (Fixture *f, const VarveStart *start, VarveError code)
{
  g_autoptr (GError) error = NULL;
  VarveSnapshot *snapshot = NULL;
  uint64_t pause_us = 0;

  g_assert_false (varve_domain_start (f->domain, start, &snapshot, &pause_us, NULL, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VARVE_ERROR, (int)code);
  g_assert_null (snapshot);
  return g_strdup (error->message);
}

static inline void
finish_and_end (VarveSnapshot *snapshot)
{
  g_autoptr (GError) error = NULL;

  varve_snapshot_finish (snapshot, NULL, &error);
  g_assert_no_error (error);
  varve_snapshot_end (snapshot, false, NULL, &error);
  g_assert_no_error (error);
}

/* --- what is there
 * -------------------------------------------------------------------------------- */

/* A whole disk through its endpoint, by an independent reader. (transfer full) */
static inline char *
read_disk (Fixture *f, VarveSnapshot *snapshot, const char *disk, size_t *out_length)
{
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autofree char *path = in_top (f, "copy.raw");
  g_autoptr (GError) error = NULL;
  char *data = NULL;

  varve_snapshot_endpoint (snapshot, disk, &endpoint, NULL, &error);
  g_assert_no_error (error);
  run ("nbdcopy", endpoint.uri, path);
  g_assert_true (g_file_get_contents (path, &data, out_length, NULL));
  g_assert_cmpint (g_unlink (path), ==, 0);
  return data;
}

/* nbdinfo's map of the dirty context. (transfer full) */
static inline char *
dirty_map (VarveSnapshot *snapshot, const char *disk)
{
  g_auto (VarveEndpoint) endpoint = { 0 };
  g_autofree char *option = NULL;
  char *out = NULL;

  g_assert_true (varve_snapshot_endpoint (snapshot, disk, &endpoint, NULL, NULL));
  g_assert_nonnull (endpoint.dirty_context);
  option = g_strconcat ("--map=", endpoint.dirty_context, NULL);
  g_assert_true (try_run (&out, "nbdinfo", option, endpoint.uri));
  return out;
}

static inline GPtrArray *
bitmaps_of (Fixture *f)
{
  g_autoptr (GError) error = NULL;
  GPtrArray *bitmaps = NULL;

  varve_domain_bitmaps (f->domain, &bitmaps, NULL, &error);
  g_assert_no_error (error);
  return bitmaps;
}

static inline void
assert_bitmap (Fixture *f, const char *disk, const char *name, bool sound, uint64_t dirty)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_of (f);
  const VarveBitmap *bitmap = varve_bitmap_find (bitmaps, disk, name);

  g_assert_nonnull (bitmap);
  g_assert_cmpint (bitmap->inconsistent, ==, !sound);
  if (sound)
    g_assert_true (bitmap->recording);
  g_assert_true (bitmap->persistent);
  g_assert_cmpuint (bitmap->dirty, ==, dirty);
  g_assert_cmpuint (bitmap->granularity, ==, 65536);
}

static inline void
assert_no_bitmap (Fixture *f, const char *name)
{
  g_autoptr (GPtrArray) bitmaps = bitmaps_of (f);

  for (guint i = 0; i < bitmaps->len; i++)
    g_assert_cmpstr (((VarveBitmap *)g_ptr_array_index (bitmaps, i))->name, !=, name);
}

static inline void
remove_checkpoint (Fixture *f, const char *name)
{
  g_autoptr (GError) error = NULL;

  varve_domain_checkpoint_remove (f->domain, name, NULL, &error);
  g_assert_no_error (error);
}

/* libvirt's own view. */
static inline bool
libvirt_has_checkpoint (Fixture *f, const char *name)
{
  return try_run (NULL, "virsh", "-q", "-c", SYSTEM, "checkpoint-info", f->name, name);
}

static inline bool
libvirt_has_backup (Fixture *f)
{
  return try_run (NULL, "virsh", "-q", "-c", SYSTEM, "backup-dumpxml", f->name);
}

/* Socket directory and scratch hold nothing of the session. */
static inline void
assert_no_files (const VarveStart *start)
{
  g_autoptr (GDir) dir = g_dir_open (start->directory, 0, NULL);

  g_assert_cmpstr (dir ? g_dir_read_name (dir) : NULL, ==, NULL);
  for (guint i = 0; i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    g_assert_false (g_file_test (disk->scratch, G_FILE_TEST_EXISTS));
  }
}

static inline void
kill_qemu (Fixture *f)
{
  g_autofree char *path = g_strdup_printf ("/run/libvirt/qemu/%s.pid", f->name);
  g_autofree char *pid = NULL;
  VarveDomainState state = VARVE_DOMAIN_RUNNING;
  gint64 number;

  g_assert_true (g_file_get_contents (path, &pid, NULL, NULL));
  /* Never 0, which would be our own process group. */
  g_assert_true (g_ascii_string_to_signed (g_strchomp (pid), 10, 2, G_MAXINT32, &number, NULL));
  g_assert_cmpint (kill ((pid_t)number, SIGKILL), ==, 0);
  wait_until (varve_domain_state (f->domain, &state, NULL, NULL) && state == VARVE_DOMAIN_OFF);
}

#define add_test(path, data, func)                                                                 \
  g_test_add ("/libvirt/" path, Fixture, data, set_up, func, tear_down)
