/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The first look of an action that has a domain and a store: what is there, under the domain's lock,
 * when whatever killed runs have left is ended; and what each disk's next increment would be. */
#pragma once

#include "plan/plan.h"
#include "run/context.h"
#include "store/store.h"

typedef struct {
  VarveStoreImpl *store; /* or what stands for one: targets (store/targets), which have no uri */
  VarveDomain *domain;
  VarveLock *lock;
  char *owner;
  VarveDomainState state;
  GPtrArray *disks;     /* of VarveDisk */
  GPtrArray *bitmaps;   /* of VarveBitmap */
  GPtrArray *problems;  /* of char*: what of the store cannot be read */
  GPtrArray *manifests; /* of VarveManifest; none where there are targets */
} VarveLook;

typedef struct {
  const char *action;      /* for events */
  const char *holder;      /* who has the domain's lock, in words */
  bool create;             /* make the store where there is none */
  bool recover;            /* end what killed runs have left */
  const VarveRecord *left; /* a session whose traces in a QEMU that is there go first, or NULL */
} VarveLookOptions;

/* What is in @out, and what is left of it by a failure, is freed by clear. */
bool varve_look (const VarveRunContext *context, const VarveBackupDef *def,
                 const VarveLookOptions *options, VarveLook *out, GCancellable *cancellable,
                 GError **error);
/* The same of a domain that is open and locked, and a store that is open; both are in @look. */
bool varve_look_again (const VarveEventSink *events, const char *action, unsigned keep,
                       VarveLook *look, GCancellable *cancellable, GError **error);
void varve_look_clear (VarveLook *look);

typedef struct {
  const char *incremental; /* "auto", "never", a checkpoint */
  GPtrArray *include;      /* of char*: only these; empty: all that can be */
  GPtrArray *exclude;      /* of char* */
  unsigned max_chain;
  bool push; /* QEMU writes the layers */
} VarveLookPlan;

/* Of VarvePlanDisk; borrows from @look. */
GPtrArray *varve_look_plan (const VarveLook *look, const VarveLookPlan *wanted, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VarveLook, varve_look_clear)
