/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The steps of a sequence: each does something to the world, and the same to the model. Behind each of
 * them the bitmaps that are there are those that the model knows of, and only a kill may have cost
 * any. A step returns false where there was nothing to do it to. */
#pragma once

#include "defect.h"

#define MANY_POINTS 5u

typedef struct {
  World *world;
  Model *model;
  GRand *rand;
  Defect defect;
} Sequence;

/* --- steps-common.c --- */

/* Below @n. */
unsigned pick (Sequence *s, unsigned n);
bool chance (Sequence *s, unsigned percent);
void say (const char *format, ...) G_GNUC_PRINTF (1, 2);

GPtrArray *bitmaps_of (Sequence *s);
/* Ends the process where a bitmap is there that the model does not know, or a good one has gone.
 * @vanishing: names that may have gone; all of them where @lossy. */
void reconcile (Sequence *s, bool lossy, const char *const *vanishing);
/* libvirt reads by one bitmap, and lets none be disabled, while it has the domain running. */
bool chains_work (const Sequence *s);
/* One that makes up no foreign chain; NULL: there is none. */
Point *some_point (Sequence *s, const Point *other);
/* A disk on which nothing could take over what @from has there. */
bool must_be_refused (Sequence *s, const Point *into, const Point *from);

bool step_write (Sequence *s);
/* Some writes or none; @data is the sequence. */
void write_during (gpointer data);

/* --- steps-backup.c --- */
bool step_backup (Sequence *s);
/* Each checkpoint that is left answers for itself. */
void verify_all (Sequence *s);

/* --- steps-checkpoint.c --- */
bool step_create (Sequence *s);
bool step_delete (Sequence *s);
bool step_merge (Sequence *s);
bool step_record (Sequence *s);
bool step_tidy (Sequence *s);
/* An older tool's, which disables its last bitmap when it makes the next. */
bool step_foreign_next (Sequence *s);
bool step_foreign_merge (Sequence *s);

/* --- steps-kill.c --- */
bool step_power (Sequence *s);
bool step_kill (Sequence *s);
bool step_killed_backup (Sequence *s);
bool step_killed_change (Sequence *s);
