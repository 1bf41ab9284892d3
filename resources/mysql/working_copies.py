"""The tables that gh-ost and pt-online-schema-change work with, by their names.

In: a table's name. Out: whether it is such a tool's own. Both fill a copy of a table beside it and
put the copy in its place by renaming; the copy and what is left of the table are no tables of
their own to anybody else.
Source: gh-ost go/base/context.go, `getSafeTableName`; percona-toolkit bin/pt-online-schema-change.
"""

from __future__ import annotations

import re

_NAMES = re.compile(r"_+.+_(gho|ghc|ghk|del|new|old)", re.IGNORECASE | re.DOTALL)
"""Copy, change log, checkpoints and leftover of gh-ost; copy and leftover of the other."""


def is_working_copy(name: str) -> bool:
    """Return whether a table's name is one that a schema change tool gives its own tables."""
    return _NAMES.fullmatch(name) is not None
