/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The schema of a real QEMU. Each "yes" below holds from QEMU 7.1 on. */
#include "config.h"
#include "qemu/schema.h"

#include <string.h>

#include "qemu-fixture.h"

static void
test_real (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = fixture_path (fixture, "qmp.sock");
  g_autoptr (GError) error = NULL;
  GSubprocess *qemu = start_qemu (path);
  g_autoptr (VarveQmp) qmp = varve_qmp_connect (path, 30, NULL, &error);
  g_assert_no_error (error);
  g_autoptr (VarveQmpSchema) schema = varve_qmp_schema_query (qmp, NULL, &error);
  g_assert_no_error (error);

  g_assert_true (varve_qmp_schema_has_command (schema, "blockdev-backup"));
  g_assert_true (varve_qmp_schema_has_command (schema, "qom-set"));
  g_assert_false (varve_qmp_schema_has_command (schema, "blockdev-frobnicate"));
  g_assert_false (varve_qmp_schema_has_command (schema, "BLOCK_JOB_COMPLETED")); /* an event */

  g_assert_true (varve_qmp_schema_has_variant (schema, "blockdev-add", "copy-before-write"));
  g_assert_true (varve_qmp_schema_has_variant (schema, "blockdev-add", "snapshot-access"));
  g_assert_false (varve_qmp_schema_has_variant (schema, "blockdev-add", "no-such-driver"));
  g_assert_false (varve_qmp_schema_has_variant (schema, "blockdev-backup", "qcow2"));

  g_assert_true (
      varve_qmp_schema_has_argument (schema, "blockdev-add", "copy-before-write", "on-cbw-error"));
  g_assert_false (varve_qmp_schema_has_argument (schema, "blockdev-add", "raw", "on-cbw-error"));
  g_assert_true (varve_qmp_schema_has_argument (schema, "blockdev-add", NULL, "node-name"));
  g_assert_true (
      varve_qmp_schema_has_argument (schema, "blockdev-backup", NULL, "filter-node-name"));
  g_assert_false (varve_qmp_schema_has_argument (schema, "quit", NULL, "anything"));
  g_assert_false (varve_qmp_schema_has_argument (schema, "nothing", NULL, "anything"));
  /* Since 10.1 (docs/about of QEMU); this line tells the two apart by the version on purpose. */
  g_assert_cmpint (varve_qmp_schema_has_argument (schema, "blockdev-backup", NULL, "on-cbw-error"),
                   ==, varve_qmp_version (qmp) >= 100100);

  stop_child (qemu);
  g_autoptr (VarveQmpSchema) gone = varve_qmp_schema_query (qmp, NULL, &error);
  g_assert_null (gone);
  /* Whether the write or the read notices first is not fixed, and so are not the words. */
  g_assert_error (error, VARVE_ERROR, VARVE_ERROR_SOURCE_UNREACHABLE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/schema/real", Fixture, NULL, fixture_set_up, test_real, fixture_tear_down);
  return g_test_run ();
}
