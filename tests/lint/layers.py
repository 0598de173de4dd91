# SPDX-License-Identifier: MIT
"""Who includes what: walcore in the order of layers.txt, fs and tools the public header alone, FUSE in fs alone.

usage: layers.py ROOT
"""

import pathlib
import re
import sys

from lint import Tap, blank, line_of, sources

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
PUBLIC = 'walcore/walcore.h'


def includes(root, path):
    text = blank((root / path).read_text(), strings=False)
    for match in INCLUDE.finditer(text):
        yield line_of(text, match.start()), match.group(2)


def is_fuse(name):
    return name.startswith('fuse') or name in ('linux/fuse.h',)


def check_engine(root, path, rank):
    """A file of walcore: its module is listed, and so are those it includes, above it."""
    module = path.stem
    if module not in rank:
        return [f'{path}: module {module} is not in walcore/layers.txt']
    found = []
    for line, name in includes(root, path):
        if is_fuse(name):
            found.append(f'{path}:{line}: {name}: FUSE belongs in fs')
        if not (root / 'walcore' / name).is_file():
            continue
        other = pathlib.PurePath(name).stem
        if '/' in name:
            found.append(f'{path}:{line}: {name}: include it by its name alone')
        elif other not in rank:
            found.append(f'{path}:{line}: module {other} is not in walcore/layers.txt')
        elif rank[other] > rank[module]:
            found.append(f'{path}:{line}: {module} includes {other}, which stands above it')
    return found


def check_user(root, path, private):
    """A file of fs or tools: of walcore the public header and nothing else."""
    room = path.parts[0]
    found = []
    for line, name in includes(root, path):
        own = (root / path.parent / name).is_file() and '..' not in name
        base = pathlib.PurePath(name).name
        if room != 'fs' and is_fuse(name):
            found.append(f'{path}:{line}: {name}: FUSE belongs in fs')
        if '..' in name or (name.startswith('walcore/') and name != PUBLIC) or (base in private and not own):
            if name != PUBLIC:
                found.append(f'{path}:{line}: {name}: {room} sees {PUBLIC} and nothing else of walcore')
    return found


def check_public(root):
    """The public header includes system headers only, and compiles for those who have nothing else."""
    path = pathlib.Path('walcore/include') / PUBLIC
    return [f'{path}:{line}: {name}' for line, name in includes(root, path)
            if (root / 'walcore' / name).is_file()]


def main():
    root = pathlib.Path(sys.argv[1])
    lines = (root / 'walcore/layers.txt').read_text().splitlines()
    modules = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    rank = {module: i for i, module in enumerate(modules)}
    tap = Tap()
    tap.case('layers.txt names each module once', [m for m in rank if modules.count(m) > 1])
    tap.case('every module of layers.txt exists',
             [m for m in rank if not any((root / 'walcore' / (m + e)).is_file() for e in ('.c', '.h'))])
    tap.case('walcore.h includes nothing private', check_public(root))
    for path in sources(root, 'walcore'):
        if path.parts[1] != 'include':
            tap.case(path, check_engine(root, path, rank))
    private = {p.name for p in sources(root, 'walcore') if p.suffix == '.h'}
    for path in sources(root, 'fs', 'tools'):
        tap.case(path, check_user(root, path, private))
    tap.done()


main()
