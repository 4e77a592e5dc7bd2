/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A connection to libvirt, one domain of it, and what it says of itself. */
#include "config.h"

#include "virt/libvirt/libvirt-private.h"

#include <string.h>

#include "util/durable.h"
#include "virt/libvirt/libvirt-tpm.h"

/* AAVMF's variable store, the largest in use, has 64 MiB. */
#define NVRAM_MAX (64 * 1024 * 1024)
/* A thaw that gets no answer is tried again. */
#define THAW_TIMEOUT_S 3

static void
ignore_error (void *data, virErrorPtr error)
{
}

static bool
is_local (GUri *uri)
{
  const char *plus = strchr (g_uri_get_scheme (uri), '+');
  const char *host = g_uri_get_host (uri);

  return (!plus || strcmp (plus, "+unix") == 0) && (!host || !*host);
}

/* QEMU's driver, on this host unless the caller needs nothing that is reached by path. */
static bool
check_uri (const char *text, bool elsewhere, bool *out_local, GError **error)
{
  g_autoptr (GUri) uri = g_uri_parse (text, G_URI_FLAGS_NON_DNS, NULL);
  const char *scheme = uri ? g_uri_get_scheme (uri) : "";

  if (!uri)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "'%s' is no libvirt URI; use qemu:///system or qemu:///session.", text);
  if (strcmp (scheme, "qemu") != 0 && !g_str_has_prefix (scheme, "qemu+"))
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "'%s' is not QEMU's driver of libvirt, the only one that has backups; use "
                        "qemu:///system or qemu:///session.",
                        text);
  *out_local = is_local (uri);
  return *out_local || elsewhere ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "'%s' names a libvirt on another host, whose sockets and scratch files "
                      "cannot be reached from here. Run varve on that host, or have a backup pull "
                      "by TCP and TLS (varve-backup(1), --listen).",
                      text);
}

static virConnectPtr
open_connection (const char *uri, GError **error)
{
  virConnectPtr connection = virConnectOpen (uri);

  if (connection) {
    virConnSetErrorFunc (connection, NULL, ignore_error);
    return connection;
  }
  varve_libvirt_throw (error, "Cannot connect to libvirt at '%s'", uri);
  /* Whatever was in the way. */
  if (error && varve_error_matches (*error, VARVE_ERROR_HYPERVISOR))
    varve_reclassify (error, VARVE_ERROR_SOURCE_UNREACHABLE);
  return NULL;
}

virConnectPtr
varve_libvirt_connect_here (const char *uri, GError **error)
{
  bool local;

  return check_uri (uri, false, &local, error) ? open_connection (uri, error) : NULL;
}

static virDomainPtr
lookup (virConnectPtr connection, const char *name, GError **error)
{
  virDomainPtr domain = virDomainLookupByName (connection, name);

  if (!domain && varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN && g_uuid_string_is_valid (name))
    domain = virDomainLookupByUUIDString (connection, name);
  if (!domain)
    varve_libvirt_throw (
        error, "Cannot find domain '%s' ('virsh list --all' shows which there are)", name);
  return domain;
}

static void
disconnect (VarveLibvirtDomain *self)
{
  g_clear_pointer (&self->domain, virDomainFree);
  g_clear_pointer (&self->connection, virConnectClose);
}

static bool
reconnect (VarveLibvirtDomain *self, GError **error)
{
  disconnect (self);
  self->connection = open_connection (self->base.uri, error);
  if (!self->connection)
    return false;
  self->domain = virDomainLookupByUUIDString (self->connection, self->base.uuid);
  return self->domain ||
         varve_libvirt_throw (error, "Cannot find domain '%s' again", self->base.name);
}

static VarveDomainState
state_of (int state, int reason)
{
  switch (state) {
  case VIR_DOMAIN_SHUTOFF:
    return VARVE_DOMAIN_OFF;
  case VIR_DOMAIN_PAUSED:
    return reason == VIR_DOMAIN_PAUSED_IOERROR ? VARVE_DOMAIN_PAUSED_IO_ERROR : VARVE_DOMAIN_PAUSED;
  case VIR_DOMAIN_CRASHED: /* the guest has; on_crash='preserve' keeps its QEMU */
  case VIR_DOMAIN_PMSUSPENDED:
    return VARVE_DOMAIN_PAUSED;
  default:
    return VARVE_DOMAIN_RUNNING;
  }
}

bool
varve_libvirt_look (VarveLibvirtDomain *self, VarveDomainState *out, GCancellable *cancellable,
                    GError **error)
{
  int state, reason;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return false;
  if (self->domain && virDomainGetState (self->domain, &state, &reason, 0) == 0) {
    *out = state_of (state, reason);
    return true;
  }
  if (self->domain && !varve_libvirt_error_is_disconnect ())
    return varve_libvirt_throw (error, "Cannot tell the state of domain '%s'", self->base.name);
  if (!reconnect (self, error))
    return false;
  if (virDomainGetState (self->domain, &state, &reason, 0) < 0)
    return varve_libvirt_throw (error, "Cannot tell the state of domain '%s'", self->base.name);
  *out = state_of (state, reason);
  return true;
}

static bool
get_state (VarveDomain *domain, VarveDomainState *out, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  return varve_libvirt_look ((VarveLibvirtDomain *)domain, out, cancellable, error);
}

VarveLibvirtDefinition *
varve_libvirt_definition (VarveLibvirtDomain *self, unsigned flags, GError **error)
{
  g_autofree char *xml = virDomainGetXMLDesc (self->domain, flags);

  if (!xml) {
    varve_libvirt_throw (error, "Cannot read the definition of domain '%s'", self->base.name);
    return NULL;
  }
  return varve_libvirt_definition_parse (xml, error);
}

bool
varve_libvirt_backup (VarveLibvirtDomain *self, VarveLibvirtBackup **out, GError **error)
{
  g_autofree char *xml = virDomainBackupGetXMLDesc (self->domain, 0);

  *out = NULL;
  if (!xml && varve_libvirt_error_code () == VIR_ERR_NO_DOMAIN_BACKUP)
    return true;
  if (!xml)
    return varve_libvirt_throw (error, "Cannot ask for the backup job of domain '%s'",
                                self->base.name);
  *out = varve_libvirt_backup_parse (xml, error);
  return *out != NULL;
}

/* How long libvirt waits for an answer of the agent. It keeps what is set, for all who come later. 0 would
 * mean not to wait at all. */
static void
set_agent_timeout (VarveLibvirtDomain *self, unsigned seconds)
{
  virDomainAgentSetResponseTimeout (self->domain, (int)CLAMP (seconds, 1, G_MAXINT), 0);
}

static void
reset_agent_timeout (VarveLibvirtDomain *self)
{
  virDomainAgentSetResponseTimeout (self->domain, VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT, 0);
}

static bool
freeze (VarveDomain *domain, unsigned timeout_s, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;
  bool ok;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_RUNNING)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "Domain '%s' does not run, so that its guest agent cannot be asked to "
                        "freeze the file systems.",
                        domain->name);
  set_agent_timeout (self, timeout_s);
  ok = virDomainFSFreeze (self->domain, NULL, 0, 0) >= 0 ||
       varve_libvirt_throw (error, "The guest agent of '%s' did not freeze the file systems",
                            domain->name);
  reset_agent_timeout (self);
  return ok;
}

/* A domain that is off, or has no agent at all, has nothing frozen. */
static bool
thaw (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;
  bool ok;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state == VARVE_DOMAIN_OFF)
    return true;
  set_agent_timeout (self, THAW_TIMEOUT_S);
  ok = virDomainFSThaw (self->domain, NULL, 0, 0) >= 0 ||
       varve_libvirt_error_code () == VIR_ERR_ARGUMENT_UNSUPPORTED ||
       varve_libvirt_throw (error, "The guest agent of '%s' did not thaw the file systems",
                            domain->name);
  reset_agent_timeout (self);
  return ok;
}

static void
read_nvram (const VarveLibvirtDomain *self, const char *path, VarveDomainFiles *out)
{
  g_autoptr (GError) failed = NULL;
  char *data = NULL;
  size_t length = 0;

  if (!self->base.local)
    out->why_not = g_strdup ("it is on another host");
  else if (varve_read_file (path, NVRAM_MAX, &data, &length, &failed))
    out->nvram = g_bytes_new_take (data, length);
  else
    out->why_not = g_strdup (failed->message);
}

/* The definition that `virsh define` takes (INACTIVE), with passwords (SECURE): it is to bring the
 * domain back, and what runs only until the next shutdown (ports, process ids, addresses of the
 * host) is no part of it. A disk that was attached for this run only is thus not in it, though it
 * is backed up. */
static bool
files (VarveDomain *domain, VarveDomainFiles *out, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  g_autoptr (VarveLibvirtDefinition) definition = NULL;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  out->xml = virDomainGetXMLDesc (self->domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE);
  if (!out->xml)
    return varve_libvirt_throw (error, "Cannot read the definition of domain '%s'", domain->name);
  definition = varve_libvirt_definition_parse (out->xml, error);
  if (!definition)
    return false;
  if (definition->nvram)
    read_nvram (self, definition->nvram, out);
  if (definition->tpm)
    varve_libvirt_tpm_read (domain, definition->tpm, &out->tpm, &out->why_no_tpm);
  return true;
}

static bool
resume (VarveDomain *domain, GCancellable *cancellable, GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;
  VarveDomainState state;

  if (!varve_libvirt_look (self, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_PAUSED_IO_ERROR || virDomainResume (self->domain) == 0)
    return true;
  return varve_libvirt_throw (error, "Cannot resume domain '%s', which an I/O error has paused",
                              domain->name);
}

static void
domain_free (VarveDomain *domain)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self = (VarveLibvirtDomain *)domain;

  disconnect (self);
  g_free (domain->uri);
  g_free (domain->name);
  g_free (domain->uuid);
  g_free (self);
}

static const VarveDomainOps ops = {
  .name = "libvirt",
  .inventory = varve_libvirt_inventory,
  .bitmaps = varve_libvirt_bitmaps,
  .find_bitmaps = varve_libvirt_find_bitmaps,
  .state = get_state,
  .freeze = freeze,
  .thaw = thaw,
  .files = files,
  .check = varve_libvirt_check,
  .start = varve_libvirt_start,
  .attach = varve_libvirt_attach,
  .endpoint = varve_libvirt_endpoint,
  .progress = varve_libvirt_progress,
  .set_speed = varve_libvirt_set_speed,
  .poll = varve_libvirt_poll,
  .finish = varve_libvirt_finish,
  .end = varve_libvirt_end,
  .snapshot_free = varve_libvirt_snapshot_free,
  .left_overs = varve_libvirt_left_overs,
  .halt = varve_libvirt_halt,
  .restart = varve_libvirt_restart,
  .rewrite = varve_libvirt_rewrite,
  .rewrite_check = varve_libvirt_rewrite_check,
  .rewrite_endpoint = varve_libvirt_rewrite_endpoint,
  .rewrite_finish = varve_libvirt_rewrite_finish,
  .rewrite_free = varve_libvirt_rewrite_free,
  .fill_boot = varve_libvirt_fill_boot,
  .fill_step = varve_libvirt_fill_step,
  .checkpoint_remove = varve_libvirt_checkpoint_remove,
  .checkpoint_add = varve_libvirt_checkpoint_add,
  .checkpoint_merge = varve_libvirt_checkpoint_merge,
  .checkpoint_redefine = varve_libvirt_checkpoint_redefine,
  .checkpoint_forget = varve_libvirt_forget,
  .checkpoint_metadata = varve_libvirt_checkpoint_metadata,
  .resume = resume,
  .free = domain_free,
};

static bool
identify (VarveLibvirtDomain *self, GError **error)
{
  char uuid[VIR_UUID_STRING_BUFLEN];

  if (virDomainGetUUIDString (self->domain, uuid) < 0)
    return varve_libvirt_throw (error, "Cannot tell the uuid of a domain");
  self->base.name = g_strdup (virDomainGetName (self->domain));
  self->base.uuid = g_ascii_strdown (uuid, -1);
  return true;
}

VarveDomain *
varve_libvirt_domain_open (const VarveDomainAddress *address, GCancellable *cancellable,
                           GError **error)
{
  VARVE_SIGPIPE_GUARD;
  VarveLibvirtDomain *self;
  bool local;

  if (!check_uri (address->uri, address->elsewhere, &local, error) ||
      g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  self = g_new0 (VarveLibvirtDomain, 1);
  self->base.ops = &ops;
  self->base.local = local;
  self->base.uri = g_strdup (address->uri);
  self->connection = open_connection (address->uri, error);
  if (self->connection)
    self->domain = lookup (self->connection, address->name, error);
  if (!self->domain || !identify (self, error)) {
    domain_free (&self->base);
    return NULL;
  }
  return &self->base;
}
