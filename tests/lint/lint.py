# SPDX-License-Identifier: MIT
"""What the lint tests share: C text without comments and strings, the files of a room, and TAP."""

import pathlib
import re
import sys

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, strings=True):
    """Blanks comments and the inside of strings; every byte keeps its line."""

    def sub(match):
        token = match.group(0)
        if token[0] == '/':
            return re.sub(r'[^\n]', ' ', token)
        return token[0] + ' ' * (len(token) - 2) + token[0] if strings else token

    return TOKEN.sub(sub, text)


def sources(root, *rooms):
    """The .c and .h files below the rooms, as paths relative to root."""
    root = pathlib.Path(root)
    for room in rooms:
        for path in sorted((root / room).rglob('*.[ch]')):
            yield path.relative_to(root)


def line_of(text, pos):
    return text.count('\n', 0, pos) + 1


class Tap:
    """One case a file or name; findings are printed below the case that they fail."""

    def __init__(self):
        self.n = 0
        self.failed = 0

    def case(self, name, findings):
        self.n += 1
        self.failed += bool(findings)
        print(f'{"not ok" if findings else "ok"} {self.n} - {name}')
        for finding in findings:
            print(f'# {finding}')

    def skip(self, name, reason):
        self.n += 1
        print(f'ok {self.n} - {name} # SKIP {reason}')

    def done(self):
        print(f'1..{self.n}')
        sys.exit(0)
