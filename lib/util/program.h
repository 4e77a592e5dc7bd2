/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Where the programs are that the library starts, and nobody else does. */
#pragma once

/* The path of our program @name: in $VARVE_LIBEXEC_DIR where that is set; in libexec/ beside the
 * library, where it runs from the tree that it was built in, or beside another of our programs; else where it was
 * installed to.
 * (transfer full) */
char *varve_program_path (const char *name);

/* Our plugin of nbdkit, found in the same way, but installed where nbdkit has its own. (transfer full) */
char *varve_nbdkit_plugin_path (void);
