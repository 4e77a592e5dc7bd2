/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "libexec/quiet.h"

#ifdef HAVE_LIBVIRT
#include <stddef.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

static void
ignore_error (void *data, virErrorPtr error)
{
}

void
varve_quiet_libvirt (void)
{
  virSetErrorFunc (NULL, ignore_error);
}
#else
void
varve_quiet_libvirt (void)
{
}
#endif
