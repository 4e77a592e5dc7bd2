/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A domain in memory, for the tests of the rooms above: what it has is added by the test, what it
 * shall fail at is said beforehand, and what was done to it is told. It keeps the drivers'
 * promises: a start that fails leaves nothing, an end is idempotent and never touches a checkpoint.
 */
#pragma once

#include "util/error.h"
#include "virt/domain.h"

/* Free with varve_domain_free. */
VarveDomain *varve_fake_domain_new (const char *name);

/* What they return belongs to the domain. A disk from here on: 1 MiB, qcow2, can be backed up, can
 * persist. */
VarveDisk *varve_fake_add_disk (VarveDomain *domain, const char *name);
VarveBitmap *varve_fake_add_bitmap (VarveDomain *domain, const char *disk, const char *name);
void varve_fake_set_state (VarveDomain *domain, VarveDomainState state);
/* What endpoint says for @disk. */
void varve_fake_set_uri (VarveDomain *domain, const char *disk, const char *uri);
/* What poll and finish say from now on. */
void varve_fake_set_snapshot_state (VarveDomain *domain, VarveSnapshotState state);
/* What progress says of every disk, and finish goes by. */
void varve_fake_set_progress (VarveDomain *domain, uint64_t done, uint64_t total, bool ready);
void varve_fake_set_scratch_used (VarveDomain *domain, uint64_t bytes);

/* From now on records of checkpoints are kept, as libvirt does; else there are none but those that
 * the test adds. */
void varve_fake_keep_metadata (VarveDomain *domain);
/* A record that says that @disk has the bitmap @name; more disks by more calls. Belongs to the
 * domain. */
VarveCheckpointMetadata *varve_fake_add_metadata (VarveDomain *domain, const char *name,
                                                  const char *disk);

/* The next @times calls of @op ("start", "end", "checkpoint_remove" …) fail with @code. */
void varve_fake_fail (VarveDomain *domain, const char *op, VarveError code, unsigned times);

/* The ops that were called, each with its argument if it has a name: "start", "endpoint vda",
 * "checkpoint_remove NAME", "end cut" … Owned by the domain. */
const char *const *varve_fake_calls (VarveDomain *domain);
/* How many of them are @call; also while another thread makes more. */
unsigned varve_fake_count_calls (VarveDomain *domain, const char *call);
/* How many snapshots have been started and not ended. */
unsigned varve_fake_snapshots (VarveDomain *domain);
