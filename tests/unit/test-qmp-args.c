/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* The formatter of QMP arguments: every escape, and that no value can break out of its quotes. */
#include "config.h"
#include "qemu/qmp.h"

static char *
text_of (JsonObject *object)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (root, object);
  return json_to_string (root, FALSE);
}

static void
assert_text (JsonObject *object, const char *expected)
{
  g_autofree char *text = text_of (object);

  g_assert_cmpstr (text, ==, expected);
}

static void
test_escapes (void)
{
  JsonObject *object = json_object_new ();
  JsonArray *array = json_array_new ();

  json_object_set_int_member (object, "x", 1);
  json_array_add_string_element (array, "y");
  assert_text (varve_qmp_args ("{'a':%s,'b':%d,'c':%u,'d':%llu,'e':%b,'f':%o,'g':%a}", "text", -5,
                               4294967295u, (guint64)1 << 62, true, object, array),
               "{\"a\":\"text\",\"b\":-5,\"c\":4294967295,\"d\":4611686018427387904,\"e\":true,"
               "\"f\":{\"x\":1},\"g\":[\"y\"]}");
}

static void
test_literals (void)
{
  assert_text (varve_qmp_args ("{}"), "{}");
  assert_text (
      varve_qmp_args (" { 'a' : [ 1 , -2 , { } , [ ] ] , 'b':null, 'c':true, 'd':false } "),
      "{\"a\":[1,-2,{},[]],\"b\":null,\"c\":true,\"d\":false}");
  assert_text (varve_qmp_args ("{'n':{'s':'t','d':[%s,%s]}}", "1", "2"),
               "{\"n\":{\"s\":\"t\",\"d\":[\"1\",\"2\"]}}");
}

/* A value is data whatever it looks like: it comes back as it went in. */
static void
test_hostile_values (void)
{
  static const char *const values[] = { "',\"x\":1}", "\\", "\"", "\n\t\x01", "%s%o", "ü€", "" };

  for (size_t i = 0; i < G_N_ELEMENTS (values); i++) {
    g_autofree char *text = text_of (varve_qmp_args ("{'v':%s}", values[i]));
    g_autoptr (JsonNode) root = json_from_string (text, NULL);

    g_assert_nonnull (root);
    g_assert_cmpuint (json_object_get_size (json_node_get_object (root)), ==, 1);
    g_assert_cmpstr (json_object_get_string_member (json_node_get_object (root), "v"), ==,
                     values[i]);
    g_assert_null (strpbrk (text, "\n\t"));
  }
}

static void
test_large_unsigned (void)
{
  assert_text (varve_qmp_args ("{'a':%llu}", (guint64)G_MAXUINT64), "{\"a\":9223372036854775807}");
}

static void
test_null_string (void)
{
  g_test_expect_message (G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL, "*NULL*");
  assert_text (varve_qmp_args ("{'a':%s}", NULL), "{\"a\":null}");
  g_test_assert_expected_messages ();
}

static void
test_malformed (gconstpointer format)
{
  if (g_test_subprocess ()) {
    g_autoptr (JsonObject) object = varve_qmp_args (format);
    return;
  }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*expected*");
}

int
main (int argc, char **argv)
{
  static const char *const malformed[] = { "",          "[]",         "{'a'}",      "{'a':}",
                                           "{'a':1",    "{'a':1}x",   "{'a':%x}",   "{\"a\":1}",
                                           "{'a':1,}",  "{'a':'%s'}", "{'a':[1,]}", "{'a':-}",
                                           "{'a':%ld}", "{'a' 1}",    "{'a':'open}" };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-args/escapes", test_escapes);
  g_test_add_func ("/qmp-args/literals", test_literals);
  g_test_add_func ("/qmp-args/hostile-values", test_hostile_values);
  g_test_add_func ("/qmp-args/large-unsigned", test_large_unsigned);
  g_test_add_func ("/qmp-args/null-string", test_null_string);
  for (size_t i = 0; i < G_N_ELEMENTS (malformed); i++) {
    g_autofree char *path = g_strdup_printf ("/qmp-args/malformed/%zu", i);

    g_test_add_data_func (path, malformed[i], test_malformed);
  }
  return g_test_run ();
}
