"""Snapshot loads into ClickHouse: chunk by chunk beside the live table, then put in its place.

In: chunks as Arrow tables. Out: a table in `_cdc`, chunk marks written after their rows, and one
exchange that swaps the load in (`clickhouse_fold` folds it in where feeds share the table).

A load's table replaces by key, so a chunk that was written and not marked is simply written again.
Rows deleted on the source in between stay in it until the log, replayed from before the load,
deletes them. A load of changes (`append`) has no key: there a chunk is one insert under its own
token, and the second one does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from resources.errors import SchemaMismatch
from resources.failpoints import failpoint
from resources.sinks import clickhouse_ledger as ledger
from resources.sinks import shape
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_ddl import DELETED, VERSION
from resources.sinks.clickhouse_fold import ClickHouseFold
from resources.sinks.clickhouse_ledger import Load, Mark
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import quote_all
from resources.sinks.clickhouse_place import ClickHousePlacer, beside
from resources.sinks.clickhouse_rows import ClickHouseRefusals
from resources.sinks.clickhouse_strategy import Strategy
from resources.sinks.clickhouse_types import to_storage
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.loading import own_load
from resources.sinks.sql import insert, select

INSERT_BYTES = 256 << 20
"""Arrow bytes of parts that are inserted together, the last one on top."""
_LOADED = Strategy("replacing", VERSION, DELETED)
_Open = tuple[Load, dict[int, int]]
"""A load and the row counts of its chunks that are in."""


class ClickHouseLoads:
    """The loads of one server; at most one per target and feed.

    Args:
        server: Where they are.
        catalog: What tables look like.
        refusals: What tables refuse.
    """

    def __init__(
        self, server: ClickHouse, catalog: ClickHouseCatalog, refusals: ClickHouseRefusals
    ) -> None:
        self._server = server
        self._catalog = catalog
        self._refusals = refusals
        self._placer = ClickHousePlacer(server, catalog)
        self._fitting: set[tuple[str, pa.Schema]] = set()
        self._open: dict[tuple[TargetId, str], _Open] = {}

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Create the load's table unless it was begun before; drop the feed's other loads."""
        with self._server.alone(target.id):
            load = ledger.find_load(self._server, target.id, load_id)
            if load is not None:
                own_load(load, target.id, load_id, feed)
                return
            for other in ledger.list_loads(self._server, target.id):
                if other.feed == feed:
                    self._drop(target.id, other)
            place = beside(target.id, load_id)
            self._catalog.drop(place)
            self._catalog.create(target, place, _LOADED, ours=True)
            failpoint("sink.load.after_create")
            uuid = self._catalog.require_live(place).uuid
            failpoint("sink.before_commit")
            load = Load(load_id, feed, uuid, place.table)
            ledger.write_load(self._server, target.id, load)
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return row counts by the number of the chunks that are in."""
        load = ledger.find_load(self._server, target, load_id)
        return {} if load is None else ledger.read_chunks(self._server, load, str(target))

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Insert a chunk's parts as they come, then its mark."""
        where = f"{target.id}, chunk {chunk}"
        load, done = self._opened(target, load_id)
        if chunk in done:
            return done[chunk]
        if load.rows is not None:
            raise shape.no_load(target.id, load_id)
        try:
            count = self._insert(target, load, chunk, rows, where)
        except SchemaMismatch:
            self._open.pop((target.id, load_id), None)
            if self._require(target.id, load_id).rows is not None:  # by another run, meanwhile
                raise shape.no_load(target.id, load_id) from None
            raise
        if target.mode == "append":  # those of the first attempt, if this is another
            there = self._server.value(select("count()", name_of(load.place)), where)
            count = int(there) - sum(done.values())
        ledger.add_chunk(self._server, load, chunk, count, where)
        done[chunk] = count
        failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def _insert(
        self, target: TargetTable, load: Load, chunk: int, rows: Iterable[pa.Table], where: str
    ) -> int:
        """Insert a chunk's parts as they come; returns how many rows came."""
        self._require_fit(target, load)
        whole = target.mode == "append"
        count = 0
        for part in _gathered(target, rows, None if whole else INSERT_BYTES):
            shape.check_owner(target, part, load.feed)
            self._refusals.check(target, part)
            stored = to_storage(part)
            token = f"chunk {chunk}" if whole else ""
            self._server.insert(name_of(load.place), stored, where, token, by_content=not whole)
            count += part.num_rows
            failpoint("sink.load.after_rows")
        return count

    def _opened(self, target: TargetTable, load_id: str) -> _Open:
        """Return a load and its chunks that are in, as this process knows them.

        They are read for the first chunk only: a load that another run dropped or finished since
        has no table any more, and a chunk that another run wrote is the same one. The rows of a
        load of changes are counted, so that one is read each time.
        """
        key = target.id, load_id
        known = self._open.get(key)
        if known is None:
            load = self._require(*key)
            known = load, ledger.read_chunks(self._server, load, str(target.id))
            if load.rows is None and target.mode == "merge":
                self._open[key] = known
        return known

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        load = self._require(target.id, load_id, feed)
        live = self._catalog.live(target.id)
        if not target.owner or load.rows is not None or live is None:
            return shape.target_schema(target).empty_table()
        return self._fold(target, load, live, ()).conflicts()

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put the rows in place with their watermark; see `Sink.finish_load`."""
        with self._server.alone(target.id):
            self._open.pop((target.id, load_id), None)
            load = self._require(target.id, load_id, fence.feed)
            if load.rows is not None:
                return load.rows
            loaded = sum(ledger.read_chunks(self._server, load, str(target.id)).values())
            live = self._catalog.live(target.id)
            if live is not None and live.uuid in (load.uuid, load.result):
                return self._finished(target, load, loaded)
            mark = self._mark(target.id, live, fence.feed)
            check_token(target.id, mark.watermark if mark else None, fence)
            shadow = self._catalog.require_fit(replace(target, id=load.place))
            shape.check_keep(target, live and self._catalog.schema_of(live), keep)
            new = Watermark(fence.new, consistent_from, fence.token)
            move = mark.move + 1 if mark else 0
            if live is None or not (target.owner or keep):
                _require_conflicts(target.id, load_id, conflicts, 0)
                self._swap(target, load, shadow, live, Mark(new, 0, move))
                return self._finished(target, load, loaded)
            fold = self._fold(target, load, live, keep)
            found = fold.count_conflicts()
            _require_conflicts(target.id, load_id, conflicts, found)
            version = fold.run(fence.new)
            ledger.write_mark(
                self._server, target.id, live.uuid, fence.feed, Mark(new, version, move)
            )
            failpoint("sink.finish.after_watermark")
            return self._finished(target, load, loaded - found)

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Drop an unfinished load of this id."""
        load = ledger.find_load(self._server, target, load_id)
        if load is not None and load.rows is None:
            self._drop(target, load)

    def drop_all(self, target: TargetId) -> None:
        """Drop every load of a table."""
        for load in ledger.list_loads(self._server, target):
            self._drop(target, load)

    def _swap(
        self,
        target: TargetTable,
        load: Load,
        shadow: LiveTable,
        live: LiveTable | None,
        mark: Mark,
    ) -> None:
        """Exchange the load with the live table; the watermark goes with it."""
        place = self._result(target, load, shadow, live)
        result = shadow.uuid if place == load.place else self._catalog.require_live(place).uuid
        ledger.write_load(self._server, target.id, replace(load, result=result))
        if live is not None:
            self._server.run(ledger.carry_marks(target.id, place), str(target.id))
        ledger.write_mark(self._server, target.id, result, load.feed, mark)
        failpoint("sink.finish.after_watermark")
        self._placer.put(place, target.id)
        if place != load.place:
            self._catalog.drop(place)

    def _result(
        self, target: TargetTable, load: Load, shadow: LiveTable, live: LiveTable | None
    ) -> TargetId:
        """Return the table that takes the live one's place: of its engine where its columns fit.

        What a user chose for a table there (engine, sorting, partitions, TTL) outlives a load.
        """
        if live is not None and target.existing == "kept":
            self._catalog.require_fit(target)
        takes = live is not None and self._catalog.takes(target, live)
        fits = takes and target.existing != "anew"
        like_ours = live is not None and live.full_engine == shadow.full_engine
        if fits and like_ours and target.existing != "kept":
            return load.place
        strategy = self._catalog.created_strategy()
        as_loaded = target.mode == "append" or strategy == _LOADED
        if not fits and as_loaded and not self._catalog.has_rule(target.id):
            return load.place
        place = beside(target.id, "result")
        self._catalog.drop(place)
        if fits:
            like = f"CREATE TABLE {name_of(place)}{self._server.dialect.on_cluster} AS "
            self._server.run(like + name_of(target.id), str(target.id))
            strategy = self._catalog.strategy(target, self._catalog.require_live(target.id))
        else:
            self._catalog.create(target, place, strategy)
        own = {strategy.version: "0", strategy.deleted: "0", strategy.sign: "1"}
        merges = target.mode == "merge"
        filled = {name: value for name, value in own.items() if name and merges}
        names = shape.target_schema(target).names
        final = " FINAL" if merges else ""
        values = ", ".join([quote_all(names), *filled.values()])
        self._server.run(
            insert(
                name_of(place),
                quote_all([*names, *filled]),
                select(values, name_of(load.place), final),
            ),
            str(target.id),
        )
        return place

    def _finished(self, target: TargetTable, load: Load, rows: int) -> int:
        """Mark a load whose rows are in place as finished, and drop what it left."""
        ledger.write_load(self._server, target.id, replace(load, rows=rows))
        self._catalog.drop(load.place)
        self._catalog.show_view(target.id)
        failpoint("sink.finish.after_commit")
        return rows

    def _fold(
        self, target: TargetTable, load: Load, live: LiveTable, keep: Sequence[str]
    ) -> ClickHouseFold:
        return ClickHouseFold(self._server, self._catalog, target, load, live, frozenset(keep))

    def _mark(self, target: TargetId, live: LiveTable | None, feed: Feed) -> Mark | None:
        return None if live is None else ledger.read_mark(self._server, target, live.uuid, feed)

    def _require(self, target: TargetId, load_id: str, feed: Feed | None = None) -> Load:
        """Return a load, begun by the feed if one is given.

        Raises:
            TerminalError: There is none of this id, or another feed's.
        """
        load = ledger.find_load(self._server, target, load_id)
        if load is None:
            raise shape.no_load(target, load_id)
        return load if feed is None else own_load(load, target, load_id, feed)

    def _require_fit(self, target: TargetTable, load: Load) -> None:
        """Refuse rows of another shape than the load's table; asked once for each."""
        key = load.uuid, shape.target_schema(target)
        if key not in self._fitting:
            self._catalog.require_fit(replace(target, id=load.place))
            self._fitting.add(key)

    def _drop(self, target: TargetId, load: Load) -> None:
        self._open.pop((target, load.id), None)
        self._catalog.drop(load.place)
        ledger.write_load(self._server, target, load, dropped=True)


def _require_conflicts(target: TargetId, load_id: str, known: int, found: int) -> None:
    if known != found:
        raise shape.conflicts_changed(target, load_id, known, found)


def _gathered(
    target: TargetTable, parts: Iterable[pa.Table], limit: int | None
) -> Iterator[pa.Table]:
    """Check parts and yield them together, up to so many bytes: each insert makes a part."""
    held: list[pa.Table] = []
    size = 0
    for part in parts:
        shape.check_rows(target, part, shape.target_schema(target))
        held.append(part)
        size += part.nbytes
        if limit is not None and size >= limit:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)
