"""Changes of a table as SQL statements of somebody else: for the suite of hands."""

from __future__ import annotations

from typing import ClassVar

from resources.sinks.contract import Sink
from tests.contracts.sink_hands import DROPPED, MADE, SinkHands

_ALTER = "ALTER TABLE shop.orders "
CHANGES: dict[str, tuple[str, ...]] = {
    "column added": (_ALTER + "ADD COLUMN note {text}",),
    "required column added": (_ALTER + "ADD COLUMN note {required} DEFAULT ''",),
    "column dropped": (_ALTER + "DROP COLUMN name",),
    "column renamed": (_ALTER + "RENAME COLUMN name TO title",),
    "type changed": (_ALTER + "DROP COLUMN name", _ALTER + "ADD COLUMN name {number}"),
    DROPPED: ("DROP TABLE shop.orders",),
    MADE: (
        "CREATE {schema} shop",
        "CREATE TABLE shop.orders (id bigint PRIMARY KEY, name {number}) {kind}",
    ),
}


WORDS = {
    "text": "varchar(20)",
    "number": "int",
    "schema": "SCHEMA",
    "kind": "",
    "required": "varchar(20) NOT NULL",
}


class SqlHands(SinkHands):
    """Changes as statements."""

    words: ClassVar[dict[str, str]] = WORDS

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        """Run statements as somebody else."""
        raise NotImplementedError

    def by_hand(self, sink: Sink, place: str, change: str) -> None:
        self.run(sink, place, tuple(s.format(**self.words) for s in CHANGES[change]))
