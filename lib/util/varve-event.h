/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <glib-object.h>

#include "varve-error.h"

G_BEGIN_DECLS

/**
 * VarveEventType:
 * @VARVE_EVENT_RUN_STARTED: an action of a job begins
 * @VARVE_EVENT_DISK_PLANNED: @disk will be backed up as @decision, because of @text; or put back,
 * with @stored bytes of @total to be written at most
 * @VARVE_EVENT_SNAPSHOT_STARTED: the instant; @pause_us is how long the guest stood still for it
 * @VARVE_EVENT_PROGRESS: @done of @total bytes of @disk; without a @disk, seconds of a machine's time to give a sign
 * @VARVE_EVENT_DISK_DONE: @disk has been copied: @done bytes read, @stored bytes written
 * @VARVE_EVENT_NOTE: how this strategy's promises are weaker than the best, or what else is to be known of the action, in @text
 * @VARVE_EVENT_WARNING: something weaker than asked for, in @text
 * @VARVE_EVENT_RECOVERED: something that an earlier run left behind was ended, in @text
 * @VARVE_EVENT_EXPORT_READY: the disks of export session @session are served
 * @VARVE_EVENT_RUN_DONE: the action has ended well; @backup is its id where it made one; with a @text, it
 * wrote nothing, for that reason; of a verify, @text says what was proved
 * @VARVE_EVENT_PROBLEM: what is wrong with a backup, in @text
 *
 * What a #VarveEvent tells.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EVENT_TYPE (varve_event_type_get_type ())
typedef enum {
  VARVE_EVENT_RUN_STARTED,
  VARVE_EVENT_DISK_PLANNED,
  VARVE_EVENT_SNAPSHOT_STARTED,
  VARVE_EVENT_PROGRESS,
  VARVE_EVENT_DISK_DONE,
  VARVE_EVENT_NOTE,
  VARVE_EVENT_WARNING,
  VARVE_EVENT_RECOVERED,
  VARVE_EVENT_RUN_DONE,
  VARVE_EVENT_EXPORT_READY,
  VARVE_EVENT_PROBLEM,
} VarveEventType;

VARVE_API GType varve_event_type_get_type (void);

/**
 * varve_event_type_get_name:
 * @type: the type
 *
 * What programs call a type: "progress", "disk-planned" …
 *
 * Returns: (transfer none): the name; "unknown" for what is no type
 *
 * Since: 0.1
 */
VARVE_API const char *varve_event_type_get_name (VarveEventType type);

/**
 * VarveEvent:
 * @type: what it tells
 * @action: (nullable): "backup", "restore", "revert", "verify", "recover" …
 * @domain: (nullable): the domain's name
 * @disk: (nullable): the disk's name
 * @backup: (nullable): a backup's id
 * @decision: (nullable): "full", "incremental", "rescan", "skip"; of a revert "difference", "compare";
 * of a verify "sums", "boot"
 * @text: (nullable): a sentence, or a part of one
 * @session: (nullable): the id of an export session
 * @done: bytes done
 * @total: bytes in all
 * @stored: bytes written to the store or target
 * @pause_us: microseconds
 * @unchanged: of %VARVE_EVENT_RUN_DONE: all was as it is wanted already, so that there was nothing to write
 *
 * One thing that happened. Fields that an event type does not name are %NULL, 0 or %FALSE. An event that a
 * #VarveEventFunc is given belongs to the library and is valid during the call only; whoever wants
 * it for longer copies it.
 *
 * Since: 0.1
 */
#define VARVE_TYPE_EVENT (varve_event_get_type ())
typedef struct {
  VarveEventType type;
  const char *action;
  const char *domain;
  const char *disk;
  const char *backup;
  const char *decision;
  const char *text;
  const char *session; /* id of an export session */
  guint64 done;
  guint64 total;
  guint64 stored;
  guint64 pause_us;
  gboolean unchanged;
} VarveEvent;

VARVE_API GType varve_event_get_type (void);

/**
 * varve_event_copy:
 * @event: an event
 *
 * Copies an event with all its texts.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 0.1
 */
VARVE_API VarveEvent *varve_event_copy (const VarveEvent *event);

/**
 * varve_event_free:
 * @event: (nullable) (transfer full): a copy
 *
 * Frees what varve_event_copy() returned.
 *
 * Since: 0.1
 */
VARVE_API void varve_event_free (VarveEvent *event);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveEvent, varve_event_free)

/**
 * VarveEventFunc:
 * @event: what happened
 * @user_data: (closure): as it was given with the function
 *
 * Receives the events of a long operation, in the thread that called it.
 *
 * Since: 0.1
 */
typedef void (*VarveEventFunc) (const VarveEvent *event, gpointer user_data);

G_END_DECLS
