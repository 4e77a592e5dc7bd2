/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What there is to tell of an export session: kept as JSON in the state directory (exports/SESSION.json) while it lasts,
 * read there by everybody who asks, and given to vendors as JSON or XML. varve-export(1) describes both forms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run/varve-exports.h"

#define VARVE_EXPORT_REPORT_VERSION 1

typedef struct {
  char *session;
  char *domain;
  char *uuid;
  char *uri;
  char *owner;
  char *checkpoint; /* NULL: no disk can have one */
  char *since;      /* NULL: full */
  char *strategy;
  char *consistency; /* as a manifest's */
  char *tls;         /* "none", "x509", "psk" */
  char *trouble;     /* NULL: it serves */
  int64_t started;   /* unix seconds */
  int64_t expires;
  uint64_t pause_us;
  bool trim;
  GPtrArray *notes; /* of char* */
  GPtrArray *disks; /* of VarveExportDisk */
} VarveExportReport;

VarveExportReport *varve_export_report_new (const char *session);
void varve_export_report_free (VarveExportReport *report);
/* What it returns belongs to @report. */
VarveExportDisk *varve_export_report_add_disk (VarveExportReport *report, const char *name);

/* One line without an end. (transfer full) */
char *varve_export_report_to_json (const VarveExportReport *report);
char *varve_export_report_to_xml (const VarveExportReport *report);
VarveExportReport *varve_export_report_parse (const char *json, size_t length, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveExportReport, varve_export_report_free)
