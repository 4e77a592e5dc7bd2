/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Bitmaps of block nodes, by the monitor of a QEMU or a storage daemon: what both the driver of a
 * running domain and that of stopped images say and ask. */
#pragma once

#include "qemu/qmp.h"
#include "virt/inventory.h"
#include "virt/merge-plan.h"

#define VARVE_BITMAP_GRANULARITY 65536u

/* query-named-block-nodes, flat: node name → JsonObject. (transfer full) */
GHashTable *varve_qemu_nodes (VarveQmp *qmp, GCancellable *cancellable, GError **error);
/* Adds the bitmaps of a node to @out (of VarveBitmap) as those of @disk. @node may be NULL. Jobs and
 * filters have bitmaps without a name, which are their own business. */
void varve_qemu_node_bitmaps (JsonObject *node, const char *disk, GPtrArray *out);

/* Actions for one transaction. */
void varve_qemu_add_bitmap (JsonArray *actions, const char *node, const char *name,
                            bool persistent);
void varve_qemu_remove_bitmap (JsonArray *actions, const char *node, const char *name);
/* The whole of @disk's part: @into records first, then gets the others, then they go. */
void varve_qemu_merge_bitmaps (JsonArray *actions, const char *node, const char *into,
                               const VarveMergeDisk *disk);
/* Makes them (transfer full) at one instant, all or none; nothing for no actions. Is not cancelled
 * half way. */
bool varve_qemu_transact (VarveQmp *qmp, JsonArray *actions, GError **error);

/* A disabled bitmap @map on @node that has what @bitmaps have (transfer full; names of bitmaps of that node, or objects
 * with node and name). */
bool varve_qemu_merge_map (VarveQmp *qmp, const char *node, const char *map, JsonArray *bitmaps,
                           GCancellable *cancellable, GError **error);

/* What was said yes to, read back. @bitmaps: as they are now. */
bool varve_qemu_check_added (GPtrArray *bitmaps, const char *disk, const char *name,
                             bool persistent, GError **error);
/* @before: as they were. */
bool varve_qemu_check_merged (GPtrArray *bitmaps, GPtrArray *before, const char *into,
                              const VarveMergeDisk *disk, GError **error);
