"""Chunks of a snapshot: ranges of a table's full key.

In: bounds as the source sent them. Out: immutable plans that round-trip through JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KeyBound = tuple[str, ...]
"""One value per key column as a SQL literal the source itself produced or that was quoted for it:
never through a Python float. Compared on the source only, in its own collation."""


@dataclass(frozen=True)
class Chunk:
    """Rows with `after < key <= upto` by row-value comparison on the source.

    Args:
        number: 1, 2, 3 … in key order within one snapshot of one table.
        after: Exclusive lower bound, None for the table's start.
        upto: Inclusive upper bound, None for the table's end.
        rows: Estimated rows, for progress only.
    """

    number: int
    after: KeyBound | None
    upto: KeyBound | None
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "number": self.number,
            "after": None if self.after is None else list(self.after),
            "upto": None if self.upto is None else list(self.upto),
            "rows": self.rows,
        }


def chunk_from_json(value: dict[str, Any]) -> Chunk:
    """Read what `Chunk.to_json` wrote."""
    after, upto = value["after"], value["upto"]
    return Chunk(
        value["number"],
        None if after is None else tuple(after),
        None if upto is None else tuple(upto),
        value["rows"],
    )
