#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs a cmocka program and mends its TAP: cmocka before 1.1.6 reports a skipped case as "not ok N # SKIP name", which
# counts as failed.
set -o pipefail
"$@" | sed -u 's/^not ok \([0-9]*\) # SKIP \(.*\)/ok \1 - \2 # SKIP/'
