/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "virt/qemu-push.h"

#include <string.h>

#include "qemu/json-get.h"
#include "util/error.h"
#include "virt/qmp/qmp-names.h"

#define FINALIZE_TIMEOUT_US (20 * G_USEC_PER_SEC)
#define EVENT_WAIT_MS       100

/* All that a job through a fleece may ask for at once: see virt/qmp/qmp-push.c. */
#define FLEECE_CHUNK (64u << 10)

/* Of its jobs. 'j' are those that keep a frozen view. */
static char
kind_of (const VarveStart *start)
{
  return start->fleece ? 'b' : 'j';
}

static const char *
disk_name (const VarveStart *start, guint i)
{
  return ((const VarveStartDisk *)g_ptr_array_index (start->disks, i))->disk;
}

/* --- the start -------------------------------------------------------------------------------- */

/* Nothing is flushed on the way: a target that is not complete is thrown away, or worthless, and a complete one is
 * synced as a whole by who takes it over. */
static JsonObject *
target_node (const VarveStartDisk *disk, const char *node)
{
  bool device = disk->target_form == VARVE_PUSH_DEVICE;
  bool qcow2 = disk->target_form == VARVE_PUSH_QCOW2;
  JsonObject *data =
      varve_qmp_args ("{'driver':%s,'node-name':%s,'cache':{'no-flush':true},"
                      "'file':{'driver':%s,'filename':%s,'cache':{'no-flush':true}}}",
                      qcow2 ? "qcow2" : "raw", node, device ? "host_device" : "file", disk->target);

  if (qcow2)
    json_object_set_null_member (data, "backing");
  /* A job wants both ends to be of one size. */
  if (device)
    json_object_set_int_member (data, "size", (gint64)disk->target_size);
  return data;
}

bool
varve_qemu_push_open (VarveQmp *qmp, const VarveStart *start, guint index,
                      GCancellable *cancellable, GError **error)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *node = varve_qmp_name (start->session, 'p', index);

  if (!disk->target)
    return varve_throw (error, VARVE_ERROR_USAGE, "Disk '%s' has no target to be pushed to.",
                        disk->disk);
  return varve_qmp_run (qmp, "blockdev-add", target_node (disk, node), cancellable, error) ||
         varve_prefix (error, "QEMU cannot open the target '%s'", disk->target);
}

/* The name says that QEMU calls it experimental: it is only sent where it was asked for. */
static void
add_requests (JsonObject *data, const VarveStart *start)
{
  uint64_t chunk = start->fleece ? FLEECE_CHUNK : start->chunk;
  JsonObject *perf;

  if (!start->workers && !chunk)
    return;
  perf = json_object_new ();
  if (start->workers)
    json_object_set_int_member (perf, "max-workers", start->workers);
  if (chunk)
    json_object_set_int_member (perf, "max-chunk", (gint64)chunk);
  json_object_set_object_member (data, "x-perf", perf);
}

JsonObject *
varve_qemu_push_job (const VarveStart *start, guint index, const char *node, const char *bitmap)
{
  const VarveStartDisk *disk = g_ptr_array_index (start->disks, index);
  g_autofree char *job = varve_qmp_name (start->session, kind_of (start), index);
  g_autofree char *target = varve_qmp_name (start->session, 'p', index);
  JsonObject *data = varve_qmp_args ("{'job-id':%s,'device':%s,'target':%s,"
                                     "'auto-finalize':false,'auto-dismiss':false,"
                                     "'on-source-error':'report','on-target-error':'report'}",
                                     job, node, target);

  json_object_set_string_member (data, "sync", disk->since ? "bitmap" : "full");
  if (disk->since) {
    json_object_set_string_member (data, "bitmap", bitmap);
    json_object_set_string_member (data, "bitmap-mode", "never");
  }
  if (start->compress)
    json_object_set_boolean_member (data, "compress", TRUE);
  add_requests (data, start);
  if (start->speed)
    json_object_set_int_member (data, "speed", (gint64)MAX (start->speed / start->disks->len, 1));
  return data;
}

/* --- what became of the jobs ------------------------------------------------------------------ */

/* The jobs of a push, by the disks' place in the start; NULL where there is none. */
typedef struct {
  JsonArray *all;
  JsonObject **of; /* borrowed from @all */
} Jobs;

static void
jobs_clear (Jobs *jobs)
{
  g_clear_pointer (&jobs->all, json_array_unref);
  g_free (jobs->of);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Jobs, jobs_clear)

static bool
query (VarveQmp *qmp, const VarveStart *start, Jobs *out, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonNode) reply = varve_qmp_execute (qmp, "query-jobs", NULL, cancellable, error);

  if (!reply)
    return false;
  if (!JSON_NODE_HOLDS_ARRAY (reply))
    return varve_throw (error, VARVE_ERROR_HYPERVISOR, "QEMU's answer to query-jobs is no list.");
  out->all = json_array_ref (json_node_get_array (reply));
  out->of = g_new0 (JsonObject *, start->disks->len + 1);
  for (guint i = 0; i < json_array_get_length (out->all); i++) {
    JsonObject *job = varve_json_array_object (out->all, i);
    int index =
        varve_qmp_name_index (varve_json_string (job, "id"), start->session, kind_of (start));

    if (index >= 0 && (guint)index < start->disks->len)
      out->of[index] = job;
  }
  return true;
}

static bool
has_status (JsonObject *job, const char *status)
{
  return g_strcmp0 (varve_json_string (job, "status"), status) == 0;
}

/* A job of which nothing more is to come but `finish`, or that this has ended well. */
static bool
is_ready (JsonObject *job)
{
  return has_status (job, "pending") ||
         (has_status (job, "concluded") && !varve_json_string (job, "error"));
}

static bool
is_read_error (const char *event, JsonObject *data, gpointer job)
{
  return g_str_equal (event, "BLOCK_JOB_ERROR") &&
         g_strcmp0 (varve_json_string (data, "device"), job) == 0 &&
         g_strcmp0 (varve_json_string (data, "operation"), "read") == 0;
}

/* Its error does not tell which end it came from; an event does. A frozen view that broke fails every read. */
static VarveError
whose_fault (VarveQmp *qmp, const char *job, bool fleece, const char *words)
{
  g_autoptr (JsonObject) event = NULL;

  if (strstr (words, "No space left"))
    return VARVE_ERROR_NO_SPACE;
  if (strstr (words, "Operation canceled"))
    return VARVE_ERROR_SOURCE_LOST;
  event = varve_qmp_wait_event (qmp, is_read_error, (gpointer)job, 0, NULL, NULL);
  if (!event)
    return VARVE_ERROR_STORE_UNREACHABLE;
  return fleece ? VARVE_ERROR_SOURCE_LOST : VARVE_ERROR_SOURCE_READ;
}

/* What is wrong with the first disk that has failed, or NULL. */
static char *
find_trouble (VarveQmp *qmp, const VarveStart *start, const Jobs *jobs, VarveError *out_code)
{
  for (guint i = 0; i < start->disks->len; i++) {
    g_autofree char *id = varve_qmp_name (start->session, kind_of (start), i);
    const char *words = varve_json_string (jobs->of[i], "error");

    *out_code = VARVE_ERROR_SOURCE_LOST;
    if (!jobs->of[i])
      return g_strdup_printf ("disk '%s': its job was ended by somebody else",
                              disk_name (start, i));
    if (!words)
      continue;
    *out_code = whose_fault (qmp, id, start->fleece, words);
    return g_strdup_printf ("disk '%s': %s: %s", disk_name (start, i),
                            *out_code == VARVE_ERROR_SOURCE_READ   ? "it could not be read"
                            : *out_code == VARVE_ERROR_SOURCE_LOST ? "its frozen view broke"
                                                                   : "the copy failed",
                            words);
  }
  return NULL;
}

static bool
query_sound (VarveQmp *qmp, const VarveStart *start, Jobs *out, GCancellable *cancellable,
             GError **error)
{
  VarveError code;
  g_autofree char *why = NULL;

  if (!query (qmp, start, out, cancellable, error))
    return false;
  why = find_trouble (qmp, start, out, &code);
  return !why || varve_throw (error, code, "QEMU gave up writing the backup: %s.", why);
}

/* --- while it runs ---------------------------------------------------------------------------- */

bool
varve_qemu_push_progress (VarveQmp *qmp, const VarveStart *start, GArray **out,
                          GCancellable *cancellable, GError **error)
{
  g_auto (Jobs) jobs = { NULL };

  if (!query_sound (qmp, start, &jobs, cancellable, error))
    return false;
  *out = g_array_new (FALSE, TRUE, sizeof (VarvePushProgress));
  for (guint i = 0; i < start->disks->len; i++) {
    int64_t done = varve_json_int (jobs.of[i], "current-progress", 0);
    int64_t total = varve_json_int (jobs.of[i], "total-progress", 0);
    VarvePushProgress progress = { (uint64_t)MAX (done, 0), (uint64_t)MAX (total, 0),
                                   is_ready (jobs.of[i]) };

    g_array_append_val (*out, progress);
  }
  return true;
}

bool
varve_qemu_push_set_speed (VarveQmp *qmp, const VarveStart *start, uint64_t speed,
                           GCancellable *cancellable, GError **error)
{
  g_auto (Jobs) jobs = { NULL };
  guint running = 0;

  if (!query_sound (qmp, start, &jobs, cancellable, error))
    return false;
  for (guint i = 0; i < start->disks->len; i++)
    running += !is_ready (jobs.of[i]);
  for (guint i = 0; i < start->disks->len; i++) {
    g_autoptr (GError) local = NULL;

    if (is_ready (jobs.of[i]) ||
        varve_qmp_run (qmp, "block-job-set-speed",
                       varve_qmp_args ("{'device':%s,'speed':%llu}",
                                       varve_json_string (jobs.of[i], "id"),
                                       speed ? MAX (speed / running, 1) : 0),
                       cancellable, &local))
      continue;
    /* One that got ready meanwhile takes no speed any more. */
    if (!varve_qmp_error_class (local)) {
      g_propagate_error (error, g_steal_pointer (&local));
      return false;
    }
  }
  return true;
}

bool
varve_qemu_push_poll (VarveQmp *qmp, const VarveStart *start, VarveSnapshotStatus *out,
                      GCancellable *cancellable, GError **error)
{
  g_auto (Jobs) jobs = { NULL };

  if (!query (qmp, start, &jobs, cancellable, error))
    return false;
  out->why = find_trouble (qmp, start, &jobs, &out->code);
  out->state = out->why ? VARVE_SNAPSHOT_BROKEN : VARVE_SNAPSHOT_ALIVE;
  return true;
}

/* --- the end of it ---------------------------------------------------------------------------- */

static bool
finalize (VarveQmp *qmp, const VarveStart *start, GCancellable *cancellable, GError **error)
{
  g_auto (Jobs) jobs = { NULL };

  if (!query_sound (qmp, start, &jobs, cancellable, error))
    return false;
  for (guint i = 0; i < start->disks->len; i++) {
    if (!is_ready (jobs.of[i]))
      return varve_throw (error, VARVE_ERROR_USAGE, "Disk '%s' is not all written yet.",
                          disk_name (start, i));
  }
  for (guint i = 0; i < start->disks->len; i++) {
    if (has_status (jobs.of[i], "pending") &&
        !varve_qmp_run (qmp, "job-finalize",
                        varve_qmp_args ("{'id':%s}", varve_json_string (jobs.of[i], "id")),
                        cancellable, error))
      return false;
  }
  return true;
}

static bool
is_conclusion (const char *event, JsonObject *data, gpointer user_data)
{
  return g_str_equal (event, "JOB_STATUS_CHANGE") &&
         g_strcmp0 (varve_json_string (data, "status"), "concluded") == 0;
}

static bool
all_concluded (VarveQmp *qmp, const VarveStart *start, bool *out, GCancellable *cancellable,
               GError **error)
{
  g_auto (Jobs) jobs = { NULL };

  if (!query_sound (qmp, start, &jobs, cancellable, error))
    return false;
  *out = true;
  for (guint i = 0; i < start->disks->len; i++)
    *out = *out && has_status (jobs.of[i], "concluded");
  return true;
}

bool
varve_qemu_push_finish (VarveQmp *qmp, const VarveStart *start, GCancellable *cancellable,
                        GError **error)
{
  int64_t deadline = g_get_monotonic_time () + FINALIZE_TIMEOUT_US;
  bool concluded = false;

  if (!finalize (qmp, start, cancellable, error))
    return false;
  while (all_concluded (qmp, start, &concluded, cancellable, error)) {
    g_autoptr (GError) local = NULL;
    g_autoptr (JsonObject) event = NULL;

    if (concluded)
      return true;
    if (g_get_monotonic_time () > deadline)
      return varve_throw (error, VARVE_ERROR_HYPERVISOR,
                          "The backup jobs of session %s do not end, though they have written "
                          "everything.",
                          start->session);
    event = varve_qmp_wait_event (qmp, is_conclusion, NULL, EVENT_WAIT_MS, cancellable, &local);
    if (local) {
      g_propagate_error (error, g_steal_pointer (&local));
      return false;
    }
  }
  return false;
}
