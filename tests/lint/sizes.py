# SPDX-License-Identifier: MIT
"""Functions over 70 lines and files over 600 fail, but for those that exceptions.txt allows, and it only shrinks.

usage: sizes.py ROOT
"""

import pathlib
import re
import sys

from lint import Tap, blank, line_of, sources

FUNCTION_LINES = 70
FILE_LINES = 600
# A function body: a brace in the first column, which this style has for functions alone, and the name before it.
BODY = re.compile(r'^\{\n.*?^\}', re.M | re.S)
NAME = re.compile(r'(\w+)\s*\(')


def functions(text):
    """Yields (name, first line, lines) of every function; the lines are those from brace to brace."""
    text = blank(text)
    end = 0
    for match in BODY.finditer(text):
        head = text[end:match.start()]
        head = head[max(head.rfind(';'), head.rfind('}')) + 1:]
        name = NAME.search(re.sub(r'^\s*#.*$', '', head, flags=re.M))
        end = match.end()
        if name:
            yield name.group(1), line_of(text, match.start()), match.group(0).count('\n') + 1


def read_exceptions(path):
    allowed = {}
    for line in path.read_text().splitlines():
        words = line.split('#')[0].split()
        if words:
            allowed[words[0]] = int(words[1])
    return allowed


def check(root, path, allowed, used):
    text = (root / path).read_text()
    found = []
    sizes = [(str(path), 1, text.count('\n'), FILE_LINES)]
    sizes += [(f'{path}:{name}', line, n, FUNCTION_LINES) for name, line, n in functions(text)]
    for what, line, n, limit in sizes:
        if n > limit and what in allowed:
            used.add(what)
            if n > allowed[what]:
                found.append(f'{path}:{line}: {what} has grown from {allowed[what]} lines to {n}')
        elif n > limit:
            found.append(f'{path}:{line}: {what} has {n} lines, the limit is {limit}')
    return found


def main():
    root = pathlib.Path(sys.argv[1])
    allowed = read_exceptions(pathlib.Path(__file__).with_name('exceptions.txt'))
    used = set()
    tap = Tap()
    for path in sources(root, 'walcore', 'fs', 'tools', 'tests'):
        tap.case(path, check(root, path, allowed, used))
    tap.case('exceptions.txt names nothing that keeps the limit by now', sorted(set(allowed) - used))
    tap.done()


main()
