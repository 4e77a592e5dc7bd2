/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A process that does one thing to the world, and is killed at it. */
#pragma once

#include "world.h"

/* @words: what it is to do, NULL-terminated:
 *
 *   backup SINCE CHECKPOINT PAUSE KEEP     SINCE may be "-"; PAUSE and KEEP are 0 or 1
 *   add NAME · remove NAME · merge INTO FROM...
 *
 * It dies at @failpoint, or where that is NULL after @delay_us, or ends by itself before that.
 * Whether it had time to end. The world is open again afterwards; @during (may be NULL) is called
 * while it works. */
bool worker_run (World *world, const char *const *words, const char *failpoint, unsigned delay_us,
                 void (*during) (gpointer data), gpointer data);

/* In that process: argv behind "--worker". */
int worker_main (char **argv);
