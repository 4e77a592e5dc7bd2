/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Events as people and programs want them: a bar on a terminal, plain lines in a pipe, JSON on
 * request. */
#include "config.h"

#include "cli.h"

#include <stdio.h>

#define BAR_WIDTH 24

char *
cli_format_size (guint64 bytes)
{
  static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
  double value = (double)bytes;
  size_t unit = 0;

  for (; value >= 1024 && unit + 1 < G_N_ELEMENTS (units); unit++)
    value /= 1024;
  return g_strdup_printf (unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* --- JSON ------------------------------------------------------------------------------------- */

JsonBuilder *
cli_json_begin (const char *event)
{
  JsonBuilder *object = json_builder_new ();

  json_builder_begin_object (object);
  cli_json_number (object, "version", 1);
  cli_json_string (object, "event", event);
  return object;
}

void
cli_json_string (JsonBuilder *object, const char *name, const char *value)
{
  if (value == NULL)
    return;
  json_builder_set_member_name (object, name);
  json_builder_add_string_value (object, value);
}

void
cli_json_number (JsonBuilder *object, const char *name, gint64 value)
{
  json_builder_set_member_name (object, name);
  json_builder_add_int_value (object, value);
}

void
cli_json_flag (JsonBuilder *object, const char *name, bool value)
{
  json_builder_set_member_name (object, name);
  json_builder_add_boolean_value (object, value);
}

void
cli_output_json (CliOutput *output, JsonBuilder *object)
{
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  if (!output->json)
    return;
  json_builder_end_object (object);
  root = json_builder_get_root (object);
  text = json_to_string (root, FALSE);
  printf ("%s\n", text);
  fflush (stdout);
}

static void
event_json (CliOutput *output, const VarveEvent *event)
{
  g_autoptr (JsonBuilder) object = cli_json_begin (varve_event_type_get_name (event->type));

  cli_json_string (object, "action", event->action);
  cli_json_string (object, "domain", event->domain);
  cli_json_string (object, "disk", event->disk);
  cli_json_string (object, "backup", event->backup);
  cli_json_string (object, "decision", event->decision);
  cli_json_string (object, "text", event->text);
  cli_json_string (object, "session", event->session);
  if (event->type == VARVE_EVENT_PROGRESS || event->type == VARVE_EVENT_DISK_DONE ||
      event->type == VARVE_EVENT_DISK_PLANNED) {
    cli_json_number (object, "done", (gint64)event->done);
    cli_json_number (object, "total", (gint64)event->total);
    cli_json_number (object, "stored", (gint64)event->stored);
  }
  if (event->type == VARVE_EVENT_SNAPSHOT_STARTED)
    cli_json_number (object, "pause_us", (gint64)event->pause_us);
  if (event->unchanged)
    cli_json_flag (object, "unchanged", true);
  cli_output_json (output, object);
}

/* --- for people ------------------------------------------------------------------------------- */

static void
clear_bar (CliOutput *output)
{
  if (output->drawn)
    fputs ("\r\033[K", stderr);
  output->drawn = false;
}

void
cli_output_line (CliOutput *output, const char *format, ...)
{
  va_list args;

  if (output->json)
    return;
  clear_bar (output);
  va_start (args, format);
  vprintf (format, args);
  va_end (args);
  putchar ('\n');
  fflush (stdout);
}

/* A machine has no share that it has done, only time. */
static void
draw_clock (CliOutput *output, const VarveEvent *event)
{
  if (!output->terminal)
    return;
  fprintf (stderr,
           "\rwaiting for its sign: %" G_GUINT64_FORMAT " s of %" G_GUINT64_FORMAT
           " s at most\033[K",
           event->done, event->total);
  output->drawn = true;
}

static void
draw_bar (CliOutput *output, const VarveEvent *event)
{
  gint64 now = g_get_monotonic_time ();
  double seconds, share, rate;
  g_autofree char *size = cli_format_size (event->done);
  g_autofree char *speed = NULL;
  unsigned filled;

  if (g_strcmp0 (output->disk, event->disk) != 0) {
    g_free (output->disk);
    output->disk = g_strdup (event->disk);
    output->disk_begun = now;
  }
  if (!output->terminal || event->total == 0)
    return;
  seconds = (double)(now - output->disk_begun) / G_USEC_PER_SEC;
  share = MIN (1.0, (double)event->done / (double)event->total);
  rate = seconds > 0 ? (double)event->done / seconds : 0;
  speed = cli_format_size ((guint64)rate);
  filled = (unsigned)(share * BAR_WIDTH);
  fprintf (stderr, "\r%s [%.*s%*s] %3.0f %%  %s  %s/s", event->disk, (int)filled,
           "========================", (int)(BAR_WIDTH - filled), "", share * 100, size, speed);
  if (rate > 0)
    fprintf (stderr, "  %.0f s left",
             (double)(event->total - MIN (event->done, event->total)) / rate);
  fputs ("\033[K", stderr);
  output->drawn = true;
}

static void
print_disk_done (CliOutput *output, const VarveEvent *event)
{
  g_autofree char *read = cli_format_size (event->done);
  g_autofree char *stored = cli_format_size (event->stored);

  if (g_strcmp0 (event->action, "backup") == 0)
    cli_output_line (output, "  %s: %s read, %s stored", event->disk, read, stored);
  else if (g_strcmp0 (event->action, "revert") == 0)
    cli_output_line (output, "  %s: %s written", event->disk, stored);
  else if (g_strcmp0 (event->action, "verify") == 0)
    cli_output_line (output, "  %s %s: %s checked", event->backup, event->disk, stored);
  else
    cli_output_line (output, "  %s: %s written to %s", event->disk, stored, event->text);
}

static void
print_started (CliOutput *output, const VarveEvent *event)
{
  output->begun = g_get_monotonic_time ();
  if (g_strcmp0 (event->action, "backup") == 0)
    cli_output_line (output, "Backing up %s to %s", event->domain, event->text);
  else if (g_strcmp0 (event->action, "export") == 0)
    cli_output_line (output, "Exporting the disks of %s", event->domain);
  else if (g_strcmp0 (event->action, "revert") == 0)
    cli_output_line (output, "Putting the disks of %s back to backup %s", event->domain,
                     event->backup);
  else if (g_strcmp0 (event->decision, "boot") == 0)
    cli_output_line (output, "Starting backup %s of %s", event->backup, event->domain);
  else if (g_strcmp0 (event->action, "verify") == 0)
    cli_output_line (output, "Verifying %s", event->backup ? event->backup : event->text);
  else
    cli_output_line (output, "Restoring backup %s of %s", event->backup, event->domain);
}

static void
print_done (CliOutput *output, const VarveEvent *event)
{
  double seconds = (double)(g_get_monotonic_time () - output->begun) / G_USEC_PER_SEC;

  if (g_strcmp0 (event->action, "backup") == 0)
    cli_output_line (output, "Backup %s done in %.1f s", event->backup, seconds);
  else if (g_strcmp0 (event->action, "revert") == 0 && event->text)
    cli_output_line (output, "Nothing was written: %s", event->text);
  else if (g_strcmp0 (event->action, "revert") == 0)
    cli_output_line (output, "Put back to backup %s in %.1f s", event->backup, seconds);
  else if (g_strcmp0 (event->decision, "boot") == 0)
    cli_output_line (output, "Backup %s starts: %s", event->backup, event->text);
  else if (g_strcmp0 (event->action, "verify") == 0)
    cli_output_line (output, "Verified in %.1f s: %s", seconds, event->text);
  else
    cli_output_line (output, "Restored in %.1f s", seconds);
}

static void
print_planned (CliOutput *output, const VarveEvent *event)
{
  g_autofree char *most = cli_format_size (event->stored);
  g_autofree char *size = cli_format_size (event->total);

  if (g_strcmp0 (event->action, "revert") == 0)
    cli_output_line (output, "  %s: at most %s of %s to be written (%s)", event->disk, most, size,
                     event->text);
  else
    cli_output_line (output, "  %s: %s (%s)", event->disk, event->decision, event->text);
}

static void
event_text (CliOutput *output, const VarveEvent *event)
{
  switch (event->type) {
  case VARVE_EVENT_RUN_STARTED:
    print_started (output, event);
    break;
  case VARVE_EVENT_DISK_PLANNED:
    print_planned (output, event);
    break;
  case VARVE_EVENT_SNAPSHOT_STARTED:
    if (event->pause_us)
      cli_output_line (output, "  snapshot taken (%s; the guest stood still for %.1f ms)",
                       event->text, (double)event->pause_us / 1000);
    else
      cli_output_line (output, "  snapshot taken (%s)", event->text);
    break;
  case VARVE_EVENT_PROGRESS:
    if (event->disk)
      draw_bar (output, event);
    else
      draw_clock (output, event);
    break;
  case VARVE_EVENT_DISK_DONE:
    print_disk_done (output, event);
    break;
  case VARVE_EVENT_NOTE:
    cli_output_line (output, "  note: %s", event->text);
    break;
  case VARVE_EVENT_WARNING:
    clear_bar (output);
    fprintf (stderr, "varve: warning: %s\n", event->text);
    break;
  case VARVE_EVENT_RECOVERED:
    cli_output_line (output, "  recovered: %s", event->text);
    break;
  case VARVE_EVENT_RUN_DONE:
    print_done (output, event);
    break;
  case VARVE_EVENT_PROBLEM:
    clear_bar (output);
    fprintf (stderr, "varve: %s\n", event->text);
    break;
  case VARVE_EVENT_EXPORT_READY:
    cli_output_line (output, "Session %s serves them; 'varve export list' shows it",
                     event->session);
    break;
  }
}

void
cli_output_event (const VarveEvent *event, gpointer data)
{
  CliOutput *output = data;

  if (event->type == VARVE_EVENT_RUN_DONE) {
    g_free (output->backup);
    output->backup = g_strdup (event->backup);
    output->unchanged = event->unchanged;
  }
  if (output->json)
    event_json (output, event);
  else
    event_text (output, event);
}

void
cli_output_error (CliOutput *output, const GError *error, int status)
{
  g_autoptr (JsonBuilder) object = NULL;

  clear_bar (output);
  fprintf (stderr, "varve: %s\n", error->message);
  object = cli_json_begin ("error");
  cli_json_string (object, "message", error->message);
  cli_json_number (object, "exit", status);
  cli_output_json (output, object);
}
