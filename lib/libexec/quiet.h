/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* libvirt writes an error to stderr where it has no connection to tell it by. varve says what it was by itself, so that
 * its programs want it said once. Only programs may ask for that: it goes for all of the process. */
#pragma once

void varve_quiet_libvirt (void);
