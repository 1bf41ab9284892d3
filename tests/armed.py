"""Arming one failpoint of this process for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from resources import failpoints


@contextmanager
def armed(what: str) -> Iterator[None]:
    """Set CDC_FAILPOINT to `what` (`name:action[:count]`), counting from zero."""
    failpoints._reached.clear()
    os.environ[failpoints.VARIABLE] = what
    try:
        yield
    finally:
        del os.environ[failpoints.VARIABLE]
        failpoints._reached.clear()
