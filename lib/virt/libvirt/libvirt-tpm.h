/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* What an emulated TPM remembers: one file of swtpm's, in a directory of libvirt's. libvirt has no call that gives or
 * takes it, so that the places are those of its QEMU driver:
 *
 *   BASE/UUID/tpm2/tpm2-00.permall    BASE: /var/lib/libvirt/swtpm, of a session ~/.config/libvirt/qemu/swtpm
 *   BASE/UUID/tpm1.2/tpm-00.permall
 *
 * swtpm replaces the file by rename, so that whoever reads it has the state of one moment. */
#pragma once

#include <gio/gio.h>

#include "virt/libvirt/libvirt-private.h"

/* NULL: @uri has no place that is known. (transfer full) */
char *varve_libvirt_tpm_path (const char *uri, const char *uuid, const VarveLibvirtTpm *tpm);

/* What @tpm, of @domain, remembers now; or why that cannot be had, without a full stop. (both transfer full) */
void varve_libvirt_tpm_read (const VarveDomain *domain, const VarveLibvirtTpm *tpm,
                             GBytes **out_state, char **out_why_not);

/* Whether state could be written there. Nothing is changed. */
bool varve_libvirt_tpm_check (const char *path, GError **error);
/* Writes the state, for libvirt's user of swtpm, beside a note that it is for a domain @name which is not defined yet. On
 * failure nothing of it is left. */
bool varve_libvirt_tpm_write (const char *path, const char *name, GBytes *state, GError **error);
/* The domain is defined. */
void varve_libvirt_tpm_keep (const char *path);
/* It is not. */
void varve_libvirt_tpm_drop (const char *path);
/* Written for a domain that is not there yet. */
bool varve_libvirt_tpm_is_pending (const char *path);
/* Removes what was written for domain @name by somebody who was killed before it was defined. */
bool varve_libvirt_tpm_sweep (virConnectPtr connection, const char *path, const char *name,
                              GError **error);
