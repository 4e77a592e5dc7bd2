/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The machine that a backup is proved with, made of the definition that the backup keeps: as like the old one as its guest
 * needs to start, and with nothing that leads out of it. */
#pragma once

#include "qemu/machine.h"

/* A pure function of libvirt's document @xml; NULL: a plain machine, of whose kind nothing is known. @disks: of const char *,
 * those that the backup has. What is not as it was is told in @notes, of char *, sentences. VARVE_ERROR_UNSUPPORTED: it is
 * no machine that a QEMU for x86-64 can be; VARVE_ERROR_STORE_DAMAGED: @xml is no definition. */
VarveMachineSpec *varve_machine_describe (const char *xml, GPtrArray *disks, GPtrArray *notes,
                                          GError **error);
