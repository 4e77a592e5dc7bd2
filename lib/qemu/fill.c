/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "qemu/fill.h"

#include "qemu/json-get.h"
#include "util/error.h"

JsonObject *
varve_fill_server_node (const char *socket, const char *export_name)
{
  return varve_qmp_args ("{'driver':'nbd','server':{'type':'unix','path':%s},'export':%s,"
                         "'reconnect-delay':%u}",
                         socket, export_name, VARVE_FILL_RECONNECT_S);
}

char *
varve_fill_backing (const char *socket, const char *export_name)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  g_autofree char *text = NULL;

  json_node_take_object (root, varve_fill_server_node (socket, export_name));
  text = json_to_string (root, FALSE);
  return g_strconcat ("json:", text, NULL);
}

bool
varve_fill_open (VarveQmp *qmp, const char *node, const char *path, const char *socket,
                 const char *export_name, GCancellable *cancellable, GError **error)
{
  g_autofree char *file = g_strconcat (node, "-file", NULL);
  g_autofree char *below = g_strconcat (node, "-nbd", NULL);
  JsonObject *server = varve_fill_server_node (socket, export_name);

  json_object_set_string_member (server, "node-name", below);
  json_object_set_boolean_member (server, "read-only", TRUE);
  return varve_qmp_run (
      qmp, "blockdev-add",
      varve_qmp_args ("{'driver':'qcow2','node-name':%s,'discard':'unmap','file':{'driver':'file',"
                      "'node-name':%s,'filename':%s,'discard':'unmap'},'backing':%o}",
                      node, file, path, server),
      cancellable, error);
}

/* Of an array that a command returns: the object whose @member is @value; NULL: none. Owned by @list. */
static JsonObject *
find (JsonArray *list, const char *member, const char *value)
{
  for (guint i = 0; i < json_array_get_length (list); i++) {
    JsonObject *object = varve_json_array_object (list, i);

    if (g_strcmp0 (varve_json_string (object, member), value) == 0)
      return object;
  }
  return NULL;
}

static bool
look_below (VarveQmp *qmp, const char *node, bool *out_depends, GCancellable *cancellable,
            GError **error)
{
  g_autoptr (JsonArray) nodes = varve_qmp_execute_list (
      qmp, "query-named-block-nodes", varve_qmp_args ("{'flat':%b}", true), cancellable, error);
  JsonObject *found = nodes ? find (nodes, "node-name", node) : NULL;

  if (!nodes)
    return false;
  if (!found)
    return varve_throw (error, VARVE_ERROR_SOURCE_LOST, "QEMU has no node '%s' any more.", node);
  *out_depends = varve_json_string (found, "backing_file") != NULL;
  return true;
}

static bool
begin (VarveQmp *qmp, const char *node, uint64_t speed, VarveFillProgress *progress,
       GCancellable *cancellable, GError **error)
{
  if (progress->begun) {
    progress->begun = false;
    return varve_throw (error, VARVE_ERROR_FAILED, "Somebody else cancelled QEMU's job.");
  }
  progress->begun =
      varve_qmp_run (qmp, "block-stream",
                     varve_qmp_args ("{'job-id':%s,'device':%s,'speed':%llu,'on-error':'stop'}",
                                     node, node, (unsigned long long)speed),
                     cancellable, error);
  return progress->begun;
}

/* One that met an error stands, and goes on when it is told to: who has just come tries that. */
static bool
look_at_job (VarveQmp *qmp, const char *node, JsonObject *job, VarveFillProgress *progress,
             GCancellable *cancellable, GError **error)
{
  const char *status = varve_json_string (job, "io-status");
  bool was_begun = progress->begun;

  progress->done = (uint64_t)MAX (0, varve_json_int (job, "offset", 0));
  progress->total = (uint64_t)MAX (0, varve_json_int (job, "len", 0));
  progress->begun = g_strcmp0 (status, "ok") == 0 || !was_begun;
  if (g_strcmp0 (status, "ok") == 0)
    return true;
  if (!was_begun)
    return varve_qmp_run (qmp, "block-job-resume", varve_qmp_args ("{'device':%s}", node),
                          cancellable, error);
  if (g_strcmp0 (status, "nospace") == 0)
    return varve_throw (error, VARVE_ERROR_NO_SPACE, "There is no space left for its image.");
  return varve_throw (error, VARVE_ERROR_FAILED,
                      "QEMU cannot read the backup, or write the image.");
}

bool
varve_fill_step (VarveQmp *qmp, const char *node, uint64_t speed, VarveFillProgress *progress,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonArray) jobs =
      varve_qmp_execute_list (qmp, "query-block-jobs", NULL, cancellable, error);
  JsonObject *job = jobs ? find (jobs, "device", node) : NULL;
  bool depends = false;

  if (job)
    return look_at_job (qmp, node, job, progress, cancellable, error);
  if (!jobs || !look_below (qmp, node, &depends, cancellable, error))
    return false;
  progress->ready = !depends;
  return !depends || begin (qmp, node, speed, progress, cancellable, error);
}
