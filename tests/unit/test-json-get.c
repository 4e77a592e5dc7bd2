/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Reading JSON from outside: wrong types are answered with the fallback, hostile text is refused.
 */
#include "config.h"
#include "qemu/json-get.h"

#include <gio/gio.h>
#include <string.h>

static JsonObject *
parse (const char *text)
{
  return varve_json_parse_object (text, strlen (text), NULL);
}

static void
test_getters (void)
{
  g_autoptr (JsonObject) object = parse (
      "{\"s\":\"t\",\"i\":7,\"b\":true,\"o\":{\"x\":1},\"a\":[{\"y\":2},\"z\",3],\"n\":null}");

  g_assert_cmpstr (varve_json_string (object, "s"), ==, "t");
  g_assert_cmpint (varve_json_int (object, "i", -1), ==, 7);
  g_assert_true (varve_json_bool (object, "b", false));
  g_assert_cmpint (varve_json_int (varve_json_object (object, "o"), "x", -1), ==, 1);

  JsonArray *array = varve_json_array (object, "a");
  g_assert_cmpint (varve_json_int (varve_json_array_object (array, 0), "y", -1), ==, 2);
  g_assert_null (varve_json_array_object (array, 1));
  g_assert_null (varve_json_array_object (array, 3));
  g_assert_true (varve_json_array_has_string (array, "z"));
  g_assert_false (varve_json_array_has_string (array, "y"));
}

static void
test_wrong_types (void)
{
  static const char *const members[] = { "n", "i", "s", "o", "a", "missing" };
  g_autoptr (JsonObject) object = parse ("{\"s\":\"t\",\"i\":7,\"o\":{},\"a\":[],\"n\":null}");

  for (size_t i = 0; i < G_N_ELEMENTS (members); i++) {
    const char *member = members[i];

    g_assert_cmpint (varve_json_string (object, member) != NULL, ==, *member == 's');
    g_assert_cmpint (varve_json_int (object, member, 9), ==, *member == 'i' ? 7 : 9);
    g_assert_cmpint (varve_json_object (object, member) != NULL, ==, *member == 'o');
    g_assert_cmpint (varve_json_array (object, member) != NULL, ==, *member == 'a');
    g_assert_true (varve_json_bool (object, member, true));
  }
  g_assert_null (varve_json_string (NULL, "s"));
  g_assert_null (varve_json_array_object (NULL, 0));
  g_assert_false (varve_json_array_has_string (NULL, "s"));
}

/* {"a":[[…]]} with @depth brackets. */
static char *
nested (size_t depth)
{
  g_autoptr (GString) text = g_string_new ("{\"a\":");

  for (size_t i = 0; i < depth; i++)
    g_string_append_c (text, '[');
  for (size_t i = 0; i < depth; i++)
    g_string_append_c (text, ']');
  return g_strconcat (text->str, "}", NULL);
}

static void
test_nesting (void)
{
  g_autofree char *deep = nested (1000);
  g_autofree char *deeper = nested (1000000);
  g_autofree char *hidden = g_strconcat ("/* \" */", deeper, NULL);
  g_autofree char *quoted = g_strconcat ("{'\"':1,\"b\":", deeper, "}", NULL);
  g_autoptr (JsonObject) object = parse (deep);
  g_autoptr (JsonObject) brackets = parse ("{\"a\":\"[[[[{{\\\"[[\"}");

  g_assert_nonnull (object);
  g_assert_cmpstr (varve_json_string (brackets, "a"), ==, "[[[[{{\"[[");
  g_assert_null (parse (deeper));
  g_assert_null (parse (hidden));
  g_assert_null (parse (quoted));
}

static void
test_refused (gconstpointer text)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (varve_json_parse_object (text, strlen (text), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

int
main (int argc, char **argv)
{
  static const char *const refused[] = { "",         " ",        "[]",  "7",           "{",
                                         "{\"a\":}", "{'a':1}",  "x",   "{} /**/",     "{\"a\":1",
                                         "null",     "\"\xff\"", "{}}", "{\"\xff\":1}" };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json-get/getters", test_getters);
  g_test_add_func ("/json-get/wrong-types", test_wrong_types);
  g_test_add_func ("/json-get/nesting", test_nesting);
  for (size_t i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autofree char *path = g_strdup_printf ("/json-get/refused/%zu", i);

    g_test_add_data_func (path, refused[i], test_refused);
  }
  return g_test_run ();
}
