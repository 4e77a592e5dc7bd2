/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The images store's own names, shared by its files:
 *
 *   STORE/varve-store.xml                  uuid, format
 *   STORE/NAME-uuid8/BACKUP.partial/       being written; renamed, never replacing, to
 *   STORE/NAME-uuid8/BACKUP/               complete: manifest.xml DISK.qcow2 DISK.sums domain.xml
 * nvram STORE/NAME-uuid8/BACKUP.deleted/       being removed
 *
 * Writers and removers of one domain's directory hold flock(2) on it; who holds a backup (VarveStoreOps) shares one on
 * the backup's directory, which who removes it must have alone.
 */
#pragma once

#include "store/images/sums.h"
#include "store/store.h"

typedef struct {
  VarveStoreImpl impl;
  char *root; /* absolute */
} VarveImagesStore;

/* A backup that is being written. */
typedef struct {
  VarveStoreWrite write;
  char *final;   /* STORE/NAME-uuid8/BACKUP */
  char *partial; /* …/BACKUP.partial */
  GPtrArray *layers;
  int lock;
  bool committed;
} VarveImagesWrite;

#define VARVE_IMAGES_PARTIAL ".partial"
#define VARVE_IMAGES_DELETED ".deleted"

/* The directory of a domain: the one that holds its backups, else the one that a new backup gets.
 * (transfer full) */
char *varve_images_domain_directory (VarveImagesStore *store, const char *domain, const char *uuid);
/* STORE/NAME-uuid8/BACKUP (transfer full) */
char *varve_images_backup_directory (VarveImagesStore *store, const VarveManifest *manifest);

/* The directory of the store that @path would lie in; NULL: in none. (transfer full) */
char *varve_images_store_around (const char *path);

/* flock on a domain's directory: a descriptor, or -1 with VARVE_ERROR_BUSY when another has it. */
int varve_images_lock (const char *directory, GError **error);

bool varve_images_list (VarveStoreImpl *impl, GPtrArray **out_manifests, GPtrArray *problems,
                        GCancellable *cancellable, GError **error);

/* read.c */
bool varve_images_read (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                        VarveStoreRead **out, GCancellable *cancellable, GError **error);
bool varve_images_difference (VarveStoreImpl *impl, const VarveManifest *from,
                              const VarveManifest *to, const char *disk, VarveStoreRead **out,
                              GCancellable *cancellable, GError **error);
/* One image with its chain. @links: layers, for the size of QEMU's caches. */
bool varve_images_read_file (const char *path, const char *disk, unsigned links,
                             VarveStoreRead **out, GCancellable *cancellable, GError **error);
/* The same as QEMU reads it, or (@alone) only what this layer holds: then what it does not hold is
 * clean. */
bool varve_images_read_by_qemu (const char *path, const char *disk, unsigned links, bool alone,
                                VarveStoreRead **out, GCancellable *cancellable, GError **error);
bool varve_images_check_base (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                              GCancellable *cancellable, GError **error);

/* One layer against the manifest: its file is there, of the right size, with the right header and link. */
bool varve_images_check_layer (const char *path, const char *backup, const VarveManifestDisk *layer,
                               GError **error);

/* adopt.c */
bool varve_images_add_target (VarveStoreWrite *write, VarveManifestDisk *disk,
                              const VarveManifest *base, VarveStoreTarget *out,
                              GCancellable *cancellable, GError **error);
bool varve_images_adopt_disk (VarveStoreWrite *write, VarveManifestDisk *disk, bool read_back,
                              BlockTickFunc tick, gpointer tick_data, GCancellable *cancellable,
                              GError **error);

/* write.c */
/* What a layer of @disk on @base (NULL: a full one) is called, and what it links to: fills in file, base and links.
 * *@out_backing (transfer full) is NULL without a base. */
void varve_images_name_layer (VarveManifestDisk *disk, const VarveManifest *base,
                              char **out_backing);
/* The name of its sums is filled in where it has none. */
void varve_images_name_sums (VarveManifestDisk *disk);
bool varve_images_begin (VarveStoreImpl *impl, const char *domain, const char *uuid,
                         const char *backup, VarveStoreWrite **out, GCancellable *cancellable,
                         GError **error);
bool varve_images_add_disk (VarveStoreWrite *write, VarveManifestDisk *disk,
                            const VarveManifest *base, BlockSink **out_sink, BlockSumFunc *out_sum,
                            gpointer *out_sum_data, GCancellable *cancellable, GError **error);
bool varve_images_finish_disk (VarveStoreWrite *write, VarveManifestDisk *disk,
                               GCancellable *cancellable, GError **error);
bool varve_images_flatten_disk (VarveStoreWrite *write, VarveManifestDisk *disk, BlockTickFunc tick,
                                gpointer tick_data, GCancellable *cancellable, GError **error);
bool varve_images_add_file (VarveStoreWrite *write, const char *name, GBytes *data, GError **error);
bool varve_images_commit (VarveStoreWrite *write, const VarveManifest *manifest,
                          GCancellable *cancellable, GError **error);
void varve_images_write_free (VarveStoreWrite *write);

/* verify.c */
bool varve_images_verify (VarveStoreImpl *impl, const VarveManifest *manifest, const char *disk,
                          BlockTickFunc tick, gpointer tick_data, GPtrArray *problems,
                          GCancellable *cancellable, GError **error);
