/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The storage daemon with real images, read by programs that are not ours: nbdinfo, nbdcopy. */
#include "config.h"
#include "qemu/storage-daemon.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu-fixture.h"

#define KIB 1024
#define MIB (1024 * KIB)

static VarveImage *
image_at (Fixture *fixture, const char *name, const char *format)
{
  g_autofree char *path = fixture_path (fixture, name);

  return varve_image_new (path, format, NULL);
}

static void
create (const VarveImage *image, const char *backing)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (
      varve_image_create (image, 4 * MIB, backing, backing ? "qcow2" : NULL, NULL, &error));
  g_assert_no_error (error);
}

/* Has qemu-io write, which sets the bits of recording bitmaps. */
static void
write_pattern (const VarveImage *image, const char *command)
{
  run ("qemu-io", "-f", image->format, "-c", command, image->path);
}

static VarveStorageDaemon *
start (Fixture *fixture, const VarveDaemonExport *exports, size_t n_exports)
{
  g_autoptr (GError) error = NULL;
  VarveStorageDaemon *daemon =
      varve_storage_daemon_start (fixture->directory, exports, n_exports, NULL, &error);

  g_assert_no_error (error);
  return daemon;
}

static void
assert_no_start (Fixture *fixture, const VarveDaemonExport *export, VarveError code,
                 const char *words)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_storage_daemon_start (fixture->directory, export, 1, NULL, &error));
  assert_varve_error (error, code, words);
}

static void
quit (VarveStorageDaemon *daemon)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (varve_storage_daemon_quit (daemon, &error));
  g_assert_no_error (error);
  g_assert_false (varve_storage_daemon_alive (daemon));
}

/* Nothing of ours is left in the directory. */
static void
assert_no_sockets (Fixture *fixture)
{
  g_autoptr (GDir) dir = g_dir_open (fixture->directory, 0, NULL);

  for (const char *name = g_dir_read_name (dir); name; name = g_dir_read_name (dir))
    g_assert_false (g_str_has_suffix (name, ".sock"));
}

/* The disk behind an export, as another client sees it. */
static char *
read_export (Fixture *fixture, VarveStorageDaemon *daemon, const char *export_name)
{
  g_autofree char *uri = varve_storage_daemon_uri (daemon, export_name);
  g_autofree char *copy = fixture_path (fixture, "copy.raw");
  char *content = NULL;
  gsize length = 0;

  run ("nbdcopy", uri, copy);
  g_assert_true (g_file_get_contents (copy, &content, &length, NULL));
  g_assert_cmpuint (length, ==, 4 * MIB);
  return content;
}

static char *
read_image (Fixture *fixture, const VarveImage *image)
{
  g_autofree char *copy = fixture_path (fixture, "convert.raw");
  char *content = NULL;
  gsize length = 0;

  run ("qemu-img", "convert", "-f", image->format, "-O", "raw", image->path, copy);
  g_assert_true (g_file_get_contents (copy, &content, &length, NULL));
  g_assert_cmpuint (length, ==, 4 * MIB);
  return content;
}

static char *
map_of (VarveStorageDaemon *daemon, const char *export_name, const char *context)
{
  g_autofree char *uri = varve_storage_daemon_uri (daemon, export_name);
  g_autofree char *map = g_strconcat ("--map=", context, NULL);

  return run_output ("nbdinfo", map, "--json", uri);
}

/* base (1s in the first MiB) ← top (2s from 2 MiB on, for 64 KiB), where "since" records the
 * latter. */
static void
make_chain (const VarveImage *base, const VarveImage *top)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *name = g_path_get_basename (base->path);

  create (base, NULL);
  write_pattern (base, "write -P 1 0 1M");
  create (top, name);
  g_assert_true (varve_image_bitmap_add (top, "since", 65536, NULL, &error));
  g_assert_no_error (error);
  write_pattern (top, "write -P 2 2M 64k");
}

static void
test_chain (Fixture *fixture, gconstpointer data)
{
  const char *bitmaps[] = { "since", NULL };
  g_autoptr (VarveImage) base = image_at (fixture, "base,1", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top:2", "qcow2");
  VarveDaemonExport export = { .image = top,
                               .export_name = "vda",
                               .bitmaps = bitmaps,
                               .allocation_depth = true,
                               .l2_cache_size = 256 * KIB };

  make_chain (base, top);
  g_autofree char *expected = read_image (fixture, top);
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_autofree char *got = read_export (fixture, daemon, "vda");
  g_assert_true (memcmp (got, expected, 4 * MIB) == 0);
  g_assert_cmpint (got[0], ==, 1);
  g_assert_cmpint (got[2 * MIB], ==, 2);

  g_autofree char *dirty = map_of (daemon, "vda", "qemu:dirty-bitmap:since");
  g_assert_nonnull (strstr (dirty, "\"offset\": 2097152, \"length\": 65536, \"type\": 1"));
  g_assert_nonnull (strstr (dirty, "\"offset\": 0, \"length\": 2097152, \"type\": 0"));
  g_autofree char *depth = map_of (daemon, "vda", "qemu:allocation-depth");
  g_assert_nonnull (strstr (depth, "\"offset\": 0, \"length\": 1048576, \"type\": 2"));
  g_assert_nonnull (strstr (depth, "\"offset\": 2097152, \"length\": 65536, \"type\": 1"));

  g_assert_cmpstr (varve_storage_daemon_node (daemon, "vda"), ==, "n-vda");
  g_assert_null (varve_storage_daemon_node (daemon, "vdb"));
  g_assert_cmpint (kill (varve_storage_daemon_pid (daemon), 0), ==, 0);
  quit (daemon);
  quit (daemon); /* does nothing */
  assert_no_sockets (fixture);
}

/* What the daemon was told of each layer is what it has. */
static void
test_nodes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda", .l2_cache_size = 128 * KIB };

  make_chain (base, top);
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_autoptr (JsonNode) reply =
      varve_qmp_execute (varve_storage_daemon_qmp (daemon), "query-named-block-nodes",
                         varve_qmp_args ("{'flat':true}"), NULL, &error);
  g_assert_no_error (error);
  JsonArray *nodes = json_node_get_array (reply);
  unsigned seen = 0;

  for (guint i = 0; i < json_array_get_length (nodes); i++) {
    JsonObject *node = json_array_get_object_element (nodes, i);
    const char *name = json_object_get_string_member (node, "node-name");

    g_assert_true (json_object_get_boolean_member (node, "ro"));
    if (g_str_equal (name, "n-vda") || g_str_equal (name, "b1-n-vda")) {
      g_assert_cmpstr (json_object_get_string_member (node, "drv"), ==, "qcow2");
      seen++;
    }
  }
  g_assert_cmpuint (seen, ==, 2);
}

static void
test_without_backing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda", .without_backing = true };

  make_chain (base, top);
  g_assert_cmpint (unlink (base->path), ==, 0); /* nor is it looked for */
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_autofree char *got = read_export (fixture, daemon, "vda");
  g_assert_cmpint (got[0], ==, 0);
  g_assert_cmpint (got[2 * MIB], ==, 2);
}

/* Several disks in one daemon, one of them raw, one with a name that no node can have. */
static void
test_several (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  g_autoptr (VarveImage) raw = image_at (fixture, "disk.raw", "raw");
  const char *odd = "a name/with é&? that is longer than a node may be";
  VarveDaemonExport exports[] = { { .image = top, .export_name = "vda" },
                                  { .image = base, .export_name = "vdb" },
                                  { .image = raw, .export_name = odd } };

  make_chain (base, top);
  create (raw, NULL);
  write_pattern (raw, "write -P 7 1M 1M");
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, exports, 3);
  g_autofree char *first = read_export (fixture, daemon, "vda");
  g_autofree char *second = read_export (fixture, daemon, "vdb");
  g_autofree char *third = read_export (fixture, daemon, odd);
  g_assert_cmpint (first[2 * MIB], ==, 2);
  g_assert_cmpint (second[2 * MIB], ==, 0);
  g_assert_cmpint (second[0], ==, 1);
  g_assert_cmpint (third[1 * MIB], ==, 7);
  quit (daemon);
}

/* The names "vda" and "vda-1" of two disks do not meet in the nodes below "vda". */
static void
test_nodes_do_not_clash (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport exports[] = { { .image = base, .export_name = "vda-1" },
                                  { .image = top, .export_name = "vda" } };

  make_chain (base, top);
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, exports, 2);
  g_autofree char *got = read_export (fixture, daemon, "vda-1");
  g_assert_cmpint (got[0], ==, 1);
}

static void
test_usage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;
  VarveDaemonExport exports[] = { { .image = image, .export_name = "vda" },
                                  { .image = image, .export_name = "vda" } };
  VarveDaemonExport careless = {
    .image = image, .export_name = "vda", .writable = true, .shared = true
  };
  g_autofree char *long_name = g_strnfill (100, 'd');
  g_autofree char *long_directory = fixture_path (fixture, long_name);

  create (image, NULL);
  g_assert_null (varve_storage_daemon_start (fixture->directory, exports, 2, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_USAGE, "same name 'vda'");
  assert_no_start (fixture, &careless, VARVE_ERROR_USAGE, image->path);

  g_clear_error (&error);
  g_assert_null (varve_storage_daemon_start (long_directory, exports, 1, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_USAGE, "107 bytes");
}

static void
test_images_refused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  g_autoptr (VarveImage) none = image_at (fixture, "none", "qcow2");
  g_autoptr (VarveImage) remote = image_at (fixture, "remote", "qcow2");
  g_autoptr (VarveImage) circle = image_at (fixture, "circle", "qcow2");
  VarveDaemonExport export = { .image = none, .export_name = "vda" };

  assert_no_start (fixture, &export, VARVE_ERROR_NOT_FOUND, none->path);

  make_chain (base, top);
  run ("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "nbd://127.0.0.1:1/x",
       remote->path, "4M");
  export.image = remote;
  assert_no_start (fixture, &export, VARVE_ERROR_UNSUPPORTED, "not a local file");

  run ("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", "circle", circle->path,
       "4M");
  export.image = circle;
  assert_no_start (fixture, &export, VARVE_ERROR_FAILED, "circle");

  g_assert_cmpint (unlink (base->path), ==, 0);
  export.image = top;
  assert_no_start (fixture, &export, VARVE_ERROR_NOT_FOUND, base->path);
  assert_no_sockets (fixture);
}

/* A header that names a file without a format is what a guest could write onto a raw disk. */
static void
test_unrecorded_format (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) middle = image_at (fixture, "middle", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda" };

  make_chain (base, middle);
  create (top, "middle");
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  quit (daemon);

  /* qemu-img refuses to make such a header today, so the extension that has the format is made one
   * of an unknown kind, which QEMU skips: it is the first, behind the header's 112 bytes. */
  g_autofree char *content = NULL;
  gsize length = 0;
  g_assert_true (g_file_get_contents (middle->path, &content, &length, NULL));
  g_assert_cmpint (memcmp (content + 112, "\xe2\x79\x2a\xca", 4), ==, 0);
  content[112] = 0x11;
  g_assert_true (g_file_set_contents (middle->path, content, (gssize)length, NULL));
  assert_no_start (fixture, &export, VARVE_ERROR_REFUSED, middle->path);

  export.without_backing = true;
  g_autoptr (VarveStorageDaemon) alone = start (fixture, &export, 1);
  quit (alone);
}

static void
test_bitmap_refused (Fixture *fixture, gconstpointer data)
{
  const char *bitmaps[] = { "since", NULL };
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) middle = image_at (fixture, "middle", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda", .bitmaps = bitmaps };

  /* The bitmap of a backing file says nothing of the image above, though QEMU would export it. */
  make_chain (base, middle);
  create (top, "middle");
  assert_no_start (fixture, &export, VARVE_ERROR_CHECKPOINT, "has no bitmap 'since'");

  /* Killed while it had the image open for writing. */
  export.image = middle;
  export.writable = true;
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  kill (varve_storage_daemon_pid (daemon), SIGKILL);
  varve_storage_daemon_quit (daemon, NULL);
  export.writable = false;
  assert_no_start (fixture, &export, VARVE_ERROR_CHECKPOINT, "inconsistent");
}

/* What several bitmaps have, in one that the image never gets, as it is open read-only. */
static void
test_merged (Fixture *fixture, gconstpointer data)
{
  const char *merged[] = { "since", "later", NULL };
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda", .merged_name = "both" };
  g_autoptr (GError) error = NULL;

  make_chain (base, top);
  export.merged = merged;
  assert_no_start (fixture, &export, VARVE_ERROR_CHECKPOINT, "has no bitmap 'later'");
  g_assert_true (varve_image_bitmap_add (top, "later", 65536, NULL, &error));
  g_assert_no_error (error);
  run ("qemu-img", "bitmap", "--disable", top->path, "since");
  write_pattern (top, "write -P 3 3M 64k");

  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_autofree char *map = map_of (daemon, "vda", "qemu:dirty-bitmap:both");
  g_assert_nonnull (strstr (map, "{ \"offset\": 2097152, \"length\": 65536, \"type\": 1"));
  g_assert_nonnull (strstr (map, "{ \"offset\": 3145728, \"length\": 65536, \"type\": 1"));
  quit (daemon);
  g_autoptr (VarveImageInfo) info = varve_image_info (top, false, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (info->bitmaps->len, ==, 2);
}

/* Nodes to be asked for, and no server. */
static void
test_nothing_served (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "image", "qcow2");
  VarveDaemonExport export = { .image = image, .export_name = "vda" };
  g_autoptr (GError) error = NULL;

  create (image, NULL);
  g_autoptr (VarveStorageDaemon) daemon =
      varve_storage_daemon_start (NULL, &export, 1, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (varve_storage_daemon_uri (daemon, "vda"));
  g_assert_cmpstr (varve_storage_daemon_node (daemon, "vda"), ==, "n-vda");
  g_assert_false (
      varve_qmp_run (varve_storage_daemon_qmp (daemon), "nbd-server-stop", NULL, NULL, &error));
  quit (daemon);
}

static void
test_locked (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport reader = { .image = top, .export_name = "vda" };
  VarveDaemonExport writer = { .image = top, .export_name = "vda", .writable = true };

  make_chain (base, top);
  g_autoptr (VarveStorageDaemon) one = start (fixture, &writer, 1);
  assert_no_start (fixture, &reader, VARVE_ERROR_BUSY, top->path);
  assert_no_start (fixture, &writer, VARVE_ERROR_BUSY, top->path);
  reader.shared = true;
  g_autoptr (VarveStorageDaemon) beside = start (fixture, &reader, 1);
  quit (beside);
  quit (one);

  /* Readers do not mind each other, but keep writers out, also of what lies below. */
  reader.shared = false;
  g_autoptr (VarveStorageDaemon) two = start (fixture, &reader, 1);
  g_autoptr (VarveStorageDaemon) three = start (fixture, &reader, 1);
  assert_no_start (fixture, &writer, VARVE_ERROR_BUSY, top->path);
  writer.image = base;
  assert_no_start (fixture, &writer, VARVE_ERROR_BUSY, base->path);
  quit (two);
  quit (three);
}

/* What is written over NBD is recorded, and stored by a clean end. */
static void
test_writable (Fixture *fixture, gconstpointer data)
{
  const char *bitmaps[] = { "since", NULL };
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  VarveDaemonExport export = { .image = top, .export_name = "vda", .writable = true };

  make_chain (base, top);
  g_autoptr (VarveStorageDaemon) writer = start (fixture, &export, 1);
  g_autofree char *uri = varve_storage_daemon_uri (writer, "vda");
  run ("qemu-io", "-f", "raw", "-c", "write -P 3 3M 64k", uri);
  quit (writer);

  export.writable = false;
  export.bitmaps = bitmaps;
  g_autoptr (VarveStorageDaemon) reader = start (fixture, &export, 1);
  g_autofree char *got = read_export (fixture, reader, "vda");
  g_assert_cmpint (got[3 * MIB], ==, 3);
  g_autofree char *dirty = map_of (reader, "vda", "qemu:dirty-bitmap:since");
  g_assert_nonnull (strstr (dirty, "\"offset\": 3145728, \"length\": 65536, \"type\": 1"));
}

static void
test_killed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) base = image_at (fixture, "base", "qcow2");
  g_autoptr (VarveImage) top = image_at (fixture, "top", "qcow2");
  g_autoptr (GError) error = NULL;
  VarveDaemonExport export = { .image = top, .export_name = "vda" };

  make_chain (base, top);
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_assert_true (varve_storage_daemon_alive (daemon));
  kill (varve_storage_daemon_pid (daemon), SIGKILL);
  wait_until (!varve_storage_daemon_alive (daemon));
  g_assert_false (
      varve_qmp_run (varve_storage_daemon_qmp (daemon), "query-status", NULL, NULL, &error));
  assert_varve_error (error, VARVE_ERROR_SOURCE_UNREACHABLE, "hung up");

  g_clear_error (&error);
  g_assert_false (varve_storage_daemon_quit (daemon, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "had ended before");
  assert_no_sockets (fixture);
  g_autoptr (VarveStorageDaemon) next = start (fixture, &export, 1);
  quit (next);
}

/* A daemon that does not hear of its quit is ended by force. It is stopped here, so that SIGTERM
 * does not reach it either; the replies' time-out is shortened to keep the test short. */
static void
test_hung (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GError) error = NULL;
  VarveDaemonExport export = { .image = image, .export_name = "vda" };

  create (image, NULL);
  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  kill (varve_storage_daemon_pid (daemon), SIGSTOP);
  varve_qmp_set_timeout (varve_storage_daemon_qmp (daemon), 1);
  g_assert_false (varve_storage_daemon_quit (daemon, &error));
  assert_varve_error (error, VARVE_ERROR_FAILED, "ended by force");
  g_assert_false (varve_storage_daemon_alive (daemon));
  assert_no_sockets (fixture);
}

typedef struct {
  Fixture *fixture;
  const VarveDaemonExport *export;
  VarveStorageDaemon *daemon;
} Starter;

static gpointer
start_in_thread (gpointer data)
{
  Starter *starter = data;

  starter->daemon = start (starter->fixture, starter->export, 1);
  return NULL;
}

/* The end of the thread that started it is the end of the daemon: as if we were killed. */
static void
test_dies_with_us (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  VarveDaemonExport export = { .image = image, .export_name = "vda", .writable = true };
  Starter starter = { .fixture = fixture, .export = &export };

  create (image, NULL);
  g_thread_join (g_thread_new ("starter", start_in_thread, &starter));
  wait_until (!varve_storage_daemon_alive (starter.daemon));
  varve_storage_daemon_free (starter.daemon);
}

static void
test_encrypted (Fixture *fixture, gconstpointer data)
{
  g_autofree char *key = fixture_path (fixture, "key,1");
  g_autofree char *secret = g_strdup_printf ("secret,id=s,file=%s/key,,1", fixture->directory);
  g_autofree char *path = fixture_path (fixture, data);
  g_autofree char *open =
      g_strdup_printf ("driver=%s,%skey-secret=s,file.driver=file,file.filename=%s",
                       (const char *)data, g_str_equal (data, "luks") ? "" : "encrypt.", path);
  g_autoptr (VarveImage) image = varve_image_new (path, data, key);
  g_autoptr (VarveImage) keyless = varve_image_new (path, data, NULL);
  VarveDaemonExport export = { .image = image, .export_name = "vda" };

  g_assert_true (g_file_set_contents (key, "secret", -1, NULL));
  create_encrypted (path, data, key, "4M");
  run ("qemu-io", "--object", secret, "--image-opts", "-c", "write -P 5 0 1M", open);

  g_autoptr (VarveStorageDaemon) daemon = start (fixture, &export, 1);
  g_autofree char *got = read_export (fixture, daemon, "vda");
  g_assert_cmpint (got[MIB - 1], ==, 5);
  quit (daemon);

  export.image = keyless;
  assert_no_start (fixture, &export, VARVE_ERROR_USAGE, "no key file");
  g_assert_true (g_file_set_contents (key, "wrong", -1, NULL));
  export.image = image;
  assert_no_start (fixture, &export, VARVE_ERROR_HYPERVISOR, "Invalid password");
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (VarveImage) image = image_at (fixture, "a", "qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  VarveDaemonExport export = { .image = image, .export_name = "vda" };

  create (image, NULL);
  g_cancellable_cancel (cancellable);
  g_assert_null (varve_storage_daemon_start (fixture->directory, &export, 1, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  assert_no_sockets (fixture);
}

#define ADD(name, data, function)                                                                  \
  g_test_add ("/storage-daemon/" name, Fixture, data, fixture_set_up, function, fixture_tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("chain", NULL, test_chain);
  ADD ("nodes", NULL, test_nodes);
  ADD ("nodes-do-not-clash", NULL, test_nodes_do_not_clash);
  ADD ("without-backing", NULL, test_without_backing);
  ADD ("several", NULL, test_several);
  ADD ("usage", NULL, test_usage);
  ADD ("images-refused", NULL, test_images_refused);
  ADD ("unrecorded-format", NULL, test_unrecorded_format);
  ADD ("bitmap-refused", NULL, test_bitmap_refused);
  ADD ("merged", NULL, test_merged);
  ADD ("nothing-served", NULL, test_nothing_served);
  ADD ("locked", NULL, test_locked);
  ADD ("writable", NULL, test_writable);
  ADD ("killed", NULL, test_killed);
  ADD ("hung", NULL, test_hung);
  ADD ("dies-with-us", NULL, test_dies_with_us);
  ADD ("encrypted/qcow2", "qcow2", test_encrypted);
  ADD ("encrypted/luks", "luks", test_encrypted);
  ADD ("cancelled", NULL, test_cancelled);
  return g_test_run ();
}
