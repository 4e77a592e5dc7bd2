/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Locks that die with their holder: an open file description lock on locks/NAME.lock, whose text
 * says who holds it. */
#pragma once

#include "state/state-dir.h"

typedef struct VarveLock VarveLock;

/* @what names the thing for messages ("domain 'web01'"), @holder is stored in the file ("backup
 * 20261121T…, pid 4711"). Held by another: waits up to @wait_s seconds, then VARVE_ERROR_BUSY with
 * the holder's words. @name is turned into a safe file name. */
VarveLock *varve_lock_take (const VarveStateDir *dir, const char *name, const char *what,
                            const char *holder, unsigned wait_s, GCancellable *cancellable,
                            GError **error);
/* Whether somebody, this process included, holds it; then @out_holder (may be NULL) gets his words.
 * What cannot be found out counts as held, since a free lock is a licence to clean up. */
bool varve_lock_is_held (const VarveStateDir *dir, const char *name, char **out_holder);
/* Lets go, and removes the file. In a child that was forked after the lock was taken, this only
 * closes the child's copy: the lock goes on. A copy that a child keeps open keeps the lock after
 * its owner was killed, so a child that outlives him (a guard) frees its copy first; exec does it
 * by itself. */
void varve_lock_free (VarveLock *lock);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VarveLock, varve_lock_free)
