# SPDX-License-Identifier: MIT
"""Every function of walcore.h is a symbol of walcore.map, is in walcore(3), and the other way round.

usage: api.py ROOT
"""

import pathlib
import re
import sys

from lint import Tap, blank

FUNCTION = re.compile(r'^(?!typedef\b)[a-z][\w \t*]*?[ *](wal_\w+)\(', re.M)


def main():
    root = pathlib.Path(sys.argv[1])
    header = blank((root / 'walcore/include/walcore/walcore.h').read_text())
    public = set(FUNCTION.findall(header))
    exported = set(re.findall(r'^\s*(wal_\w+);', blank((root / 'walcore/walcore.map').read_text()), re.M))
    man = (root / 'walcore/walcore.3').read_text()
    described = set(re.findall(r'^\.F[on] "?[^"\n]*?\b(wal_\w+)"?', man, re.M))
    named = set(re.findall(r'^\.Nm (wal_\w+)', man, re.M))
    tap = Tap()
    tap.case('walcore.h declares functions', [] if len(public) > 10 else [f'only {len(public)} found'])
    tap.case('every function of walcore.h is in walcore.map', sorted(public - exported))
    tap.case('every symbol of walcore.map is in walcore.h', sorted(exported - public))
    tap.case('every function of walcore.h has its prototype in walcore.3', sorted(public - described))
    tap.case('every function of walcore.h is a name of walcore.3', sorted(public - named))
    tap.case('walcore.3 describes nothing else', sorted((described | named) - public))
    tap.done()


main()
