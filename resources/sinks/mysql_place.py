"""Putting a finished load in the live table's place: by renaming, or row by row.

In: a load's table and a session. Out: the live table with the load's rows, and its watermark.

RENAME TABLE moves the live table away and the load's into its place in one statement, but commits
by itself. So the ledger says first, in a transaction of its own, that the load is `swapping` and
what the watermark will be; from then on the load's table itself tells whether it has happened: it
is in `_cdc` before, and gone after. A kill between any two statements leaves the old rows with the
old watermark, or the new ones with the new.

What hangs on the live table (its own indexes, triggers, foreign keys, partitions) would not follow
the name, so there, and in tables of several feeds or with columns to keep, rows are exchanged in
one transaction and the table stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.sinks import mysql_ledger as ledger
from resources.sinks import shape
from resources.sinks.contract import Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.mysql_catalog import MySQLCatalog, show
from resources.sinks.mysql_connection import committed, run
from resources.sinks.mysql_ledger import Load
from resources.sinks.mysql_names import literal, quote, quote_all
from resources.sinks.mysql_session import Session
from resources.sinks.mysql_write import MySQLRows, of_feed
from resources.sinks.shape import RESERVED_NAMESPACE, keys_of
from resources.sinks.sql import insert, select, update

SWAPPED_PREFIX = "_cdc_old_"
"""Begins the names that live tables have after a load took their place, until they are dropped."""


class MySQLPlacer:
    """Exchanges live tables' rows for those of loads.

    Args:
        catalog: What tables look like.
        rows: Reads and deletes rows.
    """

    def __init__(self, catalog: MySQLCatalog, rows: MySQLRows) -> None:
        self._catalog = catalog
        self._rows = rows

    def prepare(
        self, session: Session, target: TargetTable, load: Load, keep: Sequence[str]
    ) -> None:
        """Make sure, outside of any transaction, that a load can be put in place.

        The live table is created where it will be needed, and the load's gets the columns whose
        live values it is to keep. Doing so again changes nothing.

        Raises:
            SchemaMismatch: A table has not all columns.
            ConfigError: Something hangs on the live table, which has other columns.
        """
        loaded = self._catalog.columns(session, load.place)
        if loaded is None:
            raise shape.no_table(load.place)
        live = self._catalog.columns(session, target.id)
        if self._is_whole(target, keep):
            if live is not None and self._stays(session, target):
                self._require_exchange(session, target)
            return
        if live is None:
            shape.check_keep(target, None, keep)
            self._catalog.create(session, target, target.id)
            return
        schema = self._catalog.read_schema(session, target.id)
        missing = set(shape.target_schema(target).names) - {c.name for c in live}
        if missing and schema is not None:
            wanted = shape.show_schema(shape.target_schema(target))
            raise shape.misfit(target.id, shape.show_schema(schema), wanted)
        shape.check_keep(target, schema, keep)
        for name in set(keep) - {c.name for c in loaded}:
            (column,) = (c for c in live if c.name == name)
            collation = f" COLLATE {column.collation}" if column.collation else ""
            run(
                session,
                f"ALTER TABLE {self._catalog.name(session.server, load.place)} "
                f"ADD COLUMN {quote(name)} {column.type}{collation} NULL",
            )

    def place(
        self,
        session: Session,
        target: TargetTable,
        load: Load,
        fence: Fence,
        mark: Watermark,
        counts: tuple[int, int],
        keep: Sequence[str],
    ) -> Load:
        """Put a load's rows into the live table and set the watermark.

        Args:
            session: Not within a transaction.
            target: The table as it was when the load was begun.
            load: The load, prepared.
            fence: Whose watermark.
            mark: The new one.
            counts: Rows loaded, and how many keys of other feeds are known.
            keep: Columns whose live values are kept, by key.

        Returns:
            The load as it is finished.

        Raises:
            DirtyRowError: The number of conflicts is another one by now.
            FencedOut: A writer with a greater token moved the watermark.
        """
        loaded, conflicts = counts
        live = self._catalog.columns(session, target.id)
        whole = self._is_whole(target, keep)
        if whole and (live is None or not self._stays(session, target)):
            self._swap(session, target, replace(load, rows=loaded, mark=mark), fence)
            return replace(load, rows=loaded, mark=mark)
        with committed(session):
            self._catalog.touch(session, target.id)
            now = ledger.find_load(session, target.id, load.id, lock="FOR UPDATE")
            if now is None or now.finished:  # another run of it was faster
                return now or load
            self._check_token(session, target, fence)
            found = self._exchange(session, target, load, keep, conflicts)
            ledger.set_rows(session, target.id, load.id, loaded - found, mark)
            first = ledger.read_watermark(session, target.id, fence.feed, lock=True) is None
            ledger.write_watermark(session, target.id, fence, mark, first=first)
            if live is None or whole:
                ledger.write_arrow(session, target.id, shape.target_schema(target))
            failpoint("sink.finish.after_swap")
            failpoint("sink.finish.after_watermark")
        return replace(load, rows=loaded - found, mark=mark)

    def read_conflicts(self, session: Session, target: TargetTable, load: Load) -> pa.Table:
        """Return the loaded rows whose keys other feeds have, with the other feed as owner."""
        schema = shape.target_schema(target)
        there = self._catalog.columns(session, target.id) is not None
        if not target.owner or not keys_of(target) or not there:
            return schema.empty_table()
        prefixes = dict.fromkeys(schema.names, "load_.") | {target.owner: "live."}
        source = self._conflicts(session, target, load)
        return self._rows.select(session, source, schema, prefixes)

    def _is_whole(self, target: TargetTable, keep: Sequence[str]) -> bool:
        return not target.owner and not keep

    def _stays(self, session: Session, target: TargetTable) -> bool:
        """Return whether a live table stays, so that its rows alone are exchanged.

        Raises:
            SchemaMismatch: It shall stay as it was made, and has other columns.
            ConfigError: It shall be made anew, and other tables refer to it.
        """
        if target.existing == "kept":
            self._catalog.require_fit(session, target, target.id)
            return True
        if target.existing == "anew":
            self._catalog.require_free(session, target.id)
            return False
        return self._catalog.hangs(session, target.id)

    def _require_exchange(self, session: Session, target: TargetTable) -> None:
        """Refuse a table that must stay, since things hang on it, but has other columns."""
        if self._catalog.fits(session, target):
            return
        live = self._catalog.columns(session, target.id) or ()
        wanted = self._catalog.wanted(session.server, target)
        raise ConfigError(
            f"it has indexes, triggers, foreign keys or partitions of its own, and the columns "
            f"{show(live)}, where the load has {show(wanted)}",
            where=str(target.id),
            remedy="drop them or change the columns by hand; the load goes on from there",
        )

    def _check_token(self, session: Session, target: TargetTable, fence: Fence) -> None:
        found = ledger.read_watermark(session, target.id, fence.feed, lock=True)
        check_token(target.id, found, fence)

    def _swap(self, session: Session, target: TargetTable, load: Load, fence: Fence) -> None:
        """Give the load's table the name of the live one; see the module's text."""
        if load.rows is None or load.mark is None:
            return
        self._catalog.create_namespace(session, target.id)
        old = self._catalog.columns(session, target.id)
        with committed(session):
            self._check_token(session, target, fence)
            ledger.set_rows(session, target.id, load.id, load.rows, load.mark, swapping=True)
            before = ledger.read_arrow(session, target.id)
            ledger.write_arrow(session, target.id, joined(shape.target_schema(target), before))
        name = self._catalog.name(session.server, target.id)
        moves = [f"{self._catalog.name(session.server, load.place)} TO {name}"]
        if old is not None:
            aside = TargetId(RESERVED_NAMESPACE, SWAPPED_PREFIX + load.shadow)
            moves.insert(0, f"{name} TO {self._catalog.name(session.server, aside)}")
        failpoint("sink.finish.after_drop")
        run(session, f"RENAME TABLE {', '.join(moves)}")
        failpoint("sink.finish.after_swap")
        with committed(session):
            ledger.settle(session, target.id)
            ledger.write_arrow(session, target.id, shape.target_schema(target))
            failpoint("sink.finish.after_watermark")

    def _exchange(
        self,
        session: Session,
        target: TargetTable,
        load: Load,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Delete the feed's rows and insert the load's; returns the rows left out."""
        found = self._drop_conflicts(session, target, load, conflicts)
        live, shadow = self._names(session, target, load)
        if keep:
            pairs = ", ".join(f"load_.{quote(k)} = live.{quote(k)}" for k in keep)
            own = of_feed(target, str(load.feed))
            mine = f" AND live.{own}" if own else ""
            run(
                session,
                update(
                    f"{shadow} AS load_ LEFT JOIN {live} AS live ON {self._same_key(target)}{mine}",
                    pairs,
                ),
            )
        self._rows.delete_all(session, target, str(load.feed))
        failpoint("sink.finish.after_delete")
        names = quote_all(dict.fromkeys([*shape.target_schema(target).names, *keep]))
        run(session, insert(live, names, select(names, shadow)))
        failpoint("sink.finish.after_insert")
        return found

    def _drop_conflicts(
        self, session: Session, target: TargetTable, load: Load, conflicts: int
    ) -> int:
        """Delete the loaded rows whose keys other feeds have; returns how many there were."""
        found = 0
        if target.owner and keys_of(target):
            source = self._conflicts(session, target, load)
            rows = run(session, select("COUNT(*)", source)).rows
            found = int(rows[0][0])
        if found != conflicts:
            raise shape.conflicts_changed(target.id, load.id, conflicts, found)
        if found:
            run(session, f"DELETE load_ FROM {source}")
        return found

    def _names(self, session: Session, target: TargetTable, load: Load) -> tuple[str, str]:
        live = self._catalog.name(session.server, target.id)
        return live, self._catalog.name(session.server, load.place)

    def _same_key(self, target: TargetTable) -> str:
        return " AND ".join(f"live.{quote(k)} = load_.{quote(k)}" for k in target.schema.key)

    def _conflicts(self, session: Session, target: TargetTable, load: Load) -> str:
        """Return what follows FROM: loaded rows `load_` and live ones `live` of other feeds."""
        live, shadow = self._names(session, target, load)
        return (
            f"{shadow} AS load_ JOIN {live} AS live ON {self._same_key(target)} "
            f"WHERE NOT (live.{quote(target.owner)} <=> {literal(str(load.feed))})"
        )


def joined(after: pa.Schema, before: pa.Schema | None) -> pa.Schema:
    """Return the Arrow types of columns while a table may have the one shape or the other."""
    more = [f for f in before or () if f.name not in after.names]
    return pa.schema([*after, *more])
