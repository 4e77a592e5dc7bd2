/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The documents that libvirt gets. Every value passes through markup escaping. */
#include "config.h"

#include "virt/libvirt/libvirt-xml.h"

char *
varve_libvirt_export_bitmap (const char *session)
{
  return g_strconcat ("varve-", session, NULL);
}

char *
varve_libvirt_socket_path (const VarveStart *start)
{
  return g_strdup_printf ("%s/%s.nbd", start->directory, start->session);
}

static void G_GNUC_PRINTF (2, 3) append (GString *out, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list ap;

  va_start (ap, format);
  text = g_markup_vprintf_escaped (format, ap);
  va_end (ap);
  g_string_append (out, text);
}

static void
append_image (GString *out, const VarveStart *start, const VarveStartDisk *disk)
{
  if (!start->push)
    append (out, "      <driver type='qcow2'/>\n      <scratch file='%s'/>\n", disk->scratch);
  else
    append (out, "      <driver type='%s'/>\n      <target %s='%s'/>\n",
            disk->target_form == VARVE_PUSH_QCOW2 ? "qcow2" : "raw",
            disk->target_form == VARVE_PUSH_DEVICE ? "dev" : "file", disk->target);
}

static void
append_backup_disk (GString *out, const VarveStart *start, const VarveStartDisk *disk)
{
  g_autofree char *bitmap = varve_libvirt_export_bitmap (start->session);

  append (out, "    <disk name='%s' backup='yes' type='%s'", disk->disk,
          start->push && disk->target_form == VARVE_PUSH_DEVICE ? "block" : "file");
  if (disk->since)
    append (out, " backupmode='incremental' incremental='%s'", disk->since);
  else
    append (out, " backupmode='full'");
  if (!start->push)
    append (out, " exportname='%s' exportbitmap='%s'", disk->disk, bitmap);
  append (out, ">\n");
  append_image (out, start, disk);
  append (out, "    </disk>\n");
}

static void
append_server (GString *out, const VarveStart *start)
{
  g_autofree char *socket = varve_libvirt_socket_path (start);

  if (start->server.host)
    append (out, "  <server transport='tcp' tls='yes' name='%s' port='%u'/>\n", start->server.host,
            start->server.port);
  else
    append (out, "  <server transport='unix' socket='%s'/>\n", socket);
}

char *
varve_libvirt_format_backup (const VarveStart *start, const VarveLibvirtDefinition *definition)
{
  GString *out = g_string_new (NULL);

  append (out, "<domainbackup mode='%s'>\n", start->push ? "push" : "pull");
  if (!start->push)
    append_server (out, start);
  g_string_append (out, "  <disks>\n");
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *known = g_ptr_array_index (definition->disks, i);
    const VarveStartDisk *disk = varve_start_find_disk (start, known->name);

    if (disk)
      append_backup_disk (out, start, disk);
    else
      append (out, "    <disk name='%s' backup='no'/>\n", known->name);
  }
  g_string_append (out, "  </disks>\n</domainbackup>\n");
  return g_string_free (out, FALSE);
}

static void
append_checkpoint_head (GString *out, const char *name, const char *description)
{
  append (out, "<domaincheckpoint>\n  <name>%s</name>\n", name);
  if (description)
    append (out, "  <description>%s</description>\n", description);
}

char *
varve_libvirt_format_new_checkpoint (const char *name, const char *description, GPtrArray *disks,
                                     const VarveLibvirtDefinition *definition)
{
  GString *out = g_string_new (NULL);

  append_checkpoint_head (out, name, description);
  g_string_append (out, "  <disks>\n");
  for (guint i = 0; i < definition->disks->len; i++) {
    const VarveLibvirtDisk *known = g_ptr_array_index (definition->disks, i);
    bool wanted = g_ptr_array_find_with_equal_func (disks, known->name, g_str_equal, NULL);

    append (out, "    <disk name='%s' checkpoint='%s'/>\n", known->name, wanted ? "bitmap" : "no");
  }
  g_string_append (out, "  </disks>\n</domaincheckpoint>\n");
  return g_string_free (out, FALSE);
}

char *
varve_libvirt_format_checkpoint (const VarveStart *start, const VarveLibvirtDefinition *definition)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new ();

  for (guint i = 0; start->checkpoint && i < start->disks->len; i++) {
    const VarveStartDisk *disk = g_ptr_array_index (start->disks, i);

    if (disk->checkpoint)
      g_ptr_array_add (disks, disk->disk);
  }
  if (disks->len == 0)
    return NULL;
  return varve_libvirt_format_new_checkpoint (start->checkpoint, start->description, disks,
                                              definition);
}

char *
varve_libvirt_format_redefine (const char *name, const char *description, int64_t created,
                               GPtrArray *disks)
{
  GString *out = g_string_new (NULL);

  append_checkpoint_head (out, name, description);
  append (out, "  <creationTime>%" G_GINT64_FORMAT "</creationTime>\n  <disks>\n", created);
  for (guint i = 0; i < disks->len; i++)
    append (out, "    <disk name='%s' checkpoint='bitmap' bitmap='%s'/>\n",
            (const char *)g_ptr_array_index (disks, i), name);
  g_string_append (out, "  </disks>\n</domaincheckpoint>\n");
  return g_string_free (out, FALSE);
}
