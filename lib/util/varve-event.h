/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#pragma once

#include <glib.h>

#include "varve-error.h"

G_BEGIN_DECLS

/**
 * VarveEventType:
 * @VARVE_EVENT_RUN_STARTED: an action of a job begins
 * @VARVE_EVENT_DISK_PLANNED: @disk will be backed up as @decision, because of @text
 * @VARVE_EVENT_SNAPSHOT_STARTED: the instant; @pause_us is how long the guest stood still for it
 * @VARVE_EVENT_PROGRESS: @done of @total bytes of @disk
 * @VARVE_EVENT_DISK_DONE: @disk has been copied: @done bytes read, @stored bytes written
 * @VARVE_EVENT_NOTE: how this strategy's promises are weaker than the best, in @text
 * @VARVE_EVENT_WARNING: something weaker than asked for, in @text
 * @VARVE_EVENT_RECOVERED: something that an earlier run left behind was ended, in @text
 * @VARVE_EVENT_RUN_DONE: the action has ended well; @backup is its id where it made one
 *
 * What a #VarveEvent tells.
 *
 * Since: 0.1
 */
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
} VarveEventType;

/**
 * varve_event_type_get_name:
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
 *
 * One thing that happened. Fields that an event type does not name are %NULL or 0; all of it
 * belongs to the library and is valid during the callback only. Sizes are bytes.
 *
 * Since: 0.1
 */
typedef struct {
  VarveEventType type;
  const char *action; /* "backup", "restore", "recover" … */
  const char *domain;
  const char *disk;
  const char *backup;   /* backup id */
  const char *decision; /* "full", "incremental", "rescan", "skip" */
  const char *text;
  guint64 done;
  guint64 total;
  guint64 stored;
  guint64 pause_us;
} VarveEvent;

/**
 * VarveEventFunc:
 *
 * Receives the events of a long operation, in the thread that called it.
 *
 * Since: 0.1
 */
typedef void (*VarveEventFunc) (const VarveEvent *event, gpointer user_data);

G_END_DECLS
