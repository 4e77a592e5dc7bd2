/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The images of a machine that is off, as a domain. */
#pragma once

#include "machine.h"

static inline void
add_image (GHashTable *images, const Machine *machine, const char *disk, const char *file,
           const char *format)
{
  g_autofree char *path = path_in (machine, file);
  g_autofree char *key = g_str_equal (format, "luks") ? path_in (machine, "key") : NULL;

  g_hash_table_insert (images, g_strdup (disk), varve_image_new (path, format, key));
}

static inline GHashTable *
two_images (const Machine *machine)
{
  GHashTable *images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);

  add_image (images, machine, "vda", "a.qcow2", "qcow2");
  add_image (images, machine, "vdb", "b.qcow2", "qcow2");
  return images;
}

static inline VarveDomain *
open_images (GHashTable *images)
{
  VarveDomainAddress address = { .uri = "image:", .name = "vm1", .images = images };
  g_autoptr (GError) error = NULL;
  VarveDomain *domain = varve_domain_open (&address, NULL, &error);

  g_assert_no_error (error);
  return domain;
}

static inline VarveDomain *
open_two (const Machine *machine)
{
  g_autoptr (GHashTable) images = two_images (machine);

  return open_images (images);
}

static inline VarveStart *
start_of_images (const Machine *machine, const char *checkpoint, const char *since)
{
  VarveStart *start = make_start (machine, "0123456789abcdef", checkpoint, since);

  for (guint i = 0; i < start->disks->len; i++)
    g_clear_pointer (&((VarveStartDisk *)start->disks->pdata[i])->scratch, g_free);
  return start;
}

static inline void
write_offline (const Machine *machine, const char *file, unsigned pattern, guint block)
{
  g_autofree char *path = path_in (machine, file);
  g_autofree char *line = g_strdup_printf ("write -q -P %u %u %u", pattern, block * BLOCK, BLOCK);
  const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", line, path, NULL };
  g_autoptr (GError) error = NULL;
  int status = 0;

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

static inline void
assert_no_files (const Machine *machine)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);

  list_files (lines, machine->scratch);
  list_files (lines, machine->sockets);
  g_assert_cmpuint (lines->len, ==, 0);
}

static inline VarveSnapshot *
start_or_fail (VarveDomain *domain, const VarveStart *start)
{
  VarveSnapshot *snapshot = NULL;
  g_auto (VarveSnapshotStatus) status = { 0 };
  g_autoptr (GError) error = NULL;
  uint64_t pause_us = 1;

  varve_domain_start (domain, start, &snapshot, &pause_us, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pause_us, ==, 0);
  varve_snapshot_poll (snapshot, &status, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status.state, ==, VARVE_SNAPSHOT_ALIVE);
  return snapshot;
}

static inline void
finish_and_end (VarveSnapshot *snapshot)
{
  g_autoptr (GError) error = NULL;

  varve_snapshot_finish (snapshot, NULL, &error);
  g_assert_no_error (error);
  for (int i = 0; i < 2; i++) {
    varve_snapshot_end (snapshot, false, NULL, &error);
    g_assert_no_error (error);
  }
}
