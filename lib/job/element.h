/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The elements of a job inside this room: each is made with its defaults, read from a document,
 * checked, and written.
 *
 * Reading looks at form only: known names, numbers, words. Whether the values are good is asked in
 * one place for documents and for calls alike, the check functions. They tell a complaint with its
 * place, a path of elements below the one that is checked ("disks/disk:2/image"; "" is itself); a
 * reader of a document finds the line from it. */
#pragma once

#include "job/def.h"
#include "util/xml.h"

#define VARVE_JOB_QUIESCE_TIMEOUT 20
#define VARVE_JOB_WRITE_TIMEOUT   4
#define VARVE_JOB_KEEP            2
#define VARVE_JOB_MAX_CHAIN       60
#define VARVE_JOB_IMAGES          "images:"
#define VARVE_JOB_SERVER_PORT     10809 /* NBD's */
#define VARVE_JOB_MAX_AGE         (4 * 3600)
#define VARVE_JOB_SOCKET_MODE     0600u
#define VARVE_JOB_BOOT_TIMEOUT    300

typedef struct {
  void (*complain) (void *data, const char *place, const char *message);
  void *data;
} VarveJobChecker;

void varve_job_complain (const VarveJobChecker *checker, const char *place, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/* --- values, check.c -----------------------------------------------------------------------------
 */
typedef enum {
  VARVE_JOB_VALUE_NAME, /* of a job or an action */
  VARVE_JOB_VALUE_OWNER,
  VARVE_JOB_VALUE_DOMAIN,
  VARVE_JOB_VALUE_DISK,
  VARVE_JOB_VALUE_PATH,
  VARVE_JOB_VALUE_DIRECTORY,
  VARVE_JOB_VALUE_UUID,
  VARVE_JOB_VALUE_URI,
  VARVE_JOB_VALUE_CHECKPOINT,
  VARVE_JOB_VALUE_QDEV,
  VARVE_JOB_VALUE_BACKUP,
  VARVE_JOB_VALUE_STORE,
  VARVE_JOB_VALUE_HOST,
  VARVE_JOB_VALUE_GROUP,
  VARVE_JOB_VALUE_COMMAND,
  VARVE_JOB_VALUE_NBD,
  VARVE_JOB_VALUE_SIGN,
} VarveJobValue;

/* Whether it is meant as the URI of an NBD export. */
bool varve_job_is_nbd (const char *value);

/* Complains of a @value that is missing, or not of its kind. */
void varve_job_check_value (const VarveJobChecker *checker, const char *place, VarveJobValue kind,
                            const char *what, const char *value);
void varve_job_check_range (const VarveJobChecker *checker, const char *place, const char *what,
                            unsigned value, unsigned min, unsigned max);
/* @words has a blank between them. */
void varve_job_check_word (const VarveJobChecker *checker, const char *place, const char *what,
                           const char *value, const char *words);

/* --- actions, backup-def.c, restore-def.c, export-def.c, revert-def.c, verify-def.c
 * ------------------------------------------------------ */
VarveBackupDef *varve_backup_def_new (void);
void varve_backup_def_free (VarveBackupDef *def);
VarveJobDisk *varve_backup_def_add_disk (VarveBackupDef *def, const char *name);
VarveJobDisk *varve_backup_def_find_disk (const VarveBackupDef *def, const char *name);
VarveBackupDef *varve_backup_def_parse (VarveXml *xml, const xmlNode *node);
void varve_backup_def_check (const VarveBackupDef *def, const VarveJobChecker *checker);
void varve_backup_def_format (const VarveBackupDef *def, GString *out);

/* What is said of the source in a <backup>, an <export> and a <revert>: attributes and elements, without the tags around
 * them. What is equal to @incremental is not written. */
void varve_source_parse (VarveXml *xml, const xmlNode *node, VarveBackupDef *def);
void varve_source_check (const VarveBackupDef *def, const VarveJobChecker *checker);
void varve_source_format (const VarveBackupDef *def, const char *incremental, GString *out);

/* Its <disks>, backup-disks.c. */
GPtrArray *varve_backup_disks_new (void);
void varve_backup_disks_parse (VarveXml *xml, const xmlNode *node, VarveBackupDef *def);
void varve_backup_disks_check (const VarveBackupDef *def, const VarveJobChecker *checker);
void varve_backup_disks_format (const VarveBackupDef *def, GString *out);
/* Whether it has any; what is wrong with them is complained of. */
bool varve_backup_targets_check (const VarveBackupDef *def, const VarveJobChecker *checker);

VarveRestoreDef *varve_restore_def_new (void);
void varve_restore_def_free (VarveRestoreDef *def);
VarveRestoreDisk *varve_restore_def_add_disk (VarveRestoreDef *def, const char *name);
VarveRestoreDef *varve_restore_def_parse (VarveXml *xml, const xmlNode *node);
void varve_restore_def_check (const VarveRestoreDef *def, const VarveJobChecker *checker);
void varve_restore_def_format (const VarveRestoreDef *def, GString *out);

VarveExportDef *varve_export_def_new (void);
void varve_export_def_free (VarveExportDef *def);
VarveExportDef *varve_export_def_parse (VarveXml *xml, const xmlNode *node);
void varve_export_def_check (const VarveExportDef *def, const VarveJobChecker *checker);
void varve_export_def_format (const VarveExportDef *def, GString *out);

VarveRevertDef *varve_revert_def_new (void);
void varve_revert_def_free (VarveRevertDef *def);
VarveRevertDef *varve_revert_def_parse (VarveXml *xml, const xmlNode *node);
void varve_revert_def_check (const VarveRevertDef *def, const VarveJobChecker *checker);
void varve_revert_def_format (const VarveRevertDef *def, GString *out);

VarveVerifyDef *varve_verify_def_new (void);
void varve_verify_def_free (VarveVerifyDef *def);
VarveVerifyDef *varve_verify_def_parse (VarveXml *xml, const xmlNode *node);
void varve_verify_def_check (const VarveVerifyDef *def, const VarveJobChecker *checker);
void varve_verify_def_format (const VarveVerifyDef *def, GString *out);

/* --- objects
 * -------------------------------------------------------------------------------------- */
/* @def: (transfer full) */
VarveBackupAction *varve_backup_action_new (VarveBackupDef *def);
VarveRestoreAction *varve_restore_action_new (VarveRestoreDef *def);
VarveExportAction *varve_export_action_new (VarveExportDef *def);
VarveRevertAction *varve_revert_action_new (VarveRevertDef *def);
VarveVerifyAction *varve_verify_action_new (VarveVerifyDef *def);

/* The job of a document that was taken apart, or NULL: then @xml has problems. */
VarveJob *varve_job_read (VarveXml *xml);
/* The file, taken apart. False only when it could not be read. */
bool varve_job_open (const char *path, VarveXml **out, GError **error);

/* What <source> and <target> hold, as a STORE; @out_max_chain may be NULL: then it is not allowed.
 */
char *varve_job_parse_store (VarveXml *xml, const xmlNode *node, unsigned *out_max_chain);
/* The <target> of one disk: a file or a device. */
void varve_job_parse_target (VarveXml *xml, const xmlNode *node, char **out_path,
                             char **out_format);
void varve_job_format_target (GString *out, const char *path, const char *format);
/* @max_chain 0: none is written. */
void varve_job_format_store (GString *out, const char *element, const char *store,
                             unsigned max_chain);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveBackupDef, varve_backup_def_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRestoreDef, varve_restore_def_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportDef, varve_export_def_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveRevertDef, varve_revert_def_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveVerifyDef, varve_verify_def_free)
