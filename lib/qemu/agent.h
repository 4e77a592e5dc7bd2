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

/* An agent behind a port that stays connected, of a guest that may yet have to start it. */
typedef struct VarveAgentCall VarveAgentCall;

/* @socket: (transfer full), to the port; @name stands for it in messages. */
VarveAgentCall *varve_agent_call_new (GSocket *socket, const char *name);
/* Asks now and then, without waiting; true once the agent has answered: at all (guest-ping), or, with a @mountpoint, that a
 * file system is mounted there (guest-get-fsinfo). It is the same in all calls. */
bool varve_agent_call_answered (VarveAgentCall *call, const char *mountpoint);
void varve_agent_call_free (VarveAgentCall *call);
