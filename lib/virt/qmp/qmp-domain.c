/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reaching a bare QEMU: identity, state, and what to make of a socket that nobody listens on. One
 * connection a domain, as QEMU's monitor serves one client. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "qemu/json-get.h"
#include "util/error.h"

#define URI_PREFIX "qmp+unix://"
#define NO_UUID    "00000000-0000-0000-0000-000000000000"

static const VarveDomainOps qmp_ops;

static char *
path_from_uri (const char *uri, GError **error)
{
  g_autofree char *path = NULL;

  if (g_str_has_prefix (uri, URI_PREFIX))
    path = g_uri_unescape_string (uri + strlen (URI_PREFIX), NULL);
  if (path && path[0] == '/' && path[1])
    return g_steal_pointer (&path);
  varve_throw (error, VARVE_ERROR_USAGE,
               "'%s' does not name the socket of a QEMU monitor: write qmp+unix:///PATH.", uri);
  return NULL;
}

/* No such socket, or no process behind it. Whatever else goes wrong says nothing about QEMU. */
static bool
nobody_listens (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd, failed = 0;

  if (strlen (path) >= sizeof address.sun_path)
    return false;
  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return false;
  if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0)
    failed = errno;
  close (fd);
  return failed == ENOENT || failed == ECONNREFUSED;
}

/* QEMU may have changed its user after it made the socket, so /proc knows better than the socket.
 */
static bool
learn_process (VarveQmpDomain *domain, GError **error)
{
  if (!varve_qmp_peer (domain->qmp, &domain->pid, &domain->uid, &domain->gid, error))
    return false;
  if (domain->pid <= 0)
    return true;

  g_autofree char *path = g_strdup_printf ("/proc/%d/status", (int)domain->pid);
  g_autofree char *text = NULL;
  unsigned fsuid, fsgid;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return true;
  const char *uid = strstr (text, "\nUid:");
  const char *gid = strstr (text, "\nGid:");
  if (uid && gid && sscanf (uid, "\nUid: %*u %*u %*u %u", &fsuid) == 1 &&
      sscanf (gid, "\nGid: %*u %*u %*u %u", &fsgid) == 1) {
    domain->uid = fsuid;
    domain->gid = fsgid;
  }
  return true;
}

/* SOURCE_UNREACHABLE is kept for a QEMU that has gone: callers take it for that. */
static bool
connect_monitor (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;

  g_clear_pointer (&domain->qmp, varve_qmp_free);
  domain->qmp = varve_qmp_connect (domain->path, 0, cancellable, &local);
  if (domain->qmp)
    return learn_process (domain, error);
  if (varve_error_matches (local, VARVE_ERROR_SOURCE_UNREACHABLE) && !nobody_listens (domain->path))
    local->code = VARVE_ERROR_HYPERVISOR;
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

bool
varve_qmp_domain_revive (VarveQmpDomain *domain, bool *out_gone, GError **error)
{
  g_autoptr (GError) local = NULL;

  *out_gone = false;
  if (domain->qmp) {
    if (varve_qmp_run (domain->qmp, "query-status", NULL, NULL, &local))
      return true;
    g_clear_error (&local);
  }
  if (connect_monitor (domain, NULL, &local))
    return true;
  if (varve_error_matches (local, VARVE_ERROR_SOURCE_UNREACHABLE)) {
    *out_gone = true;
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&local));
  return false;
}

static JsonObject *
reply_object (JsonNode *reply, const char *command, GError **error)
{
  if (JSON_NODE_HOLDS_OBJECT (reply))
    return json_node_get_object (reply);
  varve_throw (error, VARVE_ERROR_HYPERVISOR, "QEMU answered %s with something that is no object.",
               command);
  return NULL;
}

/* A string member of a command's reply; "" where it is missing. */
static char *
query_string (VarveQmpDomain *domain, const char *command, const char *member,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonNode) reply = varve_qmp_execute (domain->qmp, command, NULL, cancellable, error);
  JsonObject *object = reply ? reply_object (reply, command, error) : NULL;

  if (!object)
    return NULL;
  const char *text = varve_json_string (object, member);
  return g_strdup (text ? text : "");
}

char *
varve_qmp_domain_status (VarveQmpDomain *domain, GCancellable *cancellable, GError **error)
{
  return query_string (domain, "query-status", "status", cancellable, error);
}

JsonArray *
varve_qmp_list (VarveQmpDomain *domain, const char *command, GCancellable *cancellable,
                GError **error)
{
  return varve_qmp_execute_list (domain->qmp, command, NULL, cancellable, error);
}

static bool
learn_name (VarveQmpDomain *domain, const char *wanted, GCancellable *cancellable, GError **error)
{
  g_autofree char *name = query_string (domain, "query-name", "name", cancellable, error);

  if (!name)
    return false;
  if (!*name && !wanted)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "The QEMU behind '%s' has no name: start it with -name NAME, or name the "
                        "domain to varve.",
                        domain->path);
  if (*name && wanted && !g_str_equal (name, wanted))
    return varve_throw (error, VARVE_ERROR_NOT_FOUND,
                        "The QEMU behind '%s' is domain '%s', not '%s': give the socket of the "
                        "right one.",
                        domain->path, name, wanted);
  domain->base.name = *name ? g_steal_pointer (&name) : g_strdup (wanted);
  return true;
}

static bool
learn_identity (VarveQmpDomain *domain, const VarveDomainAddress *address,
                GCancellable *cancellable, GError **error)
{
  if (!learn_name (domain, address->name, cancellable, error))
    return false;

  g_autofree char *uuid = query_string (domain, "query-uuid", "UUID", cancellable, error);
  if (!uuid)
    return false;
  domain->base.uuid = *uuid && !g_str_equal (uuid, NO_UUID)
                          ? g_ascii_strdown (uuid, -1)
                          : varve_domain_uuid_from_name (domain->base.name);
  return true;
}

static void
copy_address (VarveQmpDomain *domain, const VarveDomainAddress *address)
{
  GHashTableIter iter;
  gpointer key, value;

  domain->base.uri = g_strdup (address->uri);
  domain->agent = g_strdup (address->agent);
  if (address->qdevs) {
    g_hash_table_iter_init (&iter, address->qdevs);
    while (g_hash_table_iter_next (&iter, &key, &value))
      g_hash_table_insert (domain->qdevs, g_strdup (key), g_strdup (value));
  }
  if (address->images) {
    g_hash_table_iter_init (&iter, address->images);
    while (g_hash_table_iter_next (&iter, &key, &value))
      g_hash_table_insert (domain->images, g_strdup (key), varve_image_copy (value));
  }
}

static void
qmp_domain_free (VarveDomain *base)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;

  g_clear_pointer (&domain->qmp, varve_qmp_free);
  g_clear_pointer (&domain->schema, varve_qmp_schema_free);
  g_hash_table_unref (domain->qdevs);
  g_hash_table_unref (domain->images);
  g_free (domain->path);
  g_free (domain->agent);
  g_free (base->uri);
  g_free (base->name);
  g_free (base->uuid);
  g_free (domain);
}

static VarveQmpDomain *
qmp_domain_new (const VarveDomainAddress *address)
{
  VarveQmpDomain *domain = g_new0 (VarveQmpDomain, 1);

  domain->base.ops = &qmp_ops;
  domain->base.local = true;
  domain->qdevs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  domain->images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);
  copy_address (domain, address);
  return domain;
}

VarveDomain *
varve_qmp_domain_open (const VarveDomainAddress *address, GCancellable *cancellable, GError **error)
{
  g_autofree char *path = path_from_uri (address->uri, error);
  if (!path)
    return NULL;

  VarveQmpDomain *domain = qmp_domain_new (address);
  g_autoptr (VarveDomain) base = &domain->base;
  g_autoptr (GError) local = NULL;

  domain->path = g_steal_pointer (&path);
  if (connect_monitor (domain, cancellable, &local)) {
    if (!learn_identity (domain, address, cancellable, error))
      return NULL;
    return g_steal_pointer (&base);
  }
  if (varve_error_matches (local, VARVE_ERROR_SOURCE_UNREACHABLE) &&
      g_hash_table_size (domain->images) > 0)
    return varve_image_domain_open (address, cancellable, error);
  g_propagate_error (error, g_steal_pointer (&local));
  return NULL;
}

static bool
qmp_state (VarveDomain *base, VarveDomainState *out, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  bool gone;

  if (!varve_qmp_domain_revive (domain, &gone, error))
    return false;
  if (gone) {
    *out = VARVE_DOMAIN_OFF;
    return true;
  }

  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);
  if (!status)
    return false;
  if (g_str_equal (status, "running"))
    *out = VARVE_DOMAIN_RUNNING;
  else if (g_str_equal (status, "io-error"))
    *out = VARVE_DOMAIN_PAUSED_IO_ERROR;
  else
    *out = VARVE_DOMAIN_PAUSED;
  return true;
}

static bool
qmp_files (VarveDomain *base, VarveDomainFiles *out, GCancellable *cancellable, GError **error)
{
  out->why_not = g_strdup ("A bare QEMU has no domain XML: keep its command line with the backup.");
  return true;
}

static bool
qmp_resume (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  g_autofree char *status = varve_qmp_domain_status (domain, cancellable, error);

  if (!status)
    return false;
  return !g_str_equal (status, "io-error") ||
         varve_qmp_run (domain->qmp, "cont", NULL, cancellable, error);
}

static const VarveDomainOps qmp_ops = {
  .name = "qmp",
  .inventory = varve_qmp_inventory,
  .bitmaps = varve_qmp_bitmaps,
  .state = qmp_state,
  .freeze = varve_qmp_freeze,
  .thaw = varve_qmp_thaw,
  .files = qmp_files,
  .check = varve_qmp_check,
  .start = varve_qmp_start,
  .attach = varve_qmp_attach,
  .endpoint = varve_qmp_endpoint,
  .poll = varve_qmp_poll,
  .progress = varve_qmp_progress,
  .set_speed = varve_qmp_set_speed,
  .finish = varve_qmp_finish,
  .end = varve_qmp_end,
  .snapshot_free = varve_qmp_snapshot_free,
  .left_overs = varve_qmp_left_overs,
  .halt = varve_qmp_halt,
  .restart = varve_qmp_restart,
  .rewrite_check = varve_qmp_rewrite_check,
  .rewrite = varve_qmp_rewrite,
  .rewrite_endpoint = varve_qmp_rewrite_endpoint,
  .rewrite_finish = varve_qmp_rewrite_finish,
  .rewrite_free = varve_qmp_rewrite_free,
  .fill_check = varve_qmp_fill_check,
  .fill_boot = varve_qmp_fill_boot,
  .fill_step = varve_qmp_fill_step,
  .checkpoint_remove = varve_qmp_checkpoint_remove,
  .checkpoint_add = varve_qmp_checkpoint_add,
  .checkpoint_merge = varve_qmp_checkpoint_merge,
  .resume = qmp_resume,
  .free = qmp_domain_free,
};
