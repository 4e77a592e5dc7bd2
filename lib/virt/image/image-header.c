/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The headers of the images, by qemu-img. Each step over a stopped domain looks at them, mostly at the same ones:
 * so one is kept, until its file changes. What tells a change is what the file system says of the file, as long as
 * it had been at rest when it was read: clocks of file systems tick in up to two seconds, and what changes twice within
 * one tick looks as if it had changed once. */
#include "config.h"
#include "virt/image/image-domain.h"

#include <sys/stat.h>

#include "util/error.h"

#define COARSEST_TICK_S 2

typedef struct {
  VarveImageInfo *info;
  struct stat file; /* before it was read */
} Header;

void
varve_image_header_free (gpointer data)
{
  Header *header = data;

  varve_image_info_free (header->info);
  g_free (header);
}

static bool
is_same_time (const struct timespec *a, const struct timespec *b)
{
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
is_unchanged (const struct stat *before, const struct stat *now)
{
  return before->st_dev == now->st_dev && before->st_ino == now->st_ino &&
         before->st_size == now->st_size && is_same_time (&before->st_mtim, &now->st_mtim) &&
         is_same_time (&before->st_ctim, &now->st_ctim);
}

/* What is written to a block device does not show in its node. */
static bool
is_at_rest (const struct stat *file)
{
  int64_t now = g_get_real_time () / G_USEC_PER_SEC;

  return S_ISREG (file->st_mode) &&
         MAX (file->st_mtim.tv_sec, file->st_ctim.tv_sec) < now - COARSEST_TICK_S;
}

static void
keep (VarveImageDomain *domain, const char *disk, VarveImageInfo *info, const struct stat *file)
{
  Header *header = g_new0 (Header, 1);

  header->info = varve_image_info_ref (info);
  header->file = *file;
  g_hash_table_insert (domain->headers, g_strdup (disk), header);
}

VarveImageInfo *
varve_image_domain_info_now (VarveImageDomain *domain, const char *disk, GCancellable *cancellable,
                             GError **error)
{
  const VarveImage *image = varve_image_domain_image (domain, disk, error);
  struct stat file;
  bool at_rest = image && stat (image->path, &file) == 0 && is_at_rest (&file);
  VarveImageInfo *info = image ? varve_image_info (image, false, cancellable, error) : NULL;

  g_hash_table_remove (domain->headers, disk);
  if (!info)
    varve_prefix (error, "Disk '%s' of domain '%s'", disk, domain->base.name);
  else if (at_rest)
    keep (domain, disk, info, &file);
  return info;
}

VarveImageInfo *
varve_image_domain_info (VarveImageDomain *domain, const char *disk, GCancellable *cancellable,
                         GError **error)
{
  const VarveImage *image = g_hash_table_lookup (domain->images, disk);
  const Header *header = g_hash_table_lookup (domain->headers, disk);
  struct stat now;

  if (image && header && stat (image->path, &now) == 0 && is_unchanged (&header->file, &now))
    return varve_image_info_ref (header->info);
  return varve_image_domain_info_now (domain, disk, cancellable, error);
}

GPtrArray *
varve_image_domain_infos (VarveImageDomain *domain, GPtrArray *disks, GCancellable *cancellable,
                          GError **error)
{
  g_autoptr (GPtrArray) infos =
      g_ptr_array_new_with_free_func ((GDestroyNotify)varve_image_info_free);

  for (guint i = 0; i < disks->len; i++) {
    VarveImageInfo *info =
        varve_image_domain_info (domain, g_ptr_array_index (disks, i), cancellable, error);

    if (!info)
      return NULL;
    g_ptr_array_add (infos, info);
  }
  return g_steal_pointer (&infos);
}
