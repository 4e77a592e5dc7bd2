/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The guest agent (qemu-ga) of a bare QEMU, behind the socket of its chardev. JSON as QMP's, without a
 * greeting; one client at a time; and an answer may be one to somebody who has gone: so each use connects
 * and synchronizes first. */
#pragma once

#include <stdbool.h>
#include <gio/gio.h>

/* Runs @command. Failures by what they mean:
 *
 *   VARVE_ERROR_UNSUPPORTED          nobody is there, or answers: @command was not given to the agent
 *   VARVE_ERROR_SOURCE_UNREACHABLE   it was, and there was no answer within @timeout_s: it may yet be obeyed
 *   VARVE_ERROR_HYPERVISOR           the agent said no
 */
bool varve_agent_run (const char *path, const char *command, unsigned timeout_s,
                      GCancellable *cancellable, GError **error);
