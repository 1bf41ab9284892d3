"""Tables that take another's place in one instant, watermarks included.

In: a table filled beside the live one. Out: `EXCHANGE TABLES`, or a rename where there is none.

A watermark belongs to the UUID of its table (`clickhouse_ledger`), and an exchange moves the UUIDs:
whoever looks sees the old rows under the old watermarks, or the new ones under the new.
"""

from __future__ import annotations

import hashlib

from resources.failpoints import failpoint
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.contract import TargetId
from resources.sinks.shape import RESERVED_NAMESPACE, SHADOW_PREFIX


def beside(target: TargetId, what: str) -> TargetId:
    """Return the name of a table in `_cdc` that belongs to a target.

    Args:
        target: The target.
        what: Tells it from others of the same target.
    """
    text = f"{target.namespace}\0{target.table}\0{what}"
    told = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    plain = "".join(c for c in target.table if (c.isascii() and c.isalnum()) or c == "_")
    return TargetId(RESERVED_NAMESPACE, f"{SHADOW_PREFIX}{plain[:40]}_{told}")


class ClickHousePlacer:
    """Puts tables in each other's place.

    Args:
        server: Where they are.
        catalog: What they look like.
    """

    def __init__(self, server: ClickHouse, catalog: ClickHouseCatalog) -> None:
        self._server = server
        self._catalog = catalog

    def put(self, place: TargetId, target: TargetId) -> None:
        """Let the table at `place` be the target; what was the target is at `place` afterwards."""
        for statement in self.statements(place, target):
            self._server.run(statement, str(target))
        failpoint("sink.finish.after_swap")

    def statements(self, place: TargetId, target: TargetId) -> list[str]:
        """Return the statements of `put`."""
        ours, theirs = name_of(place), name_of(target)
        dialect = self._server.dialect
        if self._catalog.live(target) is not None:
            return [f"EXCHANGE TABLES {ours} AND {theirs}{dialect.on_cluster}"]
        return [
            dialect.create_database(target.namespace),
            f"RENAME TABLE {ours} TO {theirs}{dialect.on_cluster}",
        ]
