#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# The sources are as clang-format leaves them. Other versions than the pinned one format otherwise,
# so that without it there is nothing to say (77: skipped). CLANG_FORMAT names another command.
set -eu
cd "$1"
pinned=14

tool=
for candidate in ${CLANG_FORMAT:-clang-format-$pinned clang-format}; do
  if "$candidate" --version 2>/dev/null | grep -q "version $pinned\."; then
    tool=$candidate
    break
  fi
done
if [ -z "$tool" ]; then
  echo "clang-format $pinned is not installed"
  exit 77
fi

list=$(git ls-files '*.c' '*.h' 2>/dev/null) || list=
[ -n "$list" ] || list=$(find . -name '*.[ch]' ! -path './build*')
# File names in this tree have no blanks in them.
# shellcheck disable=SC2086
"$tool" --dry-run -Werror $list
