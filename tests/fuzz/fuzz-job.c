/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Job documents: whatever the bytes are, there is a job or an error; and a job is one that passes
 * the check for calls, and that is written as a document which gives the same again. */
#include "config.h"
#include "fuzz.h"

#include <string.h>

#include "job/def.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VarveJob) job = varve_job_parse ((const char *)data, size, "fuzz", &error);

  g_assert_true ((job == NULL) == (error != NULL));
  if (!job) {
    g_assert_true (g_str_has_prefix (error->message, "fuzz:"));
    g_assert_true (g_utf8_validate (error->message, -1, NULL));
    return 0;
  }

  g_assert_true (varve_job_check (job, NULL));
  g_autofree char *text = varve_job_to_xml (job);
  g_autoptr (VarveJob) again = varve_job_parse (text, strlen (text), "again", &error);
  g_assert_no_error (error);
  g_autofree char *text_again = varve_job_to_xml (again);
  g_assert_cmpstr (text, ==, text_again);
  return 0;
}
