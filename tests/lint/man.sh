#!/bin/bash
# SPDX-License-Identifier: MIT
# The man pages are clean mdoc. usage: man.sh PAGE...
echo "1..$#"
n=0
for page; do
	n=$((n + 1))
	name="man page ${page##*/}"
	if ! command -v mandoc >/dev/null; then
		echo "ok $n - $name # SKIP mandoc is not installed"
	elif found=$(mandoc -T lint -W warning "$page" 2>&1); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		printf '%s\n' "$found" | sed 's/^/# /'
	fi
done
