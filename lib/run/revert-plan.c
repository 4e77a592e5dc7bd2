/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

#include "config.h"

#include "run/revert-plan.h"

#include <string.h>

#include "restore/revert.h"
#include "util/clock.h"
#include "util/error.h"

/* Links of a chain matter to a backup only. */
#define NO_MAX_CHAIN 1000000u

/* --- the wanted backup ------------------------------------------------------------------------ */

static bool
is_of_domain (const VarveLook *look, const VarveManifest *manifest)
{
  return g_ascii_strcasecmp (manifest->uuid, look->domain->uuid) == 0;
}

static const VarveManifest *
find_by_time (const VarveLook *look, const char *time, GError **error)
{
  int64_t limit = g_str_equal (time, "latest") ? INT64_MAX : varve_parse_time (time);

  for (guint i = look->manifests->len; i > 0; i--) {
    const VarveManifest *manifest = g_ptr_array_index (look->manifests, i - 1);

    if (is_of_domain (look, manifest) && varve_backup_id_time (manifest->id) <= limit)
      return manifest;
  }
  varve_throw (error, VARVE_ERROR_NOT_FOUND,
               "The store '%s' has no backup of domain '%s' (uuid %s)%s%s. 'varve list --from %s' "
               "shows what it has.",
               look->store->uri, look->domain->name, look->domain->uuid,
               limit == INT64_MAX ? "" : " as old as ", limit == INT64_MAX ? "" : time,
               look->store->uri);
  return NULL;
}

/* What stands before the '@' is the domain that is named anyway, or a slip. */
static bool
names_domain (const VarveLook *look, const char *backup, const char *at, GError **error)
{
  g_autofree char *name = g_strndup (backup, (gsize)(at - backup));

  return g_str_equal (name, look->domain->name) ||
         g_ascii_strcasecmp (name, look->domain->uuid) == 0 ||
         varve_throw (
             error, VARVE_ERROR_REFUSED,
             "'%s' is a backup of another domain than '%s', whose disks are to be put back. "
             "'varve restore' writes it elsewhere.",
             backup, look->domain->name);
}

const VarveManifest *
varve_revert_wanted (const VarveLook *look, const char *backup, GError **error)
{
  const char *at = strrchr (backup, '@');
  const VarveManifest *found;

  if (at != NULL)
    return names_domain (look, backup, at, error) ? find_by_time (look, at + 1, error) : NULL;
  found = varve_manifests_find (look->manifests, backup);
  if (found == NULL)
    varve_throw (error, VARVE_ERROR_NOT_FOUND,
                 "The store '%s' has no backup '%s'. 'varve list --from %s' shows what it has.",
                 look->store->uri, backup, look->store->uri);
  else if (!is_of_domain (look, found)) {
    varve_throw (error, VARVE_ERROR_REFUSED,
                 "Backup %s is one of domain '%s' (uuid %s), and not of '%s' (uuid %s): its disks "
                 "are not put in their place. 'varve restore' writes them elsewhere.",
                 backup, found->domain, found->uuid, look->domain->name, look->domain->uuid);
    return NULL;
  }
  return found;
}

/* --- which disks ------------------------------------------------------------------------------ */

static bool
contains (GPtrArray *names, const char *name)
{
  return g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL);
}

/* Every disk of the backup, unless some are named, which the backup then has. */
static bool
choose (const VarveManifest *wanted, GPtrArray *include, GPtrArray *exclude, GPtrArray *out,
        GPtrArray *left, GError **error)
{
  for (guint i = 0; i < include->len; i++)
    if (!varve_manifest_find_disk (wanted, g_ptr_array_index (include, i)))
      return varve_throw (error, VARVE_ERROR_NOT_FOUND, "Backup %s has no disk '%s'.", wanted->id,
                          (char *)g_ptr_array_index (include, i));
  for (guint i = 0; i < wanted->disks->len; i++) {
    char *name = ((VarveManifestDisk *)g_ptr_array_index (wanted->disks, i))->name;

    if (contains (exclude, name))
      continue;
    if (include->len == 0 || contains (include, name))
      g_ptr_array_add (out, name);
    else
      g_ptr_array_add (left,
                       g_strdup_printf ("Disk '%s' of the backup is not put back, as others are "
                                        "named and it is not.",
                                        name));
  }
  return out->len > 0 || varve_throw (error, VARVE_ERROR_REFUSED,
                                      "No disk is left to be put back: all are left out.");
}

static bool
check_disk (const VarveLook *look, const VarveManifest *wanted, const char *name, GError **error)
{
  const VarveManifestDisk *layer = varve_manifest_find_disk (wanted, name);
  const VarveDisk *disk = varve_disk_find (look->disks, name);

  if (disk == NULL)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Domain '%s' has no disk '%s' now, and had it at backup %s. Name the disks "
                        "that are to be put back (--disk), or restore this one elsewhere ('varve "
                        "restore').",
                        look->domain->name, name, wanted->id);
  if (disk->size != layer->size)
    return varve_throw (error, VARVE_ERROR_REFUSED,
                        "Disk '%s' of domain '%s' has %" G_GUINT64_FORMAT
                        " bytes now, and had %" G_GUINT64_FORMAT
                        " at backup %s: it cannot be put back in place. Restore it to a new image "
                        "('varve restore').",
                        name, look->domain->name, disk->size, layer->size, wanted->id);
  return true;
}

static bool
check_state (const VarveLook *look, const VarveRevertPlan *plan, GError **error)
{
  bool running = look->state == VARVE_DOMAIN_RUNNING;

  return look->state == VARVE_DOMAIN_OFF || (running ? plan->may_run : plan->halted) ||
         varve_throw (error, VARVE_ERROR_REFUSED,
                      "Domain '%s' is %s: what it holds of its disks in memory would damage what "
                      "is put back. Shut it down first%s.",
                      look->domain->name, running ? "not off" : "paused, not off",
                      running ? ", or have it turned off and started again (--restart)" : "");
}

/* --- how much --------------------------------------------------------------------------------- */

static void
plan_disk_free (gpointer data)
{
  VarveRevertPlanDisk *disk = data;

  g_free (disk->text);
  g_free (disk);
}

static char *
size_text (uint64_t bytes)
{
  return g_format_size_full (bytes, G_FORMAT_SIZE_IEC_UNITS);
}

static void
describe (VarveRevertPlanDisk *disk, const VarveManifest *wanted, bool known)
{
  const VarvePlanDisk *plan = disk->plan;
  g_autofree char *changed = size_text (disk->changed);
  g_autofree char *differing = size_text (disk->differing);

  if (plan->base == NULL || plan->since == NULL)
    disk->text = g_strdup_printf ("all of it is read and compared: %s",
                                  plan->distrust ? plan->distrust : plan->reason);
  else if (!known)
    disk->text = g_strdup_printf ("all of it is read and compared: backups %s and %s have no layer "
                                  "in common",
                                  plan->base->id, wanted->id);
  else if (plan->base == wanted)
    disk->text = g_strdup_printf ("%s changed since then", changed);
  else
    disk->text = g_strdup_printf ("%s changed since backup %s, %s differ between the two backups",
                                  changed, plan->base->id, differing);
}

static bool
plan_disk (const VarveLook *look, const VarveManifest *wanted, const VarvePlanDisk *plan,
           GPtrArray *out, GCancellable *cancellable, GError **error)
{
  VarveRevertPlanDisk *disk = g_new0 (VarveRevertPlanDisk, 1);
  const VarveBitmap *bitmap =
      plan->since ? varve_bitmap_find (look->bitmaps, plan->disk->name, plan->since) : NULL;
  bool known = false;

  g_ptr_array_add (out, disk);
  disk->plan = plan;
  if (plan->decision == VARVE_DECISION_INCREMENTAL &&
      !varve_revert_difference (look->store, plan->base, wanted, plan->disk->name, &known,
                                &disk->differing, cancellable, error))
    return varve_prefix (error, "Disk '%s'", plan->disk->name);
  disk->compare = !known;
  /* Also where it is not told. */
  if (bitmap != NULL)
    disk->changed = MIN (bitmap->dirty, plan->disk->size);
  describe (disk, wanted, known);
  return true;
}

bool
varve_revert_plan (const VarveLook *look, const VarveManifest *wanted, GPtrArray *include,
                   GPtrArray *exclude, VarveRevertPlan *out, GCancellable *cancellable,
                   GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autoptr (GPtrArray) none = g_ptr_array_new ();
  VarveLookPlan increments = {
    .incremental = "auto", .include = names, .exclude = none, .max_chain = NO_MAX_CHAIN
  };

  out->wanted = wanted;
  out->disks = g_ptr_array_new_with_free_func (plan_disk_free);
  out->left = g_ptr_array_new_with_free_func (g_free);
  if (!check_state (look, out, error) ||
      !choose (wanted, include, exclude, names, out->left, error))
    return false;
  for (guint i = 0; i < names->len; i++)
    if (!check_disk (look, wanted, g_ptr_array_index (names, i), error))
      return false;
  if (!varve_domain_rewrite_check (look->domain, names, look->state == VARVE_DOMAIN_RUNNING,
                                   cancellable, error))
    return false;
  out->plans = varve_look_plan (look, &increments, error);
  for (guint i = 0; out->plans != NULL && i < out->plans->len; i++) {
    const VarvePlanDisk *plan = g_ptr_array_index (out->plans, i);

    if (plan->decision == VARVE_DECISION_SKIP) {
      if (include->len == 0 && !contains (exclude, plan->disk->name))
        g_ptr_array_add (out->left,
                         g_strdup_printf ("Disk '%s' stays as it is: the backup does not have it.",
                                          plan->disk->name));
    } else if (!plan_disk (look, wanted, plan, out->disks, cancellable, error))
      return false;
  }
  return out->plans != NULL;
}

bool
varve_revert_plan_is_empty (const VarveRevertPlan *plan)
{
  for (guint i = 0; i < plan->disks->len; i++) {
    const VarveRevertPlanDisk *disk = g_ptr_array_index (plan->disks, i);

    if (disk->compare || disk->changed > 0 || disk->differing > 0)
      return false;
  }
  return true;
}

void
varve_revert_plan_clear (VarveRevertPlan *plan)
{
  g_clear_pointer (&plan->disks, g_ptr_array_unref);
  g_clear_pointer (&plan->left, g_ptr_array_unref);
  g_clear_pointer (&plan->plans, g_ptr_array_unref);
}
