"""Upkeep of targets whose engine does none by itself: small files joined, old ones deleted.

In: a target and how long its past is kept. Out: what was done, for a person to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from resources.sinks.contract import TargetId

LEAST_SECONDS = 86_400.0
"""Files younger than this are never deleted: a write under way may be about to need them."""


@dataclass(frozen=True)
class Upkeep:
    """What an upkeep did.

    Args:
        joined: Small files that were joined.
        written: Files they became.
        deleted: Files deleted that only the past needed, or nothing ever.
    """

    joined: int = 0
    written: int = 0
    deleted: int = 0


@runtime_checkable
class Maintained(Protocol):
    """A sink whose tables want upkeep."""

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join small files and delete what nothing younger than `keep_seconds` needs.

        Readers and writers may go on meanwhile; the rows and the watermarks stay the same.

        Args:
            target: The table; nothing is done if it does not exist.
            keep_seconds: How far back its versions can be read afterwards, at least
                `LEAST_SECONDS`.

        Raises:
            SinkUnavailable: Its storage failed, or writers came first too often.
        """
        ...
