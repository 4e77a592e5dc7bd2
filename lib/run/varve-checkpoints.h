/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"
#include "varve-event.h"

G_BEGIN_DECLS

/**
 * VarveCheckpoints:
 *
 * The checkpoints of one domain. Each call opens the domain, takes its lock and lets go of both:
 * so a call fails with %VARVE_ERROR_BUSY while a backup runs or an export is open.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_CHECKPOINTS (varve_checkpoints_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveCheckpoints, varve_checkpoints, VARVE, CHECKPOINTS, GObject)

/**
 * VarveCheckpoint:
 *
 * A named instant of a domain, since when each write to its disks is noted.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_CHECKPOINT (varve_checkpoint_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveCheckpoint, varve_checkpoint, VARVE, CHECKPOINT, GObject)

/**
 * VarveFinding:
 *
 * Something that is not as it should be, or was not until it was mended.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_FINDING (varve_finding_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveFinding, varve_finding, VARVE, FINDING, GObject)

/**
 * VarveCheckpointDisk:
 * @name: the disk's name
 * @changed: bytes written since, as whole grains; %G_MAXUINT64 where that is not known
 * @granularity: bytes of a grain; 0 where that is not known
 * @recording: writes are noted in it
 * @persistent: it is stored in the image; otherwise it dies with QEMU
 * @inconsistent: QEMU lost it
 * @missing: the hypervisor has it on record, and the disk does not have it
 *
 * A checkpoint on one disk.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_CHECKPOINT_DISK (varve_checkpoint_disk_get_type ())
typedef struct {
  char *name;
  guint64 changed;
  guint granularity;
  gboolean recording;
  gboolean persistent;
  gboolean inconsistent;
  gboolean missing;
} VarveCheckpointDisk;

VARVE_API GType varve_checkpoint_disk_get_type (void);

/**
 * varve_checkpoint_disk_copy:
 * @disk: a disk
 *
 * Copies a disk, for use when its checkpoint is gone.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 0.1
 */
VARVE_API VarveCheckpointDisk *varve_checkpoint_disk_copy (const VarveCheckpointDisk *disk);

/**
 * varve_checkpoint_disk_free:
 * @disk: (nullable) (transfer full): a copy
 *
 * Frees what varve_checkpoint_disk_copy() returned.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoint_disk_free (VarveCheckpointDisk *disk);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveCheckpointDisk, varve_checkpoint_disk_free)

/* --- which domain, on whose behalf ------------------------------------------------------------ */

/**
 * varve_checkpoints_new:
 * @uri: qemu:///system or another local libvirt URI, qmp+unix:///SOCKET, or image:
 * @domain: its name
 *
 * Names a domain; nothing is opened yet.
 *
 * Returns: (transfer full): the checkpoints
 *
 * Since: 0.1
 */
VARVE_API VarveCheckpoints *varve_checkpoints_new (const char *uri, const char *domain);

/**
 * varve_checkpoints_set_uuid:
 * @uuid: (nullable): the uuid
 *
 * The domain's uuid, where no hypervisor can tell it.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_uuid (VarveCheckpoints *checkpoints, const char *uuid);

/**
 * varve_checkpoints_set_image:
 * @disk: the disk's name
 * @path: (type filename): absolute path
 * @format: never guessed: "qcow2", "raw" …
 * @key_file: (type filename) (nullable): of a LUKS image
 *
 * How a disk is opened while the domain is off.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_image (VarveCheckpoints *checkpoints, const char *disk,
                                            const char *path, const char *format,
                                            const char *key_file);

/**
 * varve_checkpoints_set_qdev:
 * @disk: the name
 * @qdev: device id, QOM path or node name
 *
 * Names a disk of a bare QEMU, as a job document does.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_qdev (VarveCheckpoints *checkpoints, const char *disk,
                                           const char *qdev);

/**
 * varve_checkpoints_set_owner:
 * @owner: (nullable): a label (that of a job, say), or a whole owner; %NULL: "varve"
 *
 * Whose checkpoints may be changed.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_owner (VarveCheckpoints *checkpoints, const char *owner);

/**
 * varve_checkpoints_add_store:
 * @store: STORE, as on the command line: "images:DIR"
 *
 * A store to ask which backups there are. Without its store, nobody can tell what a checkpoint is
 * good for.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_add_store (VarveCheckpoints *checkpoints, const char *store);

/**
 * varve_checkpoints_set_wait:
 * @seconds: 0, the default: not at all
 *
 * How long a busy domain is waited for.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_wait (VarveCheckpoints *checkpoints, guint seconds);

/**
 * varve_checkpoints_set_state_directory:
 * @path: (type filename) (nullable): as for varve_run_set_state_directory()
 *
 * Where locks and session records live.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_state_directory (VarveCheckpoints *checkpoints,
                                                      const char *path);

/**
 * varve_checkpoints_set_event_func:
 * @func: (nullable) (scope notified) (closure user_data) (destroy destroy): the function
 * @destroy: runs exactly once, when @user_data is no longer needed
 *
 * Who is told of sessions that were ended on the way, and of what could not be asked.
 *
 * Since: 0.1
 */
VARVE_API void varve_checkpoints_set_event_func (VarveCheckpoints *checkpoints, VarveEventFunc func,
                                                 gpointer user_data, GDestroyNotify destroy);

/* --- what is done ----------------------------------------------------------------------------- */

/**
 * varve_checkpoints_list:
 *
 * All checkpoints and bitmaps of the domain, those of others too; ours oldest first, then the
 * others by name.
 *
 * Returns: (transfer container) (element-type VarveCheckpoint) (nullable): the checkpoints
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_checkpoints_list (VarveCheckpoints *checkpoints,
                                             GCancellable *cancellable, GError **error);

/**
 * varve_checkpoints_create:
 * @disks: (nullable) (array zero-terminated=1): names; %NULL: all disks that can have one
 *
 * Makes a checkpoint without a backup, on all disks at one instant. It belongs to the owner that
 * was set, which is required here, and to no store.
 *
 * Errors: %VARVE_ERROR_USAGE without an owner; %VARVE_ERROR_NOT_FOUND, %VARVE_ERROR_REFUSED for a
 * disk. Nothing of it is left then.
 *
 * Returns: (transfer full) (nullable): the checkpoint
 *
 * Since: 0.1
 */
VARVE_API VarveCheckpoint *varve_checkpoints_create (VarveCheckpoints *checkpoints,
                                                     const char *const *disks,
                                                     GCancellable *cancellable, GError **error);

/**
 * varve_checkpoints_delete:
 * @checkpoint: its name, or the id of its backup
 * @out_name: (out) (optional) (transfer full): the name of what was removed
 *
 * Removes one checkpoint of the owner, whether or not it is in a good state. The others lose
 * nothing by it: each notes all writes by itself.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND; %VARVE_ERROR_REFUSED for one of another owner.
 *
 * Returns: %TRUE; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_checkpoints_delete (VarveCheckpoints *checkpoints, const char *checkpoint,
                                             char **out_name, GCancellable *cancellable,
                                             GError **error);

/**
 * varve_checkpoints_merge:
 * @names: (array zero-terminated=1): of the owner: the oldest and the newest, between which all
 * of that owner's go; with @foreign each of them, oldest first, as nobody else knows their order
 * @foreign: they are bitmaps of another program, which may be disabled: all are merged into the
 * first, which records from then on, in one transaction
 * @out_removed: (out) (optional) (transfer container) (element-type utf8): those that are gone
 *
 * Makes one checkpoint of several, which then has every change since the first of them.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND; %VARVE_ERROR_REFUSED for one of another owner, or where nothing
 * has noted the last writes; %VARVE_ERROR_CHECKPOINT for one that cannot be merged. Nothing is
 * changed then.
 *
 * Returns: %TRUE; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_checkpoints_merge (VarveCheckpoints *checkpoints, const char *const *names,
                                            gboolean foreign, GPtrArray **out_removed,
                                            GCancellable *cancellable, GError **error);

/**
 * varve_checkpoints_redefine:
 * @name: (nullable): only this one; %NULL: all that have names of varve, of every owner
 *
 * Tells libvirt of checkpoints whose bitmaps are there: after a migration, or when its records
 * were lost. From the names alone, oldest first. A record that says the same is left alone. Does
 * nothing where the hypervisor keeps no records.
 *
 * Errors: %VARVE_ERROR_NOT_FOUND; %VARVE_ERROR_CHECKPOINT for a named one that has no sound
 * bitmap.
 *
 * Returns: (transfer container) (element-type utf8) (nullable): those that libvirt was told of
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_checkpoints_redefine (VarveCheckpoints *checkpoints, const char *name,
                                                 GCancellable *cancellable, GError **error);

/**
 * varve_checkpoints_check:
 * @repair: mend what can be mended safely, also while the domain runs; each repair is read back
 *
 * Compares what stores and session records say, what libvirt has on record and the bitmaps that
 * are there.
 *
 * Returns: (transfer container) (element-type VarveFinding) (nullable): what is wrong; empty for
 * a domain in good health; %NULL when the check itself could not be made
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_checkpoints_check (VarveCheckpoints *checkpoints, gboolean repair,
                                              GCancellable *cancellable, GError **error);

/**
 * varve_checkpoints_judge:
 * @findings: (element-type VarveFinding): what varve_checkpoints_check() returned
 * @repair: as it was given there
 *
 * What findings come to, as an error that says it in a sentence.
 *
 * Errors: %VARVE_ERROR_CHECKPOINT when there is damage; after a repair %VARVE_ERROR_PARTIAL when
 * a repair failed, else %VARVE_ERROR_REFUSED when some is left that cannot be mended safely.
 *
 * Returns: %TRUE when no damage is left; %FALSE with @error set
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_checkpoints_judge (VarveCheckpoints *checkpoints, GPtrArray *findings,
                                            gboolean repair, GError **error);

/* --- a checkpoint ----------------------------------------------------------------------------- */

/**
 * varve_checkpoint_get_name:
 *
 * Returns: (transfer none): its name
 *
 * Since: 0.1
 */
VARVE_API const char *varve_checkpoint_get_name (VarveCheckpoint *checkpoint);

/**
 * varve_checkpoint_get_owner:
 *
 * Returns: (transfer none) (nullable): its owner; %NULL: foreign
 *
 * Since: 0.1
 */
VARVE_API const char *varve_checkpoint_get_owner (VarveCheckpoint *checkpoint);

/**
 * varve_checkpoint_get_backup:
 *
 * Returns: (transfer none) (nullable): the id of its backup, or of the instant where it has no
 * store; %NULL: foreign
 *
 * Since: 0.1
 */
VARVE_API const char *varve_checkpoint_get_backup (VarveCheckpoint *checkpoint);

/**
 * varve_checkpoint_get_time:
 *
 * Returns: its instant, seconds since the epoch; -1: not known
 *
 * Since: 0.1
 */
VARVE_API gint64 varve_checkpoint_get_time (VarveCheckpoint *checkpoint);

/**
 * varve_checkpoint_get_state:
 *
 * What is known of it.
 *
 * "committed": its store has the backup; "no-backup": its store does not have it; "unknown": its
 * store is not at hand; "kept": it has no store; "tentative": a session has it that has not
 * ended; "frozen": a map that a session made for reading; "foreign": another program's.
 *
 * Returns: (transfer none): the state
 *
 * Since: 0.1
 */
VARVE_API const char *varve_checkpoint_get_state (VarveCheckpoint *checkpoint);

/**
 * varve_checkpoint_get_disks:
 *
 * The disks that have it.
 *
 * Returns: (transfer none) (element-type VarveCheckpointDisk): the disks
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_checkpoint_get_disks (VarveCheckpoint *checkpoint);

/* --- a finding -------------------------------------------------------------------------------- */

/**
 * varve_finding_get_kind:
 *
 * Returns: (transfer none): what kind of damage: "bitmap-broken" …, as listed in
 * varve-checkpoint(1)
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_kind (VarveFinding *finding);

/**
 * varve_finding_is_damage:
 *
 * Returns: %FALSE for what is worth knowing, and no fault
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_finding_is_damage (VarveFinding *finding);

/**
 * varve_finding_get_checkpoint:
 *
 * Returns: (transfer none) (nullable): the checkpoint
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_checkpoint (VarveFinding *finding);

/**
 * varve_finding_get_disk:
 *
 * Returns: (transfer none) (nullable): the disk, where it is one
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_disk (VarveFinding *finding);

/**
 * varve_finding_get_session:
 *
 * Returns: (transfer none) (nullable): the session's id
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_session (VarveFinding *finding);

/**
 * varve_finding_get_text:
 *
 * Returns: (transfer none): what is wrong, a sentence
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_text (VarveFinding *finding);

/**
 * varve_finding_get_meaning:
 *
 * Returns: (transfer none): what it means for the next backup
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_meaning (VarveFinding *finding);

/**
 * varve_finding_get_cure:
 *
 * Returns: (transfer none): what mends it, or why nothing is done
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_cure (VarveFinding *finding);

/**
 * varve_finding_get_state:
 *
 * What came of it.
 *
 * "mendable": a repair would mend it; "left": there is no safe repair; "mended": it was mended,
 * and is gone; "failed": the repair failed.
 *
 * Returns: (transfer none): the state
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_state (VarveFinding *finding);

/**
 * varve_finding_get_failure:
 *
 * Returns: (transfer none) (nullable): why the repair failed
 *
 * Since: 0.1
 */
VARVE_API const char *varve_finding_get_failure (VarveFinding *finding);

G_END_DECLS
