/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* Members of a JSON object that came from outside. json-glib's own getters complain on the log, or
 * abort in tests, when a member is missing or of another type; these answer with NULL or the
 * fallback. What they return belongs to the object. @object may be NULL. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <json-glib/json-glib.h>

const char *varve_json_string (JsonObject *object, const char *member);
JsonObject *varve_json_object (JsonObject *object, const char *member);
JsonArray *varve_json_array (JsonObject *object, const char *member);
bool varve_json_bool (JsonObject *object, const char *member, bool fallback);
int64_t varve_json_int (JsonObject *object, const char *member, int64_t fallback);

/* Element @i of @array when it is an object, else NULL. */
JsonObject *varve_json_array_object (JsonArray *array, unsigned i);
/* Whether @array (may be NULL) holds the string @text. */
bool varve_json_array_has_string (JsonArray *array, const char *text);

/* Parses @length bytes that must be one JSON object nested at most as deep as QEMU allows itself:
 * json-glib recurses, so that deeper text from a hostile peer would run out of stack. NULL with
 * G_IO_ERROR_INVALID_DATA otherwise. (transfer full) */
JsonObject *varve_json_parse_object (const char *text, size_t length, GError **error);
