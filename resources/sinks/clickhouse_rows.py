"""Which rows a ClickHouse table would not take, or not as they are.

In: Arrow rows of a target. Out: the rows refused, with their reasons.

ClickHouse stores some values it cannot hold as others, without a word (NULL as zero, a day beyond
its calendar as its last one). So values are looked at in Arrow before anything is written.
"""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_keys import sent
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_types import misfits, takes_null, to_storage
from resources.sinks.contract import Feed, RejectedWrite, TargetId, TargetTable
from resources.sinks.shape import RESERVED_NAMESPACE, belongs_elsewhere

_TRIAL_PREFIX = "_cdc_trial_"
_NULL = "NULL in a column the table declares NOT NULL"


class ClickHouseRefusals:
    """What the tables of one server refuse.

    Args:
        server: Where they are.
        catalog: What they look like.
    """

    def __init__(self, server: ClickHouse, catalog: ClickHouseCatalog) -> None:
        self._server = server
        self._catalog = catalog

    def check(self, target: TargetTable, rows: pa.Table, live: LiveTable | None = None) -> None:
        """Refuse rows with a value that the table cannot hold.

        Args:
            target: The table.
            rows: In its schema.
            live: The table as it is; one as the sink would create it if left out.

        Raises:
            DirtyRowError: There are such; a column at fault is named.
        """
        for name, _, reason in self._bad_values(target, rows, live):
            raise DirtyRowError(reason, field=name, where=str(target.id))

    def find(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Return every row refused: by its values, its key's owner, or the table's constraints."""
        live = self._catalog.live(target.id)
        if live is not None and not self._catalog.takes(target, live):
            live = None
        found: dict[int, RejectedWrite] = {}
        for name, mask, reason in self._bad_values(target, rows, live):
            for index in pc.indices_nonzero(mask).to_pylist():
                found.setdefault(index, RejectedWrite(index, name, reason))
        if live is not None:
            good = [i for i in range(rows.num_rows) if i not in found]
            if target.owner and target.mode == "merge":
                foreign = self.foreign(target, live, rows.take(pa.array(good, pa.int64())))
                for index, message in foreign.items():
                    found[good[index]] = RejectedWrite(good[index], "", message)
                good = [i for i in good if i not in found]
            for one in self._tried(target, live, rows.take(pa.array(good, pa.int64()))):
                found[good[one.index]] = RejectedWrite(good[one.index], one.field, one.message)
        return [found[i] for i in sorted(found)]

    def foreign(self, target: TargetTable, live: LiveTable, rows: pa.Table) -> dict[int, str]:
        """Return why a row is refused, by number, where another feed has its key."""
        if not rows.num_rows:
            return {}
        strategy = self._catalog.strategy(target, live)
        with sent(self._server, target, live, strategy, rows) as keys:
            owners = keys.owners()
        own = rows[target.owner]
        return {
            number: belongs_elsewhere(other, own[number].as_py())
            for number, other in sorted(owners.items())
            if other != own[number].as_py()
        }

    def claim(
        self,
        target: TargetTable,
        live: LiveTable,
        upserts: pa.Table,
        deletes: pa.Table,
        feed: Feed,
    ) -> tuple[pa.Table, int]:
        """Look up the keys a feed is about to write in a table that it shares.

        Returns:
            The deletes whose keys are the feed's, with the owner's column; and the greatest version
            any of the keys has had, from whatever feed.

        Raises:
            DirtyRowError: Another feed has the key of an upsert.
        """
        keys = list(target.schema.key)
        touched = pa.concat_tables([upserts.select(keys), deletes.select(keys)])
        owners: dict[int, str | None] = {}
        version = 0
        if touched.num_rows:
            strategy = self._catalog.strategy(target, live)
            with sent(self._server, target, live, strategy, touched) as there:
                owners, version = there.owners(), there.version()
        first = upserts.num_rows
        for number in sorted(n for n in owners if n < first and owners[n] != str(feed)):
            said = belongs_elsewhere(owners[number], str(feed))
            raise DirtyRowError(said, where=str(target.id))
        mine = [n - first for n, whose in owners.items() if n >= first and whose == str(feed)]
        own = deletes.take(pa.array(sorted(mine), pa.int64()))
        name = pa.scalar(str(feed), target.schema.column(target.owner).type)
        owner = pa.chunked_array([pa.repeat(name, own.num_rows)])
        return own.append_column(target.owner, owner), version

    def _bad_values(
        self, target: TargetTable, rows: pa.Table, live: LiveTable | None
    ) -> list[tuple[str, pa.ChunkedArray, str]]:
        columns = self._catalog.wanted_columns(target) if live is None else live.columns
        types = {c.name: c.type for c in columns}
        found = []
        for name in rows.column_names:
            column = rows[name]
            if column.null_count and not takes_null(types[name]):
                found.append((name, pc.is_null(column), _NULL))
            mask, reason = misfits(column, self._server.reach)
            if mask is not None:
                found.append((name, pc.fill_null(mask, False), reason))
        return found

    def _tried(self, target: TargetTable, live: LiveTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in an empty copy of the table, which has its constraints."""
        place = TargetId(RESERVED_NAMESPACE, _TRIAL_PREFIX + uuid.uuid4().hex)
        stored = to_storage(rows)
        statement = f"CREATE TABLE {name_of(place)} AS {name_of(live.id)}"

        def trial(indices: Rows) -> Refusal | None:
            try:
                some = stored.take(pa.array(indices, pa.int64()))
                self._server.insert(name_of(place), some, str(target.id))
            except DirtyRowError as error:
                return Refusal(error.field, error.message)
            return None

        self._server.run(statement, str(target.id))
        try:
            return bisect_rejected(rows.num_rows, trial)
        finally:
            self._catalog.drop(place)
