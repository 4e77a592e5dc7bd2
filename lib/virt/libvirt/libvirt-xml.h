/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* libvirt's documents as plain data, both ways. Pure: no connection, no file, no network, no
 * entity; what is read comes from a daemon on this host, and is checked all the same. Formats:
 * formatdomain, formatbackup, formatcheckpoint, formatcaps and formatdomaincaps of libvirt's
 * manual, as libvirt 9.0 writes them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

#include "virt/define.h"
#include "virt/fill.h"
#include "virt/inventory.h"

/* One <disk> of a domain, of any device. */
typedef struct {
  char *name;   /* target: "vda" */
  char *device; /* "disk", "cdrom", "floppy", "lun" */
  char *type;   /* of the source: "file", "block", "network", "volume" … */
  char *format; /* <driver type=>; NULL when it is not stated */
  char *path;   /* file or device of the host; NULL for anything else, and without a medium */
  bool has_medium;
  bool readonly;
  bool encrypted;
  bool stops_on_error; /* <driver error_policy='stop'> */
  bool iothread;       /* by its own driver or by its SCSI controller */
} VarveLibvirtDisk;

/* One that swtpm plays. */
typedef struct {
  char *model;   /* "tpm-crb", "tpm-tis", … */
  char *version; /* "2.0", "1.2" */
  char *place;   /* the file or directory of a <source>, which libvirt has since 10.10; or NULL */
  bool is_file;  /* that is a file, in swtpm's format of one */
  char *secret;  /* uuid of what its state is encrypted with, or NULL */
} VarveLibvirtTpm;

typedef struct {
  char *type; /* "kvm", "qemu" */
  char *arch;
  char *machine;
  char *emulator;
  char *nvram;          /* path of the host, or NULL */
  char *dac_label;      /* "+64055:+64055": who QEMU runs as; a running domain's document only */
  VarveLibvirtTpm *tpm; /* NULL: none, or one of the host's */
  GPtrArray *disks;     /* of VarveLibvirtDisk, in the document's order */
} VarveLibvirtDefinition;

VarveLibvirtDefinition *varve_libvirt_definition_parse (const char *xml, GError **error);
void varve_libvirt_definition_free (VarveLibvirtDefinition *definition);
const VarveLibvirtDisk *varve_libvirt_definition_find (const VarveLibvirtDefinition *definition,
                                                       const char *disk);
/* Why the disk cannot be backed up, while its domain runs or, @stopped, from its image. No full
 * stop. NULL: it can. (transfer full) */
char *varve_libvirt_disk_why_not (const VarveLibvirtDisk *disk, bool stopped);

/* A <domainbackup> as libvirt tells it while the job runs. */
typedef struct {
  char *mode;
  char *session;    /* whose it is: from exportbitmap 'varve-SESSION'; NULL: not varve's, or a push,
                      * which has no place for it */
  char *socket;     /* NULL: TCP, or push */
  GPtrArray *disks; /* of char *: those that take part */
  GPtrArray *scratch; /* of char *: paths */
  GPtrArray *targets; /* of char *: paths of the files that a push writes */
} VarveLibvirtBackup;

VarveLibvirtBackup *varve_libvirt_backup_parse (const char *xml, GError **error);
void varve_libvirt_backup_free (VarveLibvirtBackup *backup);

typedef struct {
  char *disk;
  char *bitmap;
  bool has_size; /* asked for by VIR_DOMAIN_CHECKPOINT_XML_SIZE: its absence means missing or broken
                  */
  uint64_t size;
} VarveLibvirtCheckpointDisk;

typedef struct {
  char *name;
  char *description;
  int64_t created;  /* seconds since the epoch; 0: not stated */
  GPtrArray *disks; /* of VarveLibvirtCheckpointDisk; disks without a bitmap are left out */
} VarveLibvirtCheckpoint;

VarveLibvirtCheckpoint *varve_libvirt_checkpoint_parse (const char *xml, GError **error);
void varve_libvirt_checkpoint_free (VarveLibvirtCheckpoint *checkpoint);

/* The host's <capabilities>: the DAC label that QEMU gets for domains of @type; NULL: none (the
 * session's own user). False only for a document that cannot be read. */
bool varve_libvirt_capabilities_label (const char *xml, const char *type, char **out_label,
                                       GError **error);

/* The <domainCapabilities> of a host: whether a domain there can have such a TPM. */
bool varve_libvirt_capabilities_tpm (const char *xml, const VarveLibvirtTpm *tpm);

typedef struct {
  bool backup;    /* <features><backup supported='yes'/> */
  char *emulator; /* the binary that was asked */
} VarveLibvirtFeatures;

bool varve_libvirt_features_parse (const char *xml, VarveLibvirtFeatures *out, GError **error);
void varve_libvirt_features_clear (VarveLibvirtFeatures *features);

/* --- documents written; all (transfer full) ------------------------------------------------------
 */

/* What a session's documents name: the bitmap of the export, by which the session is known again.
 */
char *varve_libvirt_export_bitmap (const char *session);
/* The socket that libvirt's NBD server is to listen on. */
char *varve_libvirt_socket_path (const VarveStart *start);

/* Every disk of @definition is listed in both: one that is not would be backed up by default. */
char *varve_libvirt_format_backup (const VarveStart *start,
                                   const VarveLibvirtDefinition *definition);
/* On @disks (of const char *). */
char *varve_libvirt_format_new_checkpoint (const char *name, const char *description,
                                           GPtrArray *disks,
                                           const VarveLibvirtDefinition *definition);
/* The same for a start. NULL when no disk gets the checkpoint. */
char *varve_libvirt_format_checkpoint (const VarveStart *start,
                                       const VarveLibvirtDefinition *definition);
/* The least that VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE takes. @disks: of const char *. */
char *varve_libvirt_format_redefine (const char *name, const char *description, int64_t created,
                                     GPtrArray *disks);

/* The document of a run whose disks lie above the fill's server. */
char *varve_libvirt_format_run (const char *xml, const VarveFill *fill, GError **error);

/* What the host is not asked for; NULL: the document is none of a domain. */
VarveDefinition *varve_libvirt_clone (const VarveNewDomain *wanted, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveLibvirtDefinition, varve_libvirt_definition_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveLibvirtBackup, varve_libvirt_backup_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveLibvirtCheckpoint, varve_libvirt_checkpoint_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveLibvirtFeatures, varve_libvirt_features_clear)
