/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <gio/gio.h>

#include "varve-error.h"
#include "varve-restore-action.h"
#include "varve-verify-action.h"

G_BEGIN_DECLS

/**
 * VarveJob:
 *
 * A job document: a name and its actions, in order. It is a document only: nothing is looked up,
 * opened or changed by it.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_JOB (varve_job_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveJob, varve_job, VARVE, JOB, GObject)

/**
 * VarveBackupAction:
 *
 * One `<backup>` of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_BACKUP_ACTION (varve_backup_action_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveBackupAction, varve_backup_action, VARVE, BACKUP_ACTION, GObject)

/**
 * VarveExportAction:
 *
 * One `<export>` of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EXPORT_ACTION (varve_export_action_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveExportAction, varve_export_action, VARVE, EXPORT_ACTION, GObject)

/**
 * VarveRevertAction:
 *
 * One `<revert>` of a job.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_REVERT_ACTION (varve_revert_action_get_type ())
VARVE_API
G_DECLARE_FINAL_TYPE (VarveRevertAction, varve_revert_action, VARVE, REVERT_ACTION, GObject)

/**
 * varve_job_new:
 * @name: its name: [A-Za-z0-9_.-], at most 64 bytes
 *
 * Makes a job without actions.
 *
 * Returns: (transfer full): the job
 *
 * Since: 0.1
 */
VARVE_API VarveJob *varve_job_new (const char *name);

/**
 * varve_job_load: (constructor)
 * @path: (type filename): the file
 *
 * Reads a job document. The reader takes no network, no external entity, no document over 1 MiB,
 * and does not rely on the schema having been run.
 *
 * Errors: %VARVE_ERROR_DOCUMENT with file, line and what was expected.
 *
 * Returns: (transfer full) (nullable): the job
 *
 * Since: 0.1
 */
VARVE_API VarveJob *varve_job_load (const char *path, GError **error);

/**
 * varve_job_parse: (constructor)
 * @data: (array length=length) (element-type guint8): the document
 * @length: its bytes
 * @name: what messages call it
 *
 * As varve_job_load(), from memory.
 *
 * Returns: (transfer full) (nullable): the job
 *
 * Since: 0.1
 */
VARVE_API VarveJob *varve_job_parse (const char *data, gsize length, const char *name,
                                     GError **error);

/**
 * varve_job_validate:
 * @path: (type filename): the file
 * @schema: (type filename) (nullable): the schema file; %NULL: the installed one
 * @out_problems: (out) (transfer container) (element-type utf8): "FILE:LINE: what is wrong", all of
 * them; empty when the document is valid
 *
 * Checks a document against the RelaxNG schema, then reads it.
 *
 * Returns: %TRUE when the check was made, whatever it found; %FALSE with @error set when the
 * document or the schema could not be read at all
 *
 * Since: 0.1
 */
VARVE_API gboolean varve_job_validate (const char *path, const char *schema,
                                       GPtrArray **out_problems, GError **error);

/**
 * varve_job_to_xml:
 *
 * Returns: (transfer full): the document that gives this job
 *
 * Since: 0.1
 */
VARVE_API char *varve_job_to_xml (VarveJob *job);

/**
 * varve_job_get_name:
 *
 * Returns: (transfer none) (nullable): the job's name
 *
 * Since: 0.1
 */
VARVE_API const char *varve_job_get_name (VarveJob *job);

/**
 * varve_job_get_actions:
 *
 * Returns: (transfer none) (element-type GObject.Object): the actions in order, each a
 * #VarveBackupAction, #VarveRestoreAction, #VarveExportAction, #VarveRevertAction or #VarveVerifyAction
 *
 * Since: 0.1
 */
VARVE_API GPtrArray *varve_job_get_actions (VarveJob *job);

/**
 * varve_job_add_backup:
 * @domain: name or uuid
 * @uri: qemu:///system, qmp+unix:///PATH, or image:
 * @store: (nullable): STORE, as on the command line: images:DIR; %NULL: each disk gets a target by
 * varve_backup_action_set_target()
 *
 * Appends an action.
 *
 * Returns: (transfer none): the action, to be filled in further
 *
 * Since: 0.1
 */
VARVE_API VarveBackupAction *varve_job_add_backup (VarveJob *job, const char *domain,
                                                   const char *uri, const char *store);

/**
 * varve_job_add_restore:
 * @store: STORE
 * @backup: a backup id, DOMAIN\@latest or DOMAIN\@TIME
 *
 * Appends an action.
 *
 * Returns: (transfer none): the action, to be filled in further
 *
 * Since: 0.1
 */
VARVE_API VarveRestoreAction *varve_job_add_restore (VarveJob *job, const char *store,
                                                     const char *backup);

/**
 * varve_job_add_export:
 * @domain: name or uuid
 * @uri: qemu:///system, qmp+unix:///PATH, or image:
 * @owner: whose checkpoints are made: 1 to 39 of [a-z0-9-]
 *
 * Appends an action.
 *
 * Returns: (transfer none): the action, to be filled in further
 *
 * Since: 0.1
 */
VARVE_API VarveExportAction *varve_job_add_export (VarveJob *job, const char *domain,
                                                   const char *uri, const char *owner);

/**
 * varve_job_add_revert:
 * @domain: name or uuid
 * @uri: qemu:///system, qmp+unix:///PATH, or image:
 * @store: STORE
 * @backup: a backup id, DOMAIN\@latest or DOMAIN\@TIME
 *
 * Appends an action. A run of it writes to the disks of the domain, and asks nobody.
 *
 * Returns: (transfer none): the action, to be filled in further
 *
 * Since: 0.1
 */
VARVE_API VarveRevertAction *varve_job_add_revert (VarveJob *job, const char *domain,
                                                   const char *uri, const char *store,
                                                   const char *backup);

/**
 * varve_job_add_verify:
 * @store: STORE
 * @backup: (nullable): a backup id, DOMAIN\@latest or DOMAIN\@TIME; %NULL: all of the store
 *
 * Appends an action, which compares what the store holds with its sums. It changes nothing.
 *
 * Returns: (transfer none): the action, to be filled in further
 *
 * Since: 0.1
 */
VARVE_API VarveVerifyAction *varve_job_add_verify (VarveJob *job, const char *store,
                                                   const char *backup);

/* --- backup ------------------------------------------------------------------------------------
 */

/**
 * varve_backup_action_set_name:
 * @name: (nullable): the name
 *
 * Names the action, for `varve run --only`.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_name (VarveBackupAction *action, const char *name);

/**
 * varve_backup_action_set_uuid:
 * @uuid: (nullable): the uuid
 *
 * The domain's uuid, for when no hypervisor can tell it.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_uuid (VarveBackupAction *action, const char *uuid);

/**
 * varve_backup_action_set_owner:
 * @owner: (nullable): a label; %NULL: the job's name
 *
 * Whose checkpoints are used.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_owner (VarveBackupAction *action, const char *owner);

/**
 * varve_backup_action_set_mode:
 * @mode: (nullable): "pull" (so also for %NULL): the disks are read from QEMU; "push": QEMU writes the backup;
 * "auto": pull, and push where that is refused
 *
 * Who copies.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_mode (VarveBackupAction *action, const char *mode);

/**
 * varve_backup_action_set_verify:
 * @verify: whether a push reads back what QEMU wrote, to write its sums; %TRUE by default
 *
 * What was not read back cannot be verified later, and no rescan compares with it.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_verify (VarveBackupAction *action, gboolean verify);

/**
 * varve_backup_action_set_fleece:
 * @fleece: whether a push writes from a frozen view, as a pull reads from one; %FALSE by default
 *
 * So that the guest never waits for the store. Needs scratch; not on libvirt while the domain runs.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_fleece (VarveBackupAction *action, gboolean fleece);

/**
 * varve_backup_action_set_compress:
 * @compress: whether QEMU compresses the layers that a push has it write; %FALSE by default
 *
 * libvirt cannot have it do so while the domain runs.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_compress (VarveBackupAction *action, gboolean compress);

/**
 * varve_backup_action_set_requests:
 * @workers: requests at once, for each disk, 1 to 64; 0: what QEMU thinks right
 * @chunk_kib: the most that one of them copies, in KiB, 64 to 16384; 0: what QEMU thinks right
 *
 * How a push has QEMU copy. libvirt cannot tell it while the domain runs.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_requests (VarveBackupAction *action, guint workers,
                                                 guint chunk_kib);

/**
 * varve_backup_action_set_incremental:
 * @incremental: (nullable): "auto" (so also for %NULL), "never", or the name of a checkpoint
 *
 * Since when changes are taken.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_incremental (VarveBackupAction *action,
                                                    const char *incremental);

/**
 * varve_backup_action_add_disk:
 * @name: the disk's name
 * @include: %FALSE: leave it out
 *
 * Names a disk. If any is named with @include, only those are backed up.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_add_disk (VarveBackupAction *action, const char *name,
                                             gboolean include);

/**
 * varve_backup_action_set_target:
 * @disk: the disk's name; added when it is not there, and only named disks are backed up
 * @target: absolute path of a file or block device, or an NBD URI
 * @format: (nullable): "raw" (so also for %NULL) or "qcow2"
 *
 * Where this disk goes, instead of to a store. Then each disk that is backed up needs one, and the action has no store.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_target (VarveBackupAction *action, const char *disk,
                                               const char *target, const char *format);

/**
 * varve_backup_action_set_force:
 * @force: %TRUE: they are; %FALSE by default
 *
 * Whether targets that are there already are written over. Devices and NBD exports always are there.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_force (VarveBackupAction *action, gboolean force);

/**
 * varve_backup_action_set_image:
 * @disk: the disk's name; added when it is not there, to be backed up unless
 * varve_backup_action_add_disk() chooses others
 * @path: (type filename): the image
 * @format: its format: never guessed
 * @key_file: (type filename) (nullable): LUKS passphrase file
 *
 * How a stopped disk's image is opened.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_image (VarveBackupAction *action, const char *disk,
                                              const char *path, const char *format,
                                              const char *key_file);

/**
 * varve_backup_action_set_quiesce:
 * @required: fail when that cannot be done
 * @timeout: seconds
 *
 * Freezes file systems by the guest agent.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_quiesce (VarveBackupAction *action, gboolean required,
                                                guint timeout);

/**
 * varve_backup_action_set_agent:
 * @path: (type filename) (nullable): the socket of the chardev that a bare QEMU has for its guest
 * agent
 *
 * Where the guest agent of a bare QEMU is, for varve_backup_action_set_quiesce(). libvirt knows that of
 * its domains.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_agent (VarveBackupAction *action, const char *path);

/**
 * varve_backup_action_set_speed:
 * @speed: bytes per second at most; 0: no limit
 *
 * Limits how fast the guest's disks are read.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_speed (VarveBackupAction *action, guint64 speed);

/**
 * varve_backup_action_set_wait:
 * @seconds: 0, the default: not at all
 *
 * How long a busy domain is waited for.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_wait (VarveBackupAction *action, guint seconds);

/**
 * varve_backup_action_set_scratch:
 * @directory: (nullable): for scratch images, as the hypervisor sees it; %NULL: in the state
 * directory
 * @limit: bytes of scratch over all disks, at which the backup is given up; 0: what there is room
 * for
 *
 * Where old data goes that the guest overwrites while it is being read.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_scratch (VarveBackupAction *action, const char *directory,
                                                guint64 limit);

/**
 * varve_backup_action_set_server:
 * @host: (nullable): the hypervisor's address or name, as the hypervisor and this host know it;
 * %NULL: it serves on a UNIX socket of this host
 * @port: 0: NBD's, 10809
 * @credentials: (nullable): directory with ca-cert.pem, client-cert.pem and client-key.pem
 *
 * Has libvirt serve the disks by TCP, with TLS. The domain's libvirt may then be another host's.
 *
 * Since: 0.1
 */
VARVE_API void varve_backup_action_set_server (VarveBackupAction *action, const char *host,
                                               guint port, const char *credentials);

/* --- revert ------------------------------------------------------------------------------------
 */

/**
 * varve_revert_action_set_name:
 * @name: (nullable): the name
 *
 * Names the action, for `varve run --only`.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_name (VarveRevertAction *action, const char *name);

/**
 * varve_revert_action_set_owner:
 * @owner: (nullable): a label; %NULL: the job's name
 *
 * Whose checkpoints tell what has changed, and who gets the new one.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_owner (VarveRevertAction *action, const char *owner);

/**
 * varve_revert_action_set_uuid:
 * @uuid: (nullable): the uuid
 *
 * The domain's uuid, for when no hypervisor can tell it.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_uuid (VarveRevertAction *action, const char *uuid);

/**
 * varve_revert_action_add_disk:
 * @name: the disk's name
 * @include: %FALSE: leave it out
 *
 * Names a disk. If any is named with @include, only those are put back.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_add_disk (VarveRevertAction *action, const char *name,
                                             gboolean include);

/**
 * varve_revert_action_set_image:
 * @disk: the disk's name
 * @path: (type filename): the image
 * @format: its format: never guessed
 * @key_file: (type filename) (nullable): LUKS passphrase file
 *
 * How a stopped disk's image is opened, as varve_backup_action_set_image().
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_image (VarveRevertAction *action, const char *disk,
                                              const char *path, const char *format,
                                              const char *key_file);

/**
 * varve_revert_action_set_wait:
 * @seconds: how long
 *
 * How long a busy domain is waited for.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_wait (VarveRevertAction *action, guint seconds);

/**
 * varve_revert_action_set_keep:
 * @keep: %FALSE: what is there now is lost
 *
 * Whether the present state is backed up first, so that the revert can be reverted: it is, unless
 * said here.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_keep (VarveRevertAction *action, gboolean keep);

/**
 * varve_revert_action_set_dry_run:
 * @dry_run: %TRUE: nothing is written
 *
 * Whether the plan is all: a %VARVE_EVENT_DISK_PLANNED for each disk.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_dry_run (VarveRevertAction *action, gboolean dry_run);

/**
 * varve_revert_action_set_restart:
 * @restart: %TRUE: a domain that runs is halted, and started again
 *
 * Whether a domain that runs may be turned off for it, as by its power button, and be started again behind it. One that is
 * off stays off. By default a domain that runs is refused.
 *
 * Since: 0.1
 */
VARVE_API void varve_revert_action_set_restart (VarveRevertAction *action, gboolean restart);

/* --- export ------------------------------------------------------------------------------------
 */

/**
 * varve_export_action_set_name:
 * @name: (nullable): the name
 *
 * Names the action, for `varve run --only`.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_name (VarveExportAction *action, const char *name);

/**
 * varve_export_action_set_uuid:
 * @uuid: (nullable): the uuid
 *
 * The domain's uuid, for when no hypervisor can tell it.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_uuid (VarveExportAction *action, const char *uuid);

/**
 * varve_export_action_set_since:
 * @checkpoint: (nullable): its name; %NULL: none
 *
 * A checkpoint; what changed since it is told by a metadata context.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_since (VarveExportAction *action, const char *checkpoint);

/**
 * varve_export_action_add_disk:
 * @name: the disk's name
 * @include: %FALSE: leave it out
 *
 * Names a disk. If any is named with @include, only those are exported.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_add_disk (VarveExportAction *action, const char *name,
                                             gboolean include);

/**
 * varve_export_action_set_image:
 * @disk: the disk's name
 * @path: (type filename): the image
 * @format: its format: never guessed
 * @key_file: (type filename) (nullable): LUKS passphrase file
 *
 * How a stopped disk's image is opened, as varve_backup_action_set_image().
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_image (VarveExportAction *action, const char *disk,
                                              const char *path, const char *format,
                                              const char *key_file);

/**
 * varve_export_action_set_quiesce:
 * @required: fail when that cannot be done
 * @timeout: seconds
 *
 * Freezes file systems by the guest agent.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_quiesce (VarveExportAction *action, gboolean required,
                                                guint timeout);

/**
 * varve_export_action_set_agent:
 * @path: (type filename) (nullable): absolute path of a socket; %NULL: the hypervisor knows the
 * agent
 *
 * Where the guest agent of a bare QEMU is, as varve_backup_action_set_agent().
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_agent (VarveExportAction *action, const char *path);

/**
 * varve_export_action_set_wait:
 * @seconds: how long
 *
 * How long a busy domain is waited for.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_wait (VarveExportAction *action, guint seconds);

/**
 * varve_export_action_set_max_age:
 * @seconds: how long
 *
 * When the session ends by itself: 4 h, unless said here.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_max_age (VarveExportAction *action, guint seconds);

/**
 * varve_export_action_set_socket:
 * @path: (type filename): absolute
 * @mode: of the socket: 0600 …
 * @group: (nullable): of the socket
 *
 * Readers connect to a UNIX socket.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_socket (VarveExportAction *action, const char *path,
                                               guint mode, const char *group);

/**
 * varve_export_action_set_listen:
 * @host: an address of this host
 * @port: 0: a free one
 *
 * Readers connect by TCP. Needs credentials, or clear text by intent.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_listen (VarveExportAction *action, const char *host,
                                               guint port);

/**
 * varve_export_action_set_credentials:
 * @directory: (type filename): has ca-cert.pem, server-cert.pem and server-key.pem (a reader then
 *   needs a certificate of that authority), or keys.psk
 *
 * Readers must use TLS.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_credentials (VarveExportAction *action,
                                                    const char *directory);

/**
 * varve_export_action_set_clear_text:
 * @clear_text: %TRUE: it is meant so
 *
 * TCP without TLS, on a loopback address only.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_clear_text (VarveExportAction *action, gboolean clear_text);

/**
 * varve_export_action_set_allow_trim:
 * @allow: %TRUE: they may
 *
 * Readers may trim what they have read.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_allow_trim (VarveExportAction *action, gboolean allow);

/**
 * varve_export_action_set_command:
 * @command: (nullable): the command; %NULL: none, the session lives on
 *
 * Runs a shell command on the session, whose exit status decides whether the checkpoint is kept;
 * the session ends with it.
 *
 * Since: 0.1
 */
VARVE_API void varve_export_action_set_command (VarveExportAction *action, const char *command);

G_END_DECLS
