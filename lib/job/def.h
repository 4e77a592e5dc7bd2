/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The fields of a job's actions, for run/. One struct a document element; what is not given has its
 * default, so that a reader needs no second look at the document. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "job/varve-job.h"

typedef struct {
  char *name;
  bool backup;      /* backup='no': left out */
  char *qdev;       /* bare QEMU: qdev id or path, or node name, when the name is not one */
  char *image_path; /* <image>: how it is opened when the domain is off; or NULL */
  char *image_format;
  char *image_key_file;
  char *target; /* <target>: path or NBD URI, in the place of a store; or NULL */
  char *target_format;
} VarveJobDisk;

typedef struct {
  char *name; /* of the action, or NULL */
  char *domain;
  char *uri;
  char *uuid;        /* or NULL */
  char *owner;       /* label, or NULL: the job's name */
  char *store;       /* STORE string: "images:/srv/backup"; NULL: each disk has a target */
  GPtrArray *disks;  /* of VarveJobDisk; empty: all */
  bool force;        /* <disks force=>: targets that are there are written over */
  char *mode;        /* "pull", "push", "auto" */
  bool verify;       /* <mode verify=>: a push reads back what QEMU wrote */
  bool fleece;       /* <fleece/>: a push writes from a frozen view */
  bool compress;     /* <mode compress=>: QEMU compresses what it writes */
  unsigned workers;  /* <mode workers=>: requests at once for each disk; 0: QEMU's own number */
  unsigned chunk;    /* <mode chunk=>: KiB of one such request at most; 0: its own number */
  char *incremental; /* "auto", "never", or a checkpoint */
  bool quiesce;      /* asked for */
  bool quiesce_required;
  unsigned quiesce_timeout; /* seconds, default 20 */
  char *quiesce_agent;      /* socket of a bare QEMU's guest agent, or NULL */
  unsigned write_timeout;   /* <guard write-timeout>: 1..4, default 4 */
  uint64_t scratch_limit;   /* bytes, 0: none given */
  bool pause_never;         /* <guard pause='never'> */
  char *scratch_directory;  /* <scratch directory=>, or NULL */
  char *server_host;        /* of a backup, TCP: where the hypervisor serves; or NULL */
  unsigned server_port;
  char *server_credentials; /* directory of our x509 files */
  uint64_t speed;           /* bytes per second, 0: no limit; <speed unit=> */
  unsigned wait;            /* seconds */
  unsigned keep;      /* committed checkpoints kept, 1..8, default 2; <checkpoints keep='2'/> */
  unsigned max_chain; /* <images max-chain='60'> */
} VarveBackupDef;

typedef struct {
  char *name; /* disk */
  char *path; /* or the URI of an NBD export */
  char *format;
} VarveRestoreDisk;

typedef struct {
  char *name; /* of the action, or NULL */
  char *store;
  char *backup;
  GPtrArray *disks; /* of VarveRestoreDisk */
  char *directory;  /* or NULL */
  char *directory_format;
  char *define;      /* name of a domain that is defined for them, or NULL */
  char *define_uri;  /* where: a libvirt */
  bool instant;      /* the guest runs at once, and the disks are filled meanwhile */
  char *instant_uri; /* a bare QEMU; NULL: the domain that is defined */
  uint64_t speed;    /* … at so many bytes per second at most; 0: no limit */
  bool force;
  bool over;
} VarveRestoreDef;

typedef struct {
  VarveBackupDef *
      source; /* domain, disks, since when, quiesce, guard, scratch, keep, wait; nothing else of it */
  char *socket; /* UNIX; or NULL */
  unsigned mode;
  char *group;       /* or NULL: ours */
  char *host;        /* TCP; or NULL. Neither of the two: a private socket, for the command */
  unsigned port;     /* 0: a free one */
  char *credentials; /* directory with the server's x509 or PSK files, or NULL: clear text */
  bool clear_text;   /* TCP: said in so many words */
  bool allow_trim;
  unsigned max_age; /* seconds */
  char *command;    /* or NULL: the session lives on */
} VarveExportDef;

typedef struct {
  VarveBackupDef
      *source; /* domain, disks, whose checkpoints, store, keep, wait: also of the backup of the
                             present state; nothing else of it */
  char *backup;
  bool keep_present; /* back up what is there first */
  bool dry_run;      /* only the plan */
  bool restart;      /* a guest that runs is halted for it, and started again */
} VarveRevertDef;

typedef struct {
  char *name; /* of the action, or NULL */
  char *store;
  char *backup;  /* NULL: all that the store has */
  bool boot;     /* it is started, and a sign of life waited for; else its sums are compared */
  char *console; /* the sign: this text on the serial console; or NULL */
  char *
      mounted; /* or: a file system is mounted here, says the agent; both NULL: the agent answers */
  unsigned timeout; /* seconds */
  char *screenshot; /* path, or NULL: in the state directory */
  uint64_t memory;  /* bytes; 0: as much as the domain had */
} VarveVerifyDef;

/* What a reader of a document checks, for a job that was put together by calls: those return
 * nothing, so that a run asks this first. VARVE_ERROR_USAGE names the action and the field. */
bool varve_job_check (VarveJob *job, GError **error);

const VarveBackupDef *varve_backup_action_def (VarveBackupAction *action);
const VarveRestoreDef *varve_restore_action_def (VarveRestoreAction *action);
const VarveExportDef *varve_export_action_def (VarveExportAction *action);
const VarveRevertDef *varve_revert_action_def (VarveRevertAction *action);
const VarveVerifyDef *varve_verify_action_def (VarveVerifyAction *action);
/* Whether @path is meant as that of a block device. */
bool varve_job_is_device (const char *path);

/* The name of any of them, or NULL; and its element: "backup" … */
const char *varve_action_name (GObject *action);
const char *varve_action_element (GObject *action);
