/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "run/export-report.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <string.h>

static VarveExportReport *
make_report (void)
{
  VarveExportReport *report = varve_export_report_new ("0123456789abcdef");
  VarveExportDisk *disk;
  const char *contexts[] = { "base:allocation", "qemu:dirty-bitmap:x", NULL };

  report->domain = g_strdup ("a <b> & 'c'");
  report->uuid = g_strdup ("11111111-2222-3333-4444-555555555555");
  report->uri = g_strdup ("qmp+unix:///run/q.sock");
  report->owner = g_strdup ("x-acme");
  report->checkpoint = g_strdup ("varve.x-acme.20260131T010203Z-0123456789abcdef.01234567");
  report->since = g_strdup ("varve.x-acme.20260130T010203Z-0123456789abcdef.01234567");
  report->strategy = g_strdup ("filter");
  report->consistency = g_strdup ("crash");
  report->tls = g_strdup ("x509");
  report->started = 1769821323;
  report->expires = report->started + 14400;
  report->pause_us = 1234;
  report->trim = true;
  g_ptr_array_add (report->notes, g_strdup ("One \"note\"."));
  disk = varve_export_report_add_disk (report, "vda");
  disk->size = UINT64_C (1) << 40;
  disk->uri = g_strdup ("nbds://host:10809/vda");
  disk->export_name = g_strdup ("vda");
  disk->contexts = g_strdupv ((char **)contexts);
  disk->dirty_context = g_strdup (contexts[1]);
  disk->decision = g_strdup ("incremental");
  disk->reason = g_strdup ("changed since");
  disk->checkpoint = TRUE;
  disk = varve_export_report_add_disk (report, "vdb");
  disk->size = 1 << 20;
  disk->uri = g_strdup ("nbds://host:10809/vdb");
  disk->export_name = g_strdup ("vdb");
  disk->contexts = g_strsplit (contexts[0], ",", 0);
  disk->decision = g_strdup ("full");
  disk->reason = g_strdup ("it has no checkpoint");
  return report;
}

/* Read again and written again it is the same. */
static void
test_json (void)
{
  g_autoptr (VarveExportReport) report = make_report ();
  g_autofree char *json = varve_export_report_to_json (report);
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveExportReport) again = varve_export_report_parse (json, strlen (json), &error);
  g_autofree char *second = NULL;

  g_assert_no_error (error);
  g_assert_null (strchr (json, '\n'));
  second = varve_export_report_to_json (again);
  g_assert_cmpstr (json, ==, second);
  g_assert_cmpuint (again->disks->len, ==, 2);
  g_assert_cmpstr (((VarveExportDisk *)g_ptr_array_index (again->disks, 0))->contexts[1], ==,
                   "qemu:dirty-bitmap:x");
  g_assert_null (((VarveExportDisk *)g_ptr_array_index (again->disks, 1))->dirty_context);
  g_assert_nonnull (strstr (json, "\"state\":\"serving\""));

  again->trouble = g_strdup ("It broke.");
  g_clear_pointer (&second, g_free);
  second = varve_export_report_to_json (again);
  g_assert_nonnull (strstr (second, "\"state\":\"broken\""));
}

/* A file that somebody has damaged. */
static void
test_damaged (void)
{
  static const char *const texts[] = {
    "",
    "null",
    "[]",
    "{}",
    "{\"version\":2,\"session\":\"0123456789abcdef\"}",
    "{\"version\":1}",
    "{\"version\":1,\"session\":7}",
  };

  for (size_t i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (varve_export_report_parse (texts[i], strlen (texts[i]), &error));
    g_assert_nonnull (error);
  }

  const char *odd = "{\"version\":1,\"session\":\"0123456789abcdef\",\"disks\":[7,{\"name\":[]}],"
                    "\"notes\":[{},\"x\"],\"started\":\"never\",\"domain\":{}}";
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveExportReport) report = varve_export_report_parse (odd, strlen (odd), &error);
  g_assert_no_error (error);
  g_assert_null (report->domain);
  g_assert_cmpuint (report->notes->len, ==, 1);
}

static void
validate (const char *xml)
{
  g_autofree char *path =
      g_test_build_filename (G_TEST_DIST, "..", "..", "xml-schemas", "export-session.rng", NULL);
  xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt (path);
  xmlRelaxNG *schema = xmlRelaxNGParse (parser);
  xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt (schema);
  xmlDoc *doc = xmlReadMemory (xml, (int)strlen (xml), "report", NULL, XML_PARSE_NONET);

  g_assert_nonnull (schema);
  g_assert_nonnull (doc);
  g_assert_cmpint (xmlRelaxNGValidateDoc (context, doc), ==, 0);
  xmlFreeDoc (doc);
  xmlRelaxNGFreeValidCtxt (context);
  xmlRelaxNGFree (schema);
  xmlRelaxNGFreeParserCtxt (parser);
}

static void
test_xml (void)
{
  g_autoptr (VarveExportReport) report = make_report ();
  g_autofree char *xml = varve_export_report_to_xml (report);
  g_autofree char *broken = NULL;

  validate (xml);
  g_assert_nonnull (strstr (xml, "<dirty-context>qemu:dirty-bitmap:x</dirty-context>"));
  report->trouble = g_strdup ("It broke.");
  g_clear_pointer (&report->checkpoint, g_free);
  g_clear_pointer (&report->since, g_free);
  broken = varve_export_report_to_xml (report);
  validate (broken);
}

static void
test_disk (void)
{
  g_autoptr (VarveExportReport) report = make_report ();
  VarveExportDisk *disk = g_boxed_copy (VARVE_TYPE_EXPORT_DISK, report->disks->pdata[0]);

  g_assert_cmpstr (disk->name, ==, "vda");
  g_assert_cmpstr (disk->contexts[0], ==, "base:allocation");
  g_assert_true (disk->checkpoint);
  g_boxed_free (VARVE_TYPE_EXPORT_DISK, disk);
  varve_export_disk_free (NULL);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/export-report/json", test_json);
  g_test_add_func ("/export-report/damaged", test_damaged);
  g_test_add_func ("/export-report/xml", test_xml);
  g_test_add_func ("/export-report/disk", test_disk);
  status = g_test_run ();
  xmlCleanupParser ();
  return status;
}
