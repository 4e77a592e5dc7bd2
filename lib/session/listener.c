/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"
#include "session/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/durable.h"
#include "util/error.h"

#define BACKLOG      64
#define GROUP_BUFFER 16384

struct VarveListener {
  int fd;
  unsigned port; /* TCP */
  char *path;    /* UNIX: NULL until it is ours to remove */
  dev_t device;
  ino_t inode;
};

static VarveListener *
listener_new (int fd)
{
  VarveListener *listener = g_new0 (VarveListener, 1);

  listener->fd = fd;
  return listener;
}

int
varve_listener_fd (const VarveListener *listener)
{
  return listener->fd;
}

unsigned
varve_listener_port (const VarveListener *listener)
{
  return listener->port;
}

void
varve_listener_free (VarveListener *listener)
{
  struct stat st;

  if (!listener)
    return;
  if (listener->path && lstat (listener->path, &st) == 0 && st.st_dev == listener->device &&
      st.st_ino == listener->inode)
    unlink (listener->path);
  close (listener->fd);
  g_free (listener->path);
  g_free (listener);
}

/* --- UNIX ------------------------------------------------------------------------------------- */

static bool
fill_address (const char *path, struct sockaddr_un *out, GError **error)
{
  *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
  if (path[0] != '/')
    return varve_throw (error, VARVE_ERROR_USAGE, "The socket '%s' is no absolute path.", path);
  if (g_strlcpy (out->sun_path, path, sizeof out->sun_path) >= sizeof out->sun_path)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "The path of the socket '%s' is longer than the %zu bytes that a UNIX "
                        "socket may have: choose a shorter one.",
                        path, sizeof out->sun_path - 1);
  return true;
}

/* A socket whose listener has gone refuses; one that is full or not for us is alive. */
static bool
is_dead (const struct sockaddr_un *address)
{
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool refused;

  if (fd < 0)
    return false;
  refused =
      connect (fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
  close (fd);
  return refused;
}

bool
varve_listener_remove_dead (const char *path, GError **error)
{
  struct sockaddr_un address;
  struct stat st;

  if (!fill_address (path, &address, error))
    return false;
  if (lstat (path, &st) < 0 || !S_ISSOCK (st.st_mode) || !is_dead (&address))
    return true;
  return varve_durable_unlink (path, error);
}

static bool
find_group (const char *name, gid_t *out, GError **error)
{
  g_autofree char *buffer = g_malloc (GROUP_BUFFER);
  struct group entry, *found = NULL;

  if (!name) {
    *out = (gid_t)-1;
    return true;
  }
  if (getgrnam_r (name, &entry, buffer, GROUP_BUFFER, &found) != 0 || !found)
    return varve_throw (error, VARVE_ERROR_USAGE,
                        "There is no group '%s' on this host to give the socket to.", name);
  *out = entry.gr_gid;
  return true;
}

/* Linux makes the file with the mode of the socket's own inode. Until listen nobody can connect. */
static bool
bind_closed (int fd, const struct sockaddr_un *address, GError **error)
{
  if (fchmod (fd, 0600) == 0 && bind (fd, (const struct sockaddr *)address, sizeof *address) == 0)
    return true;
  if (errno == EADDRINUSE)
    return varve_throw (error, VARVE_ERROR_EXISTS,
                        "'%s' exists already, and is no socket that a dead process left behind: "
                        "remove it, or choose another path.",
                        address->sun_path);
  return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot make the socket '%s'",
                            address->sun_path);
}

static bool
publish (VarveListener *listener, const char *path, unsigned mode, gid_t group, GError **error)
{
  struct stat st;

  if (lstat (path, &st) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot look at '%s'", path);
  listener->path = g_strdup (path);
  listener->device = st.st_dev;
  listener->inode = st.st_ino;
  if ((group != (gid_t)-1 && lchown (path, (uid_t)-1, group) < 0) || chmod (path, mode) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno,
                              "Cannot give the socket '%s' its group and the mode 0%o", path, mode);
  if (listen (listener->fd, BACKLOG) < 0)
    return varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot listen at '%s'", path);
  return true;
}

VarveListener *
varve_listener_unix (const char *path, unsigned mode, const char *group, GError **error)
{
  g_autoptr (VarveListener) listener = NULL;
  struct sockaddr_un address;
  gid_t gid = (gid_t)-1;
  int fd;

  if (!fill_address (path, &address, error) || !find_group (group, &gid, error) ||
      !varve_listener_remove_dead (path, error))
    return NULL;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot make a socket");
    return NULL;
  }
  listener = listener_new (fd);
  if (!bind_closed (fd, &address, error) || !publish (listener, path, mode, gid, error))
    return NULL;
  return g_steal_pointer (&listener);
}

/* --- TCP -------------------------------------------------------------------------------------- */

static bool
is_loopback (const struct sockaddr *address)
{
  if (address->sa_family == AF_INET)
    return ntohl (((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK (&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static bool
resolve (const char *host, unsigned port, struct sockaddr_storage *out, socklen_t *out_length,
         GError **error)
{
  g_autofree char *service = g_strdup_printf ("%u", port);
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
  struct addrinfo *found = NULL;
  int failed = getaddrinfo (host, service, &hints, &found);

  if (failed != 0)
    return varve_throw (error, VARVE_ERROR_USAGE, "The address '%s' to listen at is not known: %s.",
                        host, gai_strerror (failed));
  memcpy (out, found->ai_addr, found->ai_addrlen);
  *out_length = found->ai_addrlen;
  freeaddrinfo (found);
  return true;
}

static bool
learn_port (VarveListener *listener)
{
  struct sockaddr_storage bound;
  socklen_t length = sizeof bound;

  if (getsockname (listener->fd, (struct sockaddr *)&bound, &length) < 0)
    return false;
  listener->port = ntohs (bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                                     : ((struct sockaddr_in6 *)&bound)->sin6_port);
  return true;
}

VarveListener *
varve_listener_tcp (const char *host, unsigned port, bool loopback_only, GError **error)
{
  g_autoptr (VarveListener) listener = NULL;
  struct sockaddr_storage address;
  socklen_t length = 0;
  int fd, on = 1;

  if (!resolve (host, port, &address, &length, error))
    return NULL;
  if (loopback_only && !is_loopback ((struct sockaddr *)&address)) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "Clear text is refused on '%s', as that is no loopback address: everybody on the "
                 "network could read the disks. Give TLS credentials.",
                 host);
    return NULL;
  }
  fd = socket (address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    varve_throw_errno (error, VARVE_ERROR_FAILED, errno, "Cannot make a socket");
    return NULL;
  }
  listener = listener_new (fd);
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind (fd, (struct sockaddr *)&address, length) == 0 && listen (fd, BACKLOG) == 0 &&
      learn_port (listener))
    return g_steal_pointer (&listener);
  varve_throw_errno (error, errno == EADDRINUSE ? VARVE_ERROR_BUSY : VARVE_ERROR_FAILED, errno,
                     "Cannot listen at %s, port %u", host, port);
  return NULL;
}
