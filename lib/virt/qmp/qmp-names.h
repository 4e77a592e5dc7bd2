/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The names of what a session makes in QEMU; qmp-domain.h lists the kinds. */
#pragma once

#include "virt/inventory.h"

/* One of "scaejtdpwbm". (transfer full) */
char *varve_qmp_name (const char *session, char kind, unsigned index);
/* The place in the start of an object of that kind and session, or -1. */
int varve_qmp_name_index (const char *name, const char *session, char kind);
