"""What a workload left in the log: places, and how many row changes lie between them.

In: nothing. Out: plain values that go to a child process as JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

DATABASE = "wire"


@dataclass(frozen=True)
class Place:
    """A byte of the log: file name and offset."""

    file: str
    offset: int


@dataclass(frozen=True)
class Stretch:
    """A part of the log.

    Args:
        name: Of the workload.
        start: Where it begins, the start of a file.
        end: Where it ends, a transaction boundary.
        rows: Row changes in it, those of unwanted tables included.
        wanted_rows: Row changes of the wanted tables.
        share_end: A boundary in its first file, for readers too slow for all of it.
        share_rows: Row changes up to there.
        tables: The wanted tables.
    """

    name: str
    start: Place
    end: Place
    rows: int
    wanted_rows: int
    share_end: Place
    share_rows: int
    tables: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that `stretch_from_json` reads back."""
        return asdict(self)


def stretch_from_json(value: dict[str, Any]) -> Stretch:
    """Read what `Stretch.to_json` wrote."""
    places = {key: Place(**value[key]) for key in ("start", "end", "share_end")}
    return Stretch(**{**value, **places, "tables": tuple(value["tables"])})
