/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Freezing the guest of a bare QEMU, by its agent, whose socket the caller has named. */
#include "config.h"
#include "virt/qmp/qmp-domain.h"

#include "qemu/agent.h"
#include "util/error.h"

/* A thaw that gets no answer is tried again. */
#define THAW_TIMEOUT_S 3

bool
varve_qmp_freeze (VarveDomain *base, unsigned timeout_s, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  VarveDomainState state;

  if (!domain->agent)
    return varve_throw (
        error, VARVE_ERROR_UNSUPPORTED,
        "Nobody said where the guest agent of domain '%s' is: name the socket of its "
        "chardev (<quiesce agent='PATH'/>, --agent=PATH).",
        base->name);
  if (!varve_domain_state (base, &state, cancellable, error))
    return false;
  if (state != VARVE_DOMAIN_RUNNING)
    return varve_throw (error, VARVE_ERROR_UNSUPPORTED,
                        "Domain '%s' does not run, so that its guest agent cannot be asked to "
                        "freeze the file systems.",
                        base->name);
  return varve_agent_run (domain->agent, "guest-fsfreeze-freeze", timeout_s, cancellable, error);
}

/* A QEMU that has exited has nothing frozen. */
bool
varve_qmp_thaw (VarveDomain *base, GCancellable *cancellable, GError **error)
{
  VarveQmpDomain *domain = (VarveQmpDomain *)base;
  VarveDomainState state;

  if (!domain->agent)
    return true;
  if (!varve_domain_state (base, &state, cancellable, error))
    return false;
  return state == VARVE_DOMAIN_OFF ||
         varve_agent_run (domain->agent, "guest-fsfreeze-thaw", THAW_TIMEOUT_S, cancellable, error);
}
