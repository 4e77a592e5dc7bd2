/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The manifest as a document; varve-images(5) describes it, xml-schemas/backup.rng is its grammar.
 */
#include "config.h"

#include "store/manifest.h"

#include <string.h>

#include "util/clock.h"
#include "util/error.h"
#include "util/xml.h"

#define FORMAT_VERSION 1

/* --- writing ---------------------------------------------------------------------------------- */

static void
append_element (GString *out, const char *name, const char *text)
{
  if (text == NULL)
    return;
  g_string_append_printf (out, "  <%s>", name);
  varve_xml_append_text (out, text);
  g_string_append_printf (out, "</%s>\n", name);
}

static void
append_disk (GString *out, const VarveManifestDisk *disk)
{
  g_string_append (out, "    <disk");
  varve_xml_append_attribute (out, "name", disk->name);
  varve_xml_append_number (out, "size", disk->size);
  varve_xml_append_attribute (out, "source-format", disk->source_format);
  varve_xml_append_attribute (out, "checkpoint", disk->checkpoint ? "yes" : "no");
  g_string_append (out, ">\n      <decision");
  varve_xml_append_attribute (out, "type", disk->decision);
  varve_xml_append_attribute (out, "base", disk->base);
  g_string_append_c (out, '>');
  varve_xml_append_text (out, disk->reason);
  g_string_append (out, "</decision>\n      <image");
  varve_xml_append_attribute (out, "file", disk->file);
  varve_xml_append_attribute (out, "format", "qcow2");
  varve_xml_append_number (out, "bytes", disk->file_size);
  varve_xml_append_number (out, "links", disk->links);
  g_string_append (out, "/>\n      <sums");
  varve_xml_append_attribute (out, "file", disk->sums_file);
  varve_xml_append_attribute (out, "xxh3", disk->sums_hash);
  g_string_append (out, "/>\n      <copied");
  varve_xml_append_number (out, "read", disk->read);
  varve_xml_append_number (out, "stored", disk->stored);
  varve_xml_append_number (out, "zeroed", disk->zeroed);
  g_string_append (out, "/>\n    </disk>\n");
}

static void
append_machine (GString *out, const VarveManifest *manifest)
{
  g_string_append (out, "  <machine");
  varve_xml_append_attribute (out, "xml", manifest->has_domain_xml ? "yes" : "no");
  varve_xml_append_attribute (out, "nvram", manifest->has_nvram ? "yes" : "no");
  varve_xml_append_attribute (out, "tpm", manifest->has_tpm ? "yes" : "no");
  varve_xml_append_attribute (out, "why-not", manifest->why_not_xml);
  g_string_append (out, manifest->files->len ? ">\n" : "/>\n");
  for (guint i = 0; i < manifest->files->len; i++) {
    const VarveManifestFile *file = g_ptr_array_index (manifest->files, i);

    g_string_append (out, "    <file");
    varve_xml_append_attribute (out, "name", file->name);
    varve_xml_append_number (out, "bytes", file->size);
    varve_xml_append_attribute (out, "xxh3", file->hash);
    g_string_append (out, "/>\n");
  }
  if (manifest->files->len)
    g_string_append (out, "  </machine>\n");
}

char *
varve_manifest_format (const VarveManifest *manifest)
{
  g_autoptr (GString) out = g_string_new ("<backup");
  g_autofree char *started = varve_format_time (manifest->started);
  g_autofree char *finished = varve_format_time (manifest->finished);

  varve_xml_append_number (out, "version", FORMAT_VERSION);
  varve_xml_append_attribute (out, "id", manifest->id);
  g_string_append (out, ">\n  <domain");
  varve_xml_append_attribute (out, "uuid", manifest->uuid);
  varve_xml_append_attribute (out, "uri", manifest->uri);
  g_string_append_c (out, '>');
  varve_xml_append_text (out, manifest->domain);
  g_string_append (out, "</domain>\n");
  append_element (out, "owner", manifest->owner);
  append_element (out, "checkpoint", manifest->checkpoint);
  g_string_append (out, "  <instant");
  varve_xml_append_attribute (out, "started", started);
  varve_xml_append_attribute (out, "finished", finished);
  varve_xml_append_attribute (out, "consistency", manifest->consistency);
  varve_xml_append_attribute (out, "strategy", manifest->strategy);
  varve_xml_append_number (out, "pause-us", manifest->pause_us);
  g_string_append (out, "/>\n");
  append_machine (out, manifest);
  for (guint i = 0; i < manifest->notes->len; i++)
    append_element (out, "note", g_ptr_array_index (manifest->notes, i));
  g_string_append (out, "  <disks>\n");
  for (guint i = 0; i < manifest->disks->len; i++)
    append_disk (out, g_ptr_array_index (manifest->disks, i));
  g_string_append (out, "  </disks>\n</backup>\n");
  return g_strdup (out->str);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The text of an attribute, noted as a problem when it is missing. */
static char *
required (VarveXml *xml, const xmlNode *node, const char *name)
{
  char *value = node ? varve_xml_attribute (node, name) : NULL;

  if (node && value == NULL)
    varve_xml_problem (xml, node, "The attribute '%s' is missing.", name);
  return value;
}

static uint64_t
number (VarveXml *xml, const xmlNode *node, const char *name)
{
  g_autofree char *text = required (xml, node, name);
  uint64_t value = 0;

  if (text != NULL)
    varve_xml_parse_number (xml, node, name, text, INT64_MAX, &value);
  return value;
}

/* Names of files lie in the backup's own directory and nowhere else. */
static char *
file_name (VarveXml *xml, const xmlNode *node, const char *name)
{
  char *text = varve_xml_attribute (node, name);

  if (text != NULL && (strchr (text, '/') || text[0] == '.' || text[0] == '\0')) {
    varve_xml_problem (xml, node, "The attribute '%s' must name a file in the same directory.",
                       name);
    g_clear_pointer (&text, g_free);
  }
  return text;
}

static int64_t
time_of (VarveXml *xml, const xmlNode *node, const char *name)
{
  g_autofree char *text = required (xml, node, name);
  int64_t value = text ? varve_parse_time (text) : -1;

  if (text && value < 0)
    varve_xml_problem (xml, node, "The attribute '%s' must be a time, as 2026-01-31T23:59:59Z.",
                       name);
  return value;
}

static void
parse_image (VarveXml *xml, const xmlNode *node, VarveManifestDisk *disk)
{
  const xmlNode *image = varve_xml_child (node, "image");
  const xmlNode *sums = varve_xml_child (node, "sums");
  const xmlNode *copied = varve_xml_child (node, "copied");

  if (image == NULL || sums == NULL || copied == NULL)
    return;
  varve_xml_shape (xml, image, "file format bytes links", "");
  varve_xml_shape (xml, sums, "file? xxh3?", "");
  varve_xml_shape (xml, copied, "read stored zeroed", "");
  disk->file = file_name (xml, image, "file");
  disk->file_size = number (xml, image, "bytes");
  disk->links = (unsigned)MIN (number (xml, image, "links"), G_MAXUINT);
  disk->sums_file = file_name (xml, sums, "file");
  disk->sums_hash = varve_xml_attribute (sums, "xxh3");
  if ((disk->sums_file == NULL) != (disk->sums_hash == NULL))
    varve_xml_problem (xml, sums, "The attributes 'file' and 'xxh3' go together.");
  disk->read = number (xml, copied, "read");
  disk->stored = number (xml, copied, "stored");
  disk->zeroed = number (xml, copied, "zeroed");
}

static void
parse_disk (VarveXml *xml, const xmlNode *node, VarveManifest *manifest)
{
  g_autofree char *name = NULL;
  const xmlNode *decision = varve_xml_child (node, "decision");
  VarveManifestDisk *disk;

  varve_xml_shape (xml, node, "name size source-format? checkpoint", "decision image sums copied");
  name = required (xml, node, "name");
  if (name == NULL || decision == NULL)
    return;
  if (varve_manifest_find_disk (manifest, name))
    varve_xml_problem (xml, node, "The disk '%s' is there twice.", name);
  disk = varve_manifest_add_disk (manifest, name);
  disk->size = number (xml, node, "size");
  disk->source_format = varve_xml_attribute (node, "source-format");
  disk->checkpoint = varve_xml_yes_no (xml, node, "checkpoint", false);
  varve_xml_shape (xml, decision, "type base?", NULL);
  disk->decision = varve_xml_choice (xml, decision, "type", "full incremental rescan", "full");
  disk->base = varve_xml_attribute (decision, "base");
  if (disk->base && !varve_backup_id_is_valid (disk->base))
    varve_xml_problem (xml, decision, "The base '%s' is no backup id.", disk->base);
  disk->reason = varve_xml_text (decision);
  parse_image (xml, node, disk);
}

static void
parse_file (VarveXml *xml, const xmlNode *node, VarveManifest *manifest)
{
  g_autofree char *name = file_name (xml, node, "name");
  VarveManifestFile *file;

  varve_xml_shape (xml, node, "name bytes xxh3", "");
  if (name == NULL)
    return;
  file = varve_manifest_add_file (manifest, name);
  file->size = number (xml, node, "bytes");
  file->hash = required (xml, node, "xxh3");
}

static void
parse_machine (VarveXml *xml, const xmlNode *machine, VarveManifest *manifest)
{
  varve_xml_shape (xml, machine, "xml nvram tpm? why-not?", "file*");
  manifest->has_domain_xml = varve_xml_yes_no (xml, machine, "xml", false);
  manifest->has_nvram = varve_xml_yes_no (xml, machine, "nvram", false);
  manifest->has_tpm = varve_xml_yes_no (xml, machine, "tpm", false);
  manifest->why_not_xml = varve_xml_attribute (machine, "why-not");
  for (const xmlNode *file = varve_xml_child (machine, "file"); file;
       file = varve_xml_next (file, "file"))
    parse_file (xml, file, manifest);
}

static void
parse_domain (VarveXml *xml, const xmlNode *root, VarveManifest *manifest)
{
  const xmlNode *domain = varve_xml_child (root, "domain");
  const xmlNode *instant = varve_xml_child (root, "instant");
  const xmlNode *machine = varve_xml_child (root, "machine");

  if (domain == NULL || instant == NULL || machine == NULL)
    return;
  varve_xml_shape (xml, domain, "uuid uri", NULL);
  manifest->domain = varve_xml_text (domain);
  manifest->uuid = required (xml, domain, "uuid");
  manifest->uri = required (xml, domain, "uri");
  varve_xml_shape (xml, instant, "started finished consistency strategy? pause-us", "");
  manifest->started = time_of (xml, instant, "started");
  manifest->finished = time_of (xml, instant, "finished");
  manifest->consistency =
      varve_xml_choice (xml, instant, "consistency", "crash file-systems off", "crash");
  manifest->strategy = varve_xml_attribute (instant, "strategy");
  manifest->pause_us = number (xml, instant, "pause-us");
  parse_machine (xml, machine, manifest);
}

static void
parse_root (VarveXml *xml, const xmlNode *root, VarveManifest *manifest)
{
  const xmlNode *disks = varve_xml_child (root, "disks");

  varve_xml_shape (xml, root, "version id", "domain owner checkpoint? instant machine note* disks");
  if (number (xml, root, "version") != FORMAT_VERSION)
    varve_xml_problem (xml, root, "This manifest has a version that this varve does not know.");
  parse_domain (xml, root, manifest);
  manifest->owner = varve_xml_text (varve_xml_child (root, "owner"));
  manifest->checkpoint = varve_xml_text (varve_xml_child (root, "checkpoint"));
  for (const xmlNode *note = varve_xml_child (root, "note"); note;
       note = varve_xml_next (note, "note"))
    g_ptr_array_add (manifest->notes, varve_xml_text (note));
  if (disks == NULL)
    return;
  varve_xml_shape (xml, disks, "", "disk+");
  for (const xmlNode *disk = varve_xml_child (disks, "disk"); disk;
       disk = varve_xml_next (disk, "disk"))
    parse_disk (xml, disk, manifest);
}

VarveManifest *
varve_manifest_parse (const char *data, size_t length, const char *name, GError **error)
{
  g_autoptr (VarveXml) xml = varve_xml_new (data, length, name);
  g_autoptr (VarveManifest) manifest = NULL;
  const xmlNode *root = xml->doc ? xmlDocGetRootElement (xml->doc) : NULL;
  g_autofree char *id = root ? varve_xml_attribute (root, "id") : NULL;
  g_autofree char *problem = NULL;

  if (root && !varve_xml_is (root, "backup"))
    varve_xml_problem (xml, root, "The root element must be <backup>.");
  else if (root && (id == NULL || !varve_backup_id_is_valid (id)))
    varve_xml_problem (xml, root, "The attribute 'id' must be a backup id.");
  else if (root) {
    manifest = varve_manifest_new (id);
    parse_root (xml, root, manifest);
  }
  if (xml->problems->len == 0)
    return g_steal_pointer (&manifest);
  problem = varve_xml_problem_format (g_ptr_array_index (xml->problems, 0), name);
  varve_throw (error, VARVE_ERROR_STORE_DAMAGED, "%s", problem);
  return NULL;
}
