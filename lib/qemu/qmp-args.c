/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Arguments of QMP commands from a literal that looks like the JSON it becomes. Values go into
 * json-glib objects one by one and never through text, so that nothing in them needs quoting.
 *
 *   value   := object | array | string | number | true | false | null | escape
 *   object  := { } | { string : value (, string : value)* }
 *   array   := [ ] | [ value (, value)* ]
 *   string  := ' any but ' and % '
 *   number  := -? digit+
 *   escape  := %s %d %u %llu %b %o %a     as the header says
 *
 * White space may stand between all of these.
 */
#include "config.h"
#include "qemu/qmp.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
  const char *format; /* the whole literal, for the message */
  const char *next;
  va_list values;
} Literal;

static JsonNode *read_value (Literal *literal);

static void malformed (const Literal *literal, const char *expected) G_GNUC_NORETURN;

static void
malformed (const Literal *literal, const char *expected)
{
  g_error ("varve_qmp_args: expected %s at byte %zu of: %s", expected,
           (size_t)(literal->next - literal->format), literal->format);
}

static char
peek (Literal *literal)
{
  while (g_ascii_isspace (*literal->next))
    literal->next++;
  return *literal->next;
}

static bool
accept (Literal *literal, const char *token)
{
  peek (literal);
  if (!g_str_has_prefix (literal->next, token))
    return false;
  literal->next += strlen (token);
  return true;
}

static void
expect (Literal *literal, const char *token)
{
  if (!accept (literal, token))
    malformed (literal, token);
}

static char *
read_string (Literal *literal)
{
  expect (literal, "'");
  size_t length = strcspn (literal->next, "'%");
  g_autofree char *text = g_strndup (literal->next, length);

  literal->next += length;
  expect (literal, "'");
  return g_steal_pointer (&text);
}

static JsonNode *
read_object (Literal *literal)
{
  g_autoptr (JsonObject) object = json_object_new ();

  expect (literal, "{");
  if (!accept (literal, "}")) {
    do {
      g_autofree char *name = read_string (literal);

      expect (literal, ":");
      json_object_set_member (object, name, read_value (literal));
    } while (accept (literal, ","));
    expect (literal, "}");
  }
  return json_node_init_object (json_node_alloc (), object);
}

static JsonNode *
read_array (Literal *literal)
{
  g_autoptr (JsonArray) array = json_array_new ();

  expect (literal, "[");
  if (!accept (literal, "]")) {
    do
      json_array_add_element (array, read_value (literal));
    while (accept (literal, ","));
    expect (literal, "]");
  }
  return json_node_init_array (json_node_alloc (), array);
}

static JsonNode *
read_number (Literal *literal)
{
  char *end = NULL;
  int64_t number = g_ascii_strtoll (literal->next, &end, 10);

  literal->next = end;
  return json_node_init_int (json_node_alloc (), number);
}

/* QMP's integers are signed in json-glib. Sizes stop at 2^63 - 1, so that is where this stops too.
 */
static JsonNode *
unsigned_node (guint64 number)
{
  return json_node_init_int (json_node_alloc (), (gint64)MIN (number, (guint64)G_MAXINT64));
}

/* There is no way to leave a member out: NULL becomes null, which QEMU answers with the member's
 * name. */
static JsonNode *
string_node (const char *text)
{
  if (!text) {
    g_critical ("varve_qmp_args: NULL for %%s");
    return json_node_init_null (json_node_alloc ());
  }
  return json_node_init_string (json_node_alloc (), text);
}

static JsonNode *
read_escape (Literal *literal)
{
  if (accept (literal, "%s"))
    return string_node (va_arg (literal->values, const char *));
  if (accept (literal, "%d"))
    return json_node_init_int (json_node_alloc (), va_arg (literal->values, int));
  if (accept (literal, "%u"))
    return unsigned_node (va_arg (literal->values, unsigned));
  if (accept (literal, "%llu"))
    return unsigned_node (va_arg (literal->values, guint64));
  if (accept (literal, "%b"))
    return json_node_init_boolean (json_node_alloc (), va_arg (literal->values, int) != 0);
  if (accept (literal, "%o")) {
    g_autoptr (JsonObject) object = va_arg (literal->values, JsonObject *);

    return json_node_init_object (json_node_alloc (), object);
  }
  if (accept (literal, "%a")) {
    g_autoptr (JsonArray) array = va_arg (literal->values, JsonArray *);

    return json_node_init_array (json_node_alloc (), array);
  }
  malformed (literal, "%s, %d, %u, %llu, %b, %o or %a");
}

static JsonNode *
read_value (Literal *literal)
{
  char first = peek (literal);

  if (first == '%')
    return read_escape (literal);
  if (first == '{')
    return read_object (literal);
  if (first == '[')
    return read_array (literal);
  if (first == '\'') {
    g_autofree char *text = read_string (literal);

    return json_node_init_string (json_node_alloc (), text);
  }
  if (g_ascii_isdigit (first) || (first == '-' && g_ascii_isdigit (literal->next[1])))
    return read_number (literal);
  if (accept (literal, "true"))
    return json_node_init_boolean (json_node_alloc (), TRUE);
  if (accept (literal, "false"))
    return json_node_init_boolean (json_node_alloc (), FALSE);
  if (accept (literal, "null"))
    return json_node_init_null (json_node_alloc ());
  malformed (literal, "a value");
}

JsonObject *
varve_qmp_args (const char *format, ...)
{
  Literal literal = { .format = format, .next = format };

  va_start (literal.values, format);
  g_autoptr (JsonNode) root = read_object (&literal);
  va_end (literal.values);

  if (peek (&literal) != '\0')
    malformed (&literal, "the end");
  return json_object_ref (json_node_get_object (root));
}
