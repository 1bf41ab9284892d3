"""Places in a log as a person names them: where to begin, where to stop.

In: nothing. Out: the vocabulary between a pipeline's settings and the sources that find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

FIRST_OFFSET = 4
"""Offset of a log file's first event, after its four magic bytes."""


@dataclass(frozen=True)
class FilePlace:
    """A byte of a log file where a transaction begins.

    Args:
        file: The log file's name.
        offset: Byte offset in it.
    """

    file: str
    offset: int = FIRST_OFFSET

    def __str__(self) -> str:
        """Return `file:offset`."""
        return f"{self.file}:{self.offset}"


@dataclass(frozen=True)
class GtidPlace:
    """The place where exactly these transactions have happened.

    Args:
        gtid_set: A set in the server's dialect.
    """

    gtid_set: str

    def __str__(self) -> str:
        """Return the set after a word that says what it is."""
        return f"GTID set {self.gtid_set}"


@dataclass(frozen=True)
class TimePlace:
    """The place before the first transaction, in log order, committed at or after a time.

    Args:
        time: With a zone.
    """

    time: datetime

    @property
    def time_us(self) -> int:
        """Microseconds since the epoch."""
        seconds = int(self.time.replace(microsecond=0).timestamp())
        return seconds * 1_000_000 + self.time.microsecond

    def __str__(self) -> str:
        """Return the time in UTC, ISO 8601."""
        return self.time.astimezone(UTC).isoformat().replace("+00:00", "Z")


Place: TypeAlias = FilePlace | GtidPlace | TimePlace
Start: TypeAlias = Literal["latest", "earliest"] | Place
