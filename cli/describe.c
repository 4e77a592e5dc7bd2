/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A backup as an object for programs: the same for `list` and `show`. */
#include "config.h"

#include "cli.h"

static void
add_disk (JsonBuilder *object, const VarveBackupDisk *disk)
{
  json_builder_begin_object (object);
  cli_json_string (object, "disk", disk->name);
  cli_json_number (object, "size", (gint64)disk->size);
  cli_json_string (object, "decision", disk->decision);
  cli_json_string (object, "reason", disk->reason);
  cli_json_string (object, "base", disk->base);
  cli_json_number (object, "links", disk->links);
  cli_json_number (object, "read", (gint64)disk->read);
  cli_json_number (object, "stored", (gint64)disk->stored);
  cli_json_number (object, "zeroed", (gint64)disk->zeroed);
  cli_json_string (object, "file", disk->file);
  cli_json_string (object, "format", disk->format);
  cli_json_string (object, "sums", disk->sums);
  json_builder_end_object (object);
}

void
cli_output_backup (CliOutput *output, VarveBackup *backup)
{
  GPtrArray *disks = varve_backup_get_disks (backup);
  g_autoptr (JsonBuilder) object = cli_json_begin ("backup");

  cli_json_string (object, "backup", varve_backup_get_id (backup));
  cli_json_string (object, "domain", varve_backup_get_domain (backup));
  cli_json_string (object, "uuid", varve_backup_get_uuid (backup));
  cli_json_string (object, "owner", varve_backup_get_owner (backup));
  cli_json_string (object, "checkpoint", varve_backup_get_checkpoint (backup));
  cli_json_string (object, "consistency", varve_backup_get_consistency (backup));
  cli_json_string (object, "directory", varve_backup_get_directory (backup));
  cli_json_number (object, "time", varve_backup_get_time (backup));
  json_builder_set_member_name (object, "disks");
  json_builder_begin_array (object);
  for (guint i = 0; i < disks->len; i++)
    add_disk (object, g_ptr_array_index (disks, i));
  json_builder_end_array (object);
  cli_output_json (output, object);
}

void
cli_output_problem (CliOutput *output, const char *text)
{
  g_autoptr (JsonBuilder) object = cli_json_begin ("problem");

  cli_json_string (object, "text", text);
  cli_output_json (output, object);
}
