/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A new domain, made of the definition that a backup keeps and of disks that are restored from it.
 *
 *   prepare: the host is asked for all that the domain needs, and nothing is changed
 *   (the disks are restored)
 *   finish: firmware variables and TPM state written, domain defined; it is not started
 *
 * It can live beside the domain that was backed up: name, uuid and MAC addresses are its own, and it has no disk that was not
 * restored for it. Or it is that domain, which is not there any more. */
#pragma once

#include "virt/inventory.h"

typedef struct {
  const char *disk;
  const char *path; /* absolute */
  const char *format;
  bool device; /* a block device, not a file */
} VarveNewDisk;

typedef struct {
  const char *uri;  /* of a libvirt on this host */
  const char *xml;  /* the definition that a backup keeps */
  const char *name; /* the new domain's, which nobody has */
  /* NULL: a new one. Else it is the domain that was backed up, come back, with its uuid and addresses. */
  const char *uuid;
  GArray *disks;  /* of VarveNewDisk */
  bool has_nvram; /* the backup has the contents of its firmware's variables */
  bool has_tpm;   /* and what its TPM remembers */
  bool replace;   /* of files that are there already: they may be overwritten */
} VarveNewDomain;

typedef struct {
  char *uri;
  char *name;
  char *uuid;
  char *xml;
  char *nvram; /* path that the firmware's variables go to, or NULL */
  char *tpm;   /* the same of what the TPM remembers */
  bool replace;
  GPtrArray *notes; /* of char *, sentences: what is not as it was */
} VarveDefinition;

/* NULL: the host cannot have it, or not so, with what to do (VARVE_ERROR_REFUSED, VARVE_ERROR_UNSUPPORTED). */
VarveDefinition *varve_define_prepare (const VarveNewDomain *wanted, GCancellable *cancellable,
                                       GError **error);
/* As if finish had not been, with @nvram and @tpm (or NULL) as the paths of what it was to write where nothing was. Leaves a
 * domain that runs, or does not have the disk @path, and its files; one that is not there is no error. */
bool varve_define_undo (const char *uri, const char *uuid, const char *path, const char *nvram,
                        const char *tpm, GCancellable *cancellable, GError **error);
/* @nvram, @tpm: of the backup; may be NULL. On failure nothing of it is left, and what was there before is. */
bool varve_define_finish (const VarveDefinition *definition, GBytes *nvram, GBytes *tpm,
                          GCancellable *cancellable, GError **error);
void varve_definition_free (VarveDefinition *definition);

/* In the libvirt driver. */
VarveDefinition *varve_libvirt_define_prepare (const VarveNewDomain *wanted,
                                               GCancellable *cancellable, GError **error);
bool varve_libvirt_define_finish (const VarveDefinition *definition, GBytes *nvram, GBytes *tpm,
                                  GCancellable *cancellable, GError **error);
bool varve_libvirt_define_undo (const char *uri, const char *uuid, const char *path,
                                const char *nvram, const char *tpm, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveDefinition, varve_definition_free)
