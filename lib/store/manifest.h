/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What a manifest says of a backup, as plain data: the same for every kind of store. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <gio/gio.h>

typedef struct {
  char *name;
  uint64_t size;
  char *source_format; /* of the guest's disk */
  char *decision;      /* "full", "incremental", "rescan" */
  char *reason;
  char *base;         /* backup id that this layer builds on, or NULL */
  unsigned links;     /* layers down to the full one, 1 for that */
  bool checkpoint;    /* has the backup's bitmap */
  char *file;         /* "vda.qcow2" */
  uint64_t file_size; /* bytes: part of the cheap check */
  char *sums_file;    /* "vda.sums", or NULL: sums='none' */
  char *sums_hash;    /* 32 hex: XXH3-128 of the sums file */
  uint64_t read, stored, zeroed;
} VarveManifestDisk;

/* Beside the disks: what makes the machine. */
typedef struct {
  char *name; /* "domain.xml", "nvram", "tpm" */
  uint64_t size;
  char *hash; /* 32 hex: XXH3-128 */
} VarveManifestFile;

typedef struct {
  char *id;
  char *domain;
  char *uuid;
  char *uri;
  char *owner;
  char *checkpoint; /* the bitmaps' name, or NULL */
  char *strategy;
  char *consistency;         /* "crash", "file-systems", "off" */
  int64_t started, finished; /* unix seconds */
  uint64_t pause_us;
  bool has_domain_xml, has_nvram, has_tpm;
  char *why_not_xml; /* or NULL */
  GPtrArray *files;  /* of VarveManifestFile */
  GPtrArray *notes;  /* of char*: promises that were weaker, and why */
  GPtrArray *disks;  /* of VarveManifestDisk */
} VarveManifest;

VarveManifest *varve_manifest_new (const char *id);
VarveManifest *varve_manifest_ref (VarveManifest *manifest);
void varve_manifest_unref (VarveManifest *manifest);
VarveManifestDisk *varve_manifest_add_disk (VarveManifest *manifest, const char *name);
VarveManifestDisk *varve_manifest_find_disk (const VarveManifest *manifest, const char *name);

VarveManifestFile *varve_manifest_add_file (VarveManifest *manifest, const char *name);
/* With the size and the sum of @data. */
void varve_manifest_sum_file (VarveManifest *manifest, const char *name, GBytes *data);
/* What a store gives as file @name against that; one that no sum is known of passes. VARVE_ERROR_STORE_DAMAGED. */
bool varve_manifest_check_file (const VarveManifest *manifest, const char *name, GBytes *data,
                                GError **error);

/* XML, format of docs/man/varve-images.pod. Parsing is as strict as for documents from outside. */
char *varve_manifest_format (const VarveManifest *manifest);
VarveManifest *varve_manifest_parse (const char *data, size_t length, const char *name,
                                     GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveManifest, varve_manifest_unref)
