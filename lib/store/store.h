/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The inside of a store: what a run, a restore and the plan ask of it. VarveStore (public) is a
 * thin object around one of these. */
#pragma once

#include "block/copy.h"
#include "store/manifest.h"
#include "store/varve-store.h"

/* What is kept beside the disks is the firmware's variables at most: AAVMF's, the largest in use, have 64 MiB. */
#define VARVE_STORE_FILE_MAX (64 * 1024 * 1024)

typedef struct VarveStoreImpl VarveStoreImpl;
typedef struct VarveStoreWrite VarveStoreWrite;
typedef struct VarveStoreRead VarveStoreRead;

/* One disk of one backup, opened for reading: all layers together, or one alone. */
struct VarveStoreRead {
  BlockSource *source; /* owned by the reader */
  bool has_helper;     /* a thread and a process are behind it, and end with the opening thread */
  GDestroyNotify release;
  gpointer data;
};

/* What QEMU writes itself. */
typedef struct {
  char *path; /* absolute */
  char *root; /* NULL, or the first of the directories above @path that are the store's */
  bool raw;   /* else an empty qcow2 image */
  bool device;
  bool in_place; /* it was there already, and stays who it belongs to */
} VarveStoreTarget;

typedef struct {
  const char *name;
  size_t size;

  /* All complete backups, oldest first; @problems (may be NULL) gets a sentence for each that
   * cannot be read. */
  bool (*list) (VarveStoreImpl *, GPtrArray **out_manifests, GPtrArray *problems, GCancellable *,
                GError **);

  /* The cheap check before a layer serves as a base: its files and those of every layer below are
   * there, of the right size, with the right header and links. Fails with the reason. */
  bool (*check_base) (VarveStoreImpl *, const VarveManifest *, const char *disk, GCancellable *,
                      GError **);

  /* Any range of one disk of one backup, and where it has data, at random. */
  bool (*read) (VarveStoreImpl *, const VarveManifest *, const char *disk, VarveStoreRead **out,
                GCancellable *, GError **);
  /* The same, with another map: clean is where @from, an older or a younger backup of the domain, is
   * known to have the same bytes; told by the store's own books, without reading data. The rest may
   * differ, and what lies behind the end of a smaller @from does. *@out NULL: the books do not tell;
   * then both are to be read. */
  bool (*difference) (VarveStoreImpl *, const VarveManifest *from, const VarveManifest *to,
                      const char *disk, VarveStoreRead **out, GCancellable *, GError **);

  /* --- writing: a transaction of its own; nothing is visible before commit ------------------- */
  bool (*begin) (VarveStoreImpl *, const char *domain, const char *uuid, const char *backup,
                 VarveStoreWrite **out, GCancellable *, GError **);
  /* The sink of one disk's layer, on @base (NULL: a full one), and what the engine is to call with
   * the sums. @disk's file members are filled in; sink and data stay owned by the transaction. */
  bool (*add_disk) (VarveStoreWrite *, VarveManifestDisk *disk, const VarveManifest *base,
                    BlockSink **out_sink, BlockSumFunc *out_sum, gpointer *out_sum_data,
                    GCancellable *, GError **);
  /* All that came for this disk is complete: flushes image and sums, and fills in file_size,
   * sums_hash. */
  bool (*finish_disk) (VarveStoreWrite *, VarveManifestDisk *disk, GCancellable *, GError **);
  /* For a layer that QEMU writes itself: an empty image on @base, complete, in the place of the layer. @disk's file
   * members are filled in. */
  bool (*add_target) (VarveStoreWrite *, VarveManifestDisk *disk, const VarveManifest *base,
                      VarveStoreTarget *out, GCancellable *, GError **);
  /* Behind add_target for all disks, now that QEMU has opened what they consist of: whether what was made then may still
   * take the place that it is for. NULL: it may. */
  bool (*check_targets) (VarveStoreWrite *, GError **);
  /* In place of finish_disk, once QEMU has closed that image: it is made durable and ours, held against what it was made
   * as, and (@read_back) what it holds, and nothing below it, is read to write its sums. Without that it has none
   * (sums_file is NULL). Fills in what finish_disk does, and stored and zeroed. */
  bool (*adopt_disk) (VarveStoreWrite *, VarveManifestDisk *disk, bool read_back,
                      BlockTickFunc tick, gpointer tick_data, GCancellable *, GError **);
  /* Replaces a finished increment within the transaction by a full layer made of it and its chain.
   */
  bool (*flatten_disk) (VarveStoreWrite *, VarveManifestDisk *disk, BlockTickFunc tick,
                        gpointer tick_data, GCancellable *, GError **);
  /* Of at most VARVE_STORE_FILE_MAX bytes. */
  bool (*add_file) (VarveStoreWrite *, const char *name, GBytes *data, GError **);
  /* Manifest, directory, rename, parent; in this order, each durable. */
  bool (*commit) (VarveStoreWrite *, const VarveManifest *, GCancellable *, GError **);
  /* Without commit: everything is removed. */
  void (*write_free) (VarveStoreWrite *);

  /* --- keeping ---------------------------------------------------------------------------------
   */
  bool (*verify) (VarveStoreImpl *, const VarveManifest *, const char *disk, BlockTickFunc tick,
                  gpointer tick_data, GPtrArray *problems, GCancellable *, GError **);
  /* VARVE_ERROR_BUSY as long as somebody holds it. */
  bool (*delete) (VarveStoreImpl *, const VarveManifest *, GCancellable *, GError **);
  /* For who needs a backup longer than its files are open, as a server does that may be started again: a descriptor, until
   * which is closed nobody deletes it; -1 with VARVE_ERROR_BUSY when it is being deleted. */
  int (*hold) (VarveStoreImpl *, const VarveManifest *, GError **);
  /* What add_file put there. One that is not there, or is not of the sum that the manifest has, is
   * VARVE_ERROR_STORE_DAMAGED: who asks has seen in the manifest that it is. */
  bool (*read_file) (VarveStoreImpl *, const VarveManifest *, const char *name, GBytes **out,
                     GError **);
  char *(*directory) (VarveStoreImpl *, const VarveManifest *);
  /* Whether @path lies inside the store: such a path is never a restore target. */
  bool (*contains) (VarveStoreImpl *, const char *path);
  void (*free) (VarveStoreImpl *);
} VarveStoreOps;

struct VarveStoreImpl {
  const VarveStoreOps *ops;
  char *uri;  /* STORE as given; NULL: targets of the disks' own */
  char *uuid; /* of the store */
};

struct VarveStoreWrite {
  VarveStoreImpl *store; /* borrowed */
  char *backup;
};

/* @create: make the store if the directory is absent or empty. */
VarveStoreImpl *varve_store_impl_open (const char *store, bool create, GError **error);
void varve_store_impl_free (VarveStoreImpl *impl);
VarveStoreImpl *varve_store_get_impl (VarveStore *store);
/* (transfer none) */
const VarveManifest *varve_backup_manifest (VarveBackup *backup);

/* Whether it keeps backups by name, for others to build on: targets of the disks' own are written, and forgotten. */
bool varve_store_impl_keeps (const VarveStoreImpl *impl);

/* Whether nobody is in want of that backup: asked of all that are to go, before the first of them does. */
typedef bool (*VarveStoreMayGo) (const char *backup, gpointer data, GError **error);
/* What varve_store_delete() says, for whom @may_go is what the store itself cannot know. */
bool varve_store_remove (VarveStore *store, VarveBackup *backup, bool with_dependents,
                         VarveStoreMayGo may_go, gpointer data, GPtrArray **out_deleted,
                         GCancellable *cancellable, GError **error);

void varve_store_target_clear (VarveStoreTarget *target);
void varve_store_read_free (VarveStoreRead *read);
void varve_store_write_free (VarveStoreWrite *write);

/* NULL when there is none. */
VarveManifest *varve_manifests_find (GPtrArray *manifests, const char *id);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveStoreTarget, varve_store_target_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStoreImpl, varve_store_impl_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStoreRead, varve_store_read_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveStoreWrite, varve_store_write_free)

VarveStoreImpl *varve_images_store_open (const char *directory, bool create, GError **error);
