# SPDX-License-Identifier: MIT
"""Functions that are not used here, whatever the compiler says of them.

usage: banned.py ROOT
"""

import pathlib
import re
import sys

from lint import Tap, blank, line_of, sources

BANNED = {
    'sprintf': 'snprintf',
    'vsprintf': 'vsnprintf',
    'strcpy': 'snprintf or memcpy',
    'stpcpy': 'snprintf or memcpy',
    'strcat': 'snprintf',
    'strncpy': 'memcpy: it leaves no NUL',
    'strncat': 'snprintf',
    'strtok': 'strsep or a loop: it keeps state',
    'atoi': 'strtoul with its checks',
    'atol': 'strtoul with its checks',
    'atoll': 'strtoull with its checks',
    'atof': 'strtod with its checks',
    'asctime': 'strftime',
    'ctime': 'strftime',
    'gmtime': 'gmtime_r',
    'localtime': 'localtime_r',
    'gets': 'fgets or getline',
    'alloca': 'a bounded array or malloc',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')


def check(root, path):
    text = blank((root / path).read_text())
    return [f'{path}:{line_of(text, m.start())}: {m.group(1)}: use {BANNED[m.group(1)]}'
            for m in CALL.finditer(text)]


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    for path in sources(root, 'walcore', 'fs', 'tools', 'tests'):
        tap.case(path, check(root, path))
    tap.done()


main()
