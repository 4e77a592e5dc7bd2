/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "world.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/durable.h"
#include "wait.h"

#define LIBVIRT "qemu:///system"

static const char *const kind_names[] = { "image", "qmp", "libvirt" };

bool
world_kind_parse (const char *text, WorldKind *out)
{
  for (guint i = 0; i < G_N_ELEMENTS (kind_names); i++) {
    *out = (WorldKind)i;
    if (g_str_equal (text, kind_names[i]))
      return true;
  }
  return false;
}

const char *
world_kind_name (WorldKind kind)
{
  return kind_names[kind];
}

/* --- programs --------------------------------------------------------------------------------- */

static void
die_with_parent (gpointer data)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static bool
run_any (const World *world, const char *const *argv, char **out, char **out_words)
{
  g_autoptr (GError) error = NULL;
  int status = 0;

  g_spawn_sync (world->dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, die_with_parent, NULL, out,
                out_words, &status, &error);
  g_assert_no_error (error);
  return status == 0;
}

char *
world_run (const World *world, const char *const *argv)
{
  g_autofree char *words = NULL;
  char *out = NULL;

  if (!run_any (world, argv, &out, &words)) {
    g_autofree char *line = g_strjoinv (" ", (char **)argv);

    g_error ("%s: %s%s", line, out, words);
  }
  return out;
}

static const char *
file_name (const World *world, unsigned disk)
{
  static const char *const names[DISKS] = { "vda.qcow2", "vdb.qcow2" };

  return disk == 1 && world->raw_b ? "vdb.raw" : names[disk];
}

static const char *
format_of (const World *world, unsigned disk)
{
  return disk == 1 && world->raw_b ? "raw" : "qcow2";
}

/* --- bare QEMU -------------------------------------------------------------------------------- */

static VarveQmp *
connect_own (const World *world)
{
  g_autofree char *path = g_build_filename (world->dir, "own", NULL);

  VarveQmp *qmp;

  wait_until ((qmp = varve_qmp_connect (path, 30, NULL, NULL)));
  return qmp;
}

static char *
command_line (const World *world)
{
  GString *line = g_string_new (
      "qemu-system-x86_64 -S -name vm1 -machine q35,accel=tcg -nodefaults -display none -m 16 "
      "-qmp unix:monitor,server=on,wait=off -qmp unix:own,server=on,wait=off");

  for (unsigned i = 0; i < DISKS; i++)
    g_string_append_printf (line,
                            " -blockdev driver=%s,node-name=n%u,file.driver=file,file.filename=%s"
                            " -device virtio-blk-pci,drive=n%u,id=%s",
                            format_of (world, i), i, file_name (world, i), i, disk_names[i]);
  return g_string_free (line, FALSE);
}

static void
boot_qemu (World *world)
{
  g_autofree char *line = command_line (world);
  g_auto (GStrv) argv = g_strsplit (line, " ", -1);
  g_autoptr (GError) error = NULL;

  g_spawn_async (world->dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                 die_with_parent, NULL, &world->pid, &error);
  g_assert_no_error (error);
  world->qmp = connect_own (world);
}

static void
end_qemu (World *world)
{
  waitpid (world->pid, NULL, 0);
  world->pid = 0;
  g_clear_pointer (&world->qmp, varve_qmp_free);
}

static char *
ask_monitor (World *world, const char *line)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) reply =
      varve_qmp_execute (world->qmp, "human-monitor-command",
                         varve_qmp_args ("{'command-line':%s}", line), NULL, &error);

  g_assert_no_error (error);
  return g_strdup (json_node_get_string (reply));
}

/* --- libvirt ---------------------------------------------------------------------------------- */

#define virsh(world, ...) run_tool (world, "virsh", "-q", "-c", LIBVIRT, __VA_ARGS__)

static void
define_domain (World *world)
{
  g_autofree char *path = g_build_filename (world->dir, "domain.xml", NULL);
  g_autoptr (GString) xml = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  g_string_append_printf (
      xml,
      "<domain type='qemu'><name>%s</name><memory unit='MiB'>32</memory><os>"
      "<type arch='x86_64' machine='pc'>hvm</type></os><devices>"
      "<emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/>",
      world->name);
  for (unsigned i = 0; i < DISKS; i++)
    g_string_append_printf (xml,
                            "<disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                            "<source file='%s/%s'/><target dev='%s' bus='virtio'/></disk>",
                            format_of (world, i), world->dir, file_name (world, i), disk_names[i]);
  g_string_append (xml, "</devices></domain>");
  g_file_set_contents (path, xml->str, -1, &error);
  g_assert_no_error (error);
  virsh (world, "define", path);
}

static void
kill_libvirt_qemu (World *world)
{
  g_autofree char *path = g_strdup_printf ("/run/libvirt/qemu/%s.pid", world->name);
  g_autofree char *pid = NULL;
  VarveDomainState state = VARVE_DOMAIN_RUNNING;
  gint64 number;

  g_assert_true (g_file_get_contents (path, &pid, NULL, NULL));
  /* Never 0, which would be our own process group. */
  g_assert_true (g_ascii_string_to_signed (g_strchomp (pid), 10, 2, G_MAXINT32, &number, NULL));
  g_assert_cmpint (kill ((pid_t)number, SIGKILL), ==, 0);
  wait_until (varve_domain_state (world->domain, &state, NULL, NULL) && state == VARVE_DOMAIN_OFF);
}

/* --- all -------------------------------------------------------------------------------------- */

World *
world_attach (WorldKind kind, const char *dir, const char *name, bool raw_b)
{
  World *world = g_new0 (World, 1);
  g_autofree char *state = g_build_filename (dir, "state", NULL);
  g_autoptr (GError) error = NULL;

  world->kind = kind;
  world->dir = g_strdup (dir);
  world->name = g_strdup (name);
  world->raw_b = raw_b;
  world->state = varve_state_dir_open (state, &error);
  g_assert_no_error (error);
  return world;
}

World *
world_new (WorldKind kind, bool raw_b)
{
  g_autofree char *dir = g_strdup ("/var/tmp/varve-prop-XXXXXX");
  g_autofree char *suffix = varve_random_hex (4);
  g_autofree char *name =
      kind == WORLD_LIBVIRT ? g_strconcat ("varve-prop-", suffix, NULL) : g_strdup ("vm1");

  g_assert_nonnull (g_mkdtemp_full (dir, 0711));
  g_print ("# world %s %s\n", dir, name);
  World *world = world_attach (kind, dir, name, raw_b);
  g_autofree char *size = g_strdup_printf ("%u", SIZE);
  for (unsigned i = 0; i < DISKS; i++)
    run_tool (world, "qemu-img", "create", "-q", "-f", format_of (world, i), file_name (world, i),
              size);
  if (kind == WORLD_LIBVIRT)
    define_domain (world);
  world_open (world);
  if (kind != WORLD_IMAGE)
    world_boot (world);
  return world;
}

void
world_free (World *world)
{
  world_close (world);
  varve_state_dir_free (world->state);
  g_free (world->dir);
  g_free (world->name);
  g_free (world);
}

void
world_remove (World *world)
{
  g_autoptr (GError) error = NULL;
  const char *const destroy[] = { "virsh", "-q", "-c", LIBVIRT, "destroy", world->name, NULL };

  world_close (world);
  if (world->pid) {
    kill (world->pid, SIGKILL);
    end_qemu (world);
  }
  if (world->kind == WORLD_LIBVIRT) {
    run_any (world, destroy, NULL, NULL);
    virsh (world, "undefine", world->name, "--checkpoints-metadata");
  }
  varve_remove_tree (world->dir, &error);
  g_assert_no_error (error);
}

static GHashTable *
images_of (const World *world)
{
  GHashTable *images =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)varve_image_free);

  for (unsigned i = 0; i < DISKS; i++) {
    g_autofree char *path = g_build_filename (world->dir, file_name (world, i), NULL);

    g_hash_table_insert (images, g_strdup (disk_names[i]),
                         varve_image_new (path, format_of (world, i), NULL));
  }
  return images;
}

void
world_open (World *world)
{
  static const char *const uris[] = { "image:", NULL, LIBVIRT };
  g_autoptr (GHashTable) images = world->kind == WORLD_LIBVIRT ? NULL : images_of (world);
  g_autofree char *monitor = g_strdup_printf ("qmp+unix://%s/monitor", world->dir);
  VarveDomainAddress address = { .uri = world->kind == WORLD_QMP ? monitor : uris[world->kind],
                                 .name = world->name,
                                 .images = images };
  g_autoptr (GError) error = NULL;

  world_close (world);
  world->domain = varve_domain_open (&address, NULL, &error);
  g_assert_no_error (error);
}

void
world_close (World *world)
{
  g_clear_pointer (&world->domain, varve_domain_free);
}

void
world_boot (World *world)
{
  world_close (world);
  if (world->kind == WORLD_QMP)
    boot_qemu (world);
  else
    virsh (world, "start", world->name, "--paused");
  world->running = true;
  world_open (world);
}

void
world_shut_down (World *world)
{
  g_autoptr (GError) error = NULL;

  world_close (world);
  if (world->kind == WORLD_QMP) {
    varve_qmp_run (world->qmp, "quit", NULL, NULL, &error);
    g_assert_no_error (error);
    end_qemu (world);
  } else {
    virsh (world, "destroy", world->name);
  }
  world->running = false;
  world_open (world);
}

/* A qemu-io that dies with the image open. */
static void
kill_offline (World *world, unsigned disk)
{
  const char *const argv[] = {
    "qemu-io", "-f",    format_of (world, disk), "-c", "write -q -P 250 0 4096",
    "-c",      "abort", file_name (world, disk), NULL
  };

  g_assert_false (run_any (world, argv, NULL, NULL));
}

void
world_kill (World *world)
{
  if (!world->running) {
    for (unsigned i = 0; i < DISKS; i++)
      kill_offline (world, i);
    return;
  }
  if (world->kind == WORLD_QMP) {
    kill (world->pid, SIGKILL);
    end_qemu (world);
  } else {
    kill_libvirt_qemu (world);
  }
  world->running = false;
  world_open (world);
}

/* --- contents --------------------------------------------------------------------------------- */

void
world_write (World *world, unsigned disk, unsigned offset, unsigned length, guint8 pattern)
{
  g_autofree char *command = pattern
                                 ? g_strdup_printf ("write -q -P %u %u %u", pattern, offset, length)
                                 : g_strdup_printf ("write -q -z %u %u", offset, length);
  g_autofree char *line = NULL;
  g_autofree char *reply = NULL;

  if (!world->running) {
    run_tool (world, "qemu-io", "-f", format_of (world, disk), "-c", command,
              file_name (world, disk));
    return;
  }
  line = world->kind == WORLD_QMP
             ? g_strdup_printf ("qemu-io -d /machine/peripheral/%s/virtio-backend \"%s\"",
                                disk_names[disk], command)
             : g_strdup_printf ("qemu-io -d /machine/peripheral/virtio-disk%u/virtio-backend "
                                "\"%s\"",
                                disk, command);
  if (world->kind == WORLD_QMP)
    reply = ask_monitor (world, line);
  else
    reply = world_run (world,
                       (const char *const[]){ "virsh", "-q", "-c", LIBVIRT, "qemu-monitor-command",
                                              world->name, "--hmp", line, NULL });
  if (*g_strstrip (reply))
    g_error ("%s: %s", line, reply);
}

guint8 *
world_read (World *world, unsigned disk)
{
  g_autofree char *path = g_build_filename (world->dir, "now.raw", NULL);
  g_autoptr (GError) error = NULL;
  char *data = NULL;
  gsize length;

  run_tool (world, "qemu-img", "convert", "-f", format_of (world, disk), "-O", "raw",
            file_name (world, disk), path);
  g_file_get_contents (path, &data, &length, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (length, ==, SIZE);
  return (guint8 *)data;
}

static JsonObject *
action (const char *type, JsonObject *data)
{
  return varve_qmp_args ("{'type':%s,'data':%o}", type, data);
}

static void
rotate_running (World *world, const char *last, const char *next)
{
  JsonArray *actions = json_array_new ();
  g_autoptr (GError) error = NULL;

  if (last)
    json_array_add_object_element (
        actions,
        action ("block-dirty-bitmap-disable", varve_qmp_args ("{'node':'n0','name':%s}", last)));
  json_array_add_object_element (
      actions, action ("block-dirty-bitmap-add",
                       varve_qmp_args ("{'node':'n0','name':%s,'persistent':%b}", next, true)));
  varve_qmp_run (world->qmp, "transaction", varve_qmp_args ("{'actions':%a}", actions), NULL,
                 &error);
  g_assert_no_error (error);
}

void
world_rotate (World *world, const char *last, const char *next)
{
  if (world->running) {
    rotate_running (world, last, next);
    return;
  }
  if (last)
    run_tool (world, "qemu-img", "bitmap", "--disable", file_name (world, 0), last);
  run_tool (world, "qemu-img", "bitmap", "--add", file_name (world, 0), next);
}
