/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Named failure points: VARVE_FAILPOINT=name[:action][,name…] in the environment makes the process
 * do
 * @action when it passes the point: "kill" (SIGKILL to itself, the default), "error" (the step
 * fails), "stop" (SIGSTOP). Always compiled in; without the variable a point costs one comparison.
 * Every name is listed in docs/failure-points.md, and a lint test compares the list with the code.
 * Tests that kill at a random moment need none of this: they start the command, sleep for a random
 * time and kill its pid. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

/* False with *@error set for the action "error", and for an action that does not exist. */
bool varve_failpoint (const char *name, GError **error);
