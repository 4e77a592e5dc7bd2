/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* An NBD server inside a test that breaks the protocol where the test wants it to. It follows
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md up to the handshake's end;
 * then the test's function answers each request as it likes. */
#pragma once

#include <errno.h>
#include <glib/gstdio.h>
#include <gio/gio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PHONY_READ = 0, PHONY_WRITE = 1, PHONY_DISC = 2, PHONY_STATUS = 7 };
enum { PHONY_DONE = 1 }; /* flag of a chunk */
enum { PHONY_NONE = 0, PHONY_DATA = 1, PHONY_HOLE = 2, PHONY_EXTENTS = 5, PHONY_ERROR = 0x8001 };

#define PHONY_ALLOCATION 1u /* ids of contexts */
#define PHONY_DIRTY      2u

typedef struct Phony Phony;

typedef struct {
  Phony *phony;
  int fd;
  uint16_t type;
  uint64_t cookie;
  uint64_t offset;
  uint32_t length;
} PhonyRequest;

/* False closes the connection. */
typedef bool (*PhonyFunc) (const PhonyRequest *request);

struct Phony {
  char *dir;
  char *socket;
  char *uri;
  int listener;
  GThread *thread;
  GPtrArray *clients; /* of GThread */
  PhonyFunc answer;
  uint64_t size;
  uint64_t grow;           /* the size is larger by this for each connection */
  uint32_t block_sizes[3]; /* smallest, preferred, largest; 0: not told */
  unsigned connections;
};

static inline bool
phony_send (int fd, const void *buffer, size_t length)
{
  const uint8_t *from = buffer;

  while (length > 0) {
    ssize_t put = send (fd, from, length, MSG_NOSIGNAL);
    if (put <= 0)
      return false;
    from += put;
    length -= (size_t)put;
  }
  return true;
}

static inline bool
phony_receive (int fd, void *buffer, size_t length)
{
  return length == 0 || recv (fd, buffer, length, MSG_WAITALL) == (ssize_t)length;
}

static inline bool
phony_send16 (int fd, uint16_t value)
{
  value = GUINT16_TO_BE (value);
  return phony_send (fd, &value, sizeof value);
}

static inline bool
phony_send32 (int fd, uint32_t value)
{
  value = GUINT32_TO_BE (value);
  return phony_send (fd, &value, sizeof value);
}

static inline bool
phony_send64 (int fd, uint64_t value)
{
  value = GUINT64_TO_BE (value);
  return phony_send (fd, &value, sizeof value);
}

/* Header of a structured reply; @length bytes are to follow. */
static inline bool
phony_chunk (const PhonyRequest *request, uint16_t flags, uint16_t type, uint32_t length)
{
  return phony_send32 (request->fd, 0x668e33ef) && phony_send16 (request->fd, flags) &&
         phony_send16 (request->fd, type) && phony_send64 (request->fd, request->cookie) &&
         phony_send32 (request->fd, length);
}

static inline bool
phony_error (const PhonyRequest *request, uint32_t errnum)
{
  return phony_chunk (request, PHONY_DONE, PHONY_ERROR, 6) && phony_send32 (request->fd, errnum) &&
         phony_send16 (request->fd, 0);
}

static inline bool
phony_data (const PhonyRequest *request, uint16_t flags, uint64_t offset, uint32_t length)
{
  g_autofree uint8_t *buffer = g_malloc (length);

  memset (buffer, 0x5a, length);
  return phony_chunk (request, flags, PHONY_DATA, 8 + length) &&
         phony_send64 (request->fd, offset) && phony_send (request->fd, buffer, length);
}

/* @count numbers: length, flags, length, flags … */
static inline bool
phony_extents (const PhonyRequest *request, uint16_t flags, uint32_t context,
               const uint32_t *numbers, size_t count)
{
  g_autofree uint32_t *swapped = g_new (uint32_t, count);

  for (size_t i = 0; i < count; i++)
    swapped[i] = GUINT32_TO_BE (numbers[i]);
  return phony_chunk (request, flags, PHONY_EXTENTS, (uint32_t)(4 + 4 * count)) &&
         phony_send32 (request->fd, context) && phony_send (request->fd, swapped, 4 * count);
}

static inline bool
phony_option_reply (int fd, uint32_t option, uint32_t type, uint32_t length)
{
  return phony_send64 (fd, 0x3e889045565a9) && phony_send32 (fd, option) &&
         phony_send32 (fd, type) && phony_send32 (fd, length);
}

/* Grants whatever is asked for. */
static inline bool
phony_contexts (int fd, const uint8_t *data)
{
  uint32_t length, count;
  bool ok = true;

  memcpy (&length, data, 4);
  data += 4 + GUINT32_FROM_BE (length);
  memcpy (&count, data, 4);
  data += 4;
  for (uint32_t i = 0; ok && i < GUINT32_FROM_BE (count); i++) {
    memcpy (&length, data, 4);
    length = GUINT32_FROM_BE (length);
    data += 4;
    uint32_t id = memcmp (data, "base:", 5) == 0 ? PHONY_ALLOCATION : PHONY_DIRTY;
    ok = phony_option_reply (fd, 10, 4, 4 + length) && phony_send32 (fd, id) &&
         phony_send (fd, data, length);
    data += length;
  }
  return ok && phony_option_reply (fd, 10, 1, 0);
}

static inline bool
phony_go (const Phony *phony, int fd, uint64_t size)
{
  const uint32_t *sizes = phony->block_sizes;
  bool ok = phony_option_reply (fd, 7, 3, 12) && phony_send16 (fd, 0) && phony_send64 (fd, size) &&
            phony_send16 (fd, 1 | 1 << 8);

  if (ok && sizes[0] != 0)
    ok = phony_option_reply (fd, 7, 3, 14) && phony_send16 (fd, 3) && phony_send32 (fd, sizes[0]) &&
         phony_send32 (fd, sizes[1]) && phony_send32 (fd, sizes[2]);
  return ok && phony_option_reply (fd, 7, 1, 0);
}

static inline bool
phony_handshake (const Phony *phony, int fd, uint64_t size)
{
  uint8_t header[16], data[4096];
  uint32_t flags, option, length;

  if (!phony_send (fd, "NBDMAGICIHAVEOPT", 16) || !phony_send16 (fd, 3) ||
      !phony_receive (fd, &flags, 4))
    return false;
  for (;;) {
    if (!phony_receive (fd, header, sizeof header))
      return false;
    memcpy (&option, header + 8, 4);
    memcpy (&length, header + 12, 4);
    option = GUINT32_FROM_BE (option);
    length = GUINT32_FROM_BE (length);
    g_assert_cmpuint (length, <=, sizeof data);
    if (!phony_receive (fd, data, length))
      return false;
    if (option == 7)
      return phony_go (phony, fd, size);
    if (option == 10 ? !phony_contexts (fd, data)
                     : !phony_option_reply (fd, option, option == 8 ? 1 : 0x80000001, 0))
      return false;
  }
}

typedef struct {
  Phony *phony;
  int fd;
  uint64_t size;
} PhonyClient;

static inline gpointer
phony_serve (gpointer data)
{
  g_autofree PhonyClient *client = data;
  uint8_t header[28];
  bool ok = phony_handshake (client->phony, client->fd, client->size);

  while (ok && phony_receive (client->fd, header, sizeof header)) {
    PhonyRequest request = { .phony = client->phony, .fd = client->fd };
    memcpy (&request.type, header + 6, 2);
    memcpy (&request.cookie, header + 8, 8);
    memcpy (&request.offset, header + 16, 8);
    memcpy (&request.length, header + 24, 4);
    request.type = GUINT16_FROM_BE (request.type);
    request.cookie = GUINT64_FROM_BE (request.cookie);
    request.offset = GUINT64_FROM_BE (request.offset);
    request.length = GUINT32_FROM_BE (request.length);
    ok = request.type != PHONY_DISC && client->phony->answer (&request);
  }
  close (client->fd);
  return NULL;
}

static inline gpointer
phony_accept (gpointer data)
{
  Phony *phony = data;
  int fd;

  while ((fd = accept (phony->listener, NULL, NULL)) >= 0) {
    PhonyClient *client = g_new0 (PhonyClient, 1);
    client->phony = phony;
    client->fd = fd;
    client->size = phony->size + phony->grow * phony->connections++;
    g_ptr_array_add (phony->clients, g_thread_new ("phony", phony_serve, client));
  }
  return NULL;
}

static inline Phony *
phony_start (uint64_t size, PhonyFunc answer)
{
  Phony *phony = g_new0 (Phony, 1);
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  phony->dir = g_dir_make_tmp ("varve-phony-XXXXXX", NULL);
  phony->socket = g_build_filename (phony->dir, "s", NULL);
  phony->uri = g_strdup_printf ("nbd+unix:///?socket=%s", phony->socket);
  phony->clients = g_ptr_array_new ();
  phony->size = size;
  phony->answer = answer;
  phony->listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_strlcpy (address.sun_path, phony->socket, sizeof address.sun_path);
  g_assert_cmpint (bind (phony->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint (listen (phony->listener, 10), ==, 0);
  phony->thread = g_thread_new ("accept", phony_accept, phony);
  return phony;
}

/* The clients must have gone. */
static inline void
phony_stop (Phony *phony)
{
  shutdown (phony->listener, SHUT_RDWR);
  g_thread_join (phony->thread);
  for (guint i = 0; i < phony->clients->len; i++)
    g_thread_join (g_ptr_array_index (phony->clients, i));
  close (phony->listener);
  g_unlink (phony->socket);
  g_assert_cmpint (g_rmdir (phony->dir), ==, 0);
  g_ptr_array_unref (phony->clients);
  g_free (phony->dir);
  g_free (phony->socket);
  g_free (phony->uri);
  g_free (phony);
}
