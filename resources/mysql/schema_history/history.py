"""The shapes of captured tables along a log: kept from statement to statement, and over restarts.

In: what was kept at the place the log is read on from, statements, table maps without names. Out:
table maps with names, what to keep, and why rows of a table cannot be decoded where they cannot.

A shape comes from the catalog once and from statements after that. The catalog's shape is sure
from the position it was read at; statements before that position are in it already. Where reading
begins, a table that is new to the pipeline or whose shape was lost is taken to have had the
catalog's before it too, unless table maps or a statement say otherwise; one that was captured all
along and is not known was not there. A shape lost later asks for the table to be read again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from resources.model.change import ShapeRecord
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.ddl import TableEffect, statement_notices
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.binlog.table_map import TableMap
from resources.mysql.schema_history.apply import Effects, Shapes, apply_statement
from resources.mysql.schema_history.changes import TableChange
from resources.mysql.schema_history.copies import is_swap, keeps_rows, set_aside, with_lineage
from resources.mysql.schema_history.memory import Memory, recall
from resources.mysql.schema_history.shape import TableShape, count_hashes
from resources.mysql.schema_history.tell import (
    dropped_effect,
    is_gone,
    swap_effect,
    told_effect,
    was_not_there,
)
from resources.mysql.schema_history.wire_names import ShapesDifferError, name_columns
from resources.mysql.working_copies import is_working_copy

CatalogShapes = Iterable[tuple[TableShape, BinlogPosition]]
_CHANGING = re.compile(r"\b(?:CREATE|ALTER|DROP|RENAME)\b", re.IGNORECASE)
ASSUMED = "rows before this statement were read with the shape the table has after it"
"""What a notice says of a table whose shape was taken to be older than it is."""
_REMEDY = "; binlog_row_metadata = FULL would make the log name its columns itself"


class UndecodableTableError(Exception):
    """Rows of a table cannot be decoded here; the text says why."""


class SchemaHistory:
    """The shapes of a log's tables, at the place that is being read.

    Args:
        server: Whose log it is.
        wanted: Which tables' changes are captured.
        scope: Words for which tables these are, to see whether they were others before.
        kept: Records kept at the place where reading begins.
        read: Reads shapes of tables from the catalog, each with the position it holds at; None
            if there is no catalog, and a shape comes from the statement that makes a table.
        fold_case: Whether the server ignores case in names.
    """

    def __init__(
        self,
        server: ServerKind,
        wanted: Callable[[TableId], bool],
        scope: str,
        kept: Mapping[TableId, str],
        read: Callable[[Sequence[TableId]], CatalogShapes] | None,
        fold_case: bool = False,
    ) -> None:
        self._wanted = wanted
        self._scope = scope
        self._read = read
        live = read is not None
        blank = Shapes(server, whole=live, fold_case=fold_case, case_known=live)
        self._now = recall(kept, blank)
        self._before: tuple[BinlogPosition, Memory] | None = None
        self._refused: dict[TableId, str] = {}
        self._adopted: set[TableId] = set()
        self._changed: set[TableId] = set()
        self._identity = ServerIdentity(server.flavor, "")
        self._complete = False  # whether a table that is not known is surely not there

    def begin(
        self,
        start: BinlogPosition,
        tables: Iterable[TableId],
        charsets: Callable[[], Mapping[str, str]],
    ) -> None:
        """Learn from the catalog what was not kept, before the log is read on.

        What was kept of a table that is no longer captured is dropped: from here on nobody follows
        what becomes of it.

        Args:
            start: Where reading begins, on the server that is read.
            tables: The captured tables that the server has now.
            charsets: Reads the databases' default character sets.
        """
        self._identity = start.identity
        self._drop_unwanted()
        for table, since in self._now.since.items():
            if since.identity != start.identity and not _covers(start, since):
                self._now = self._now.with_shape(table, None)
            elif since.identity != start.identity:
                self._now = self._now.sure(table)
        if not self._now.shapes.charsets:
            for database, charset in charsets().items():
                self._now = self._now.with_charset(
                    self._key(TableId(database, "")).database, charset
                )
        if self._read is None:
            return
        shapes, others = self._now.shapes, self._now.scope != self._scope
        unknown = [t for t in tables if shapes.get(t) is None]
        self._adopt([t for t in unknown if others or self._key(t) in shapes.lost], assumed=True)
        self._complete = not others
        if others:
            self._now = self._now.with_scope(self._scope)

    def _drop_unwanted(self) -> None:
        shapes = self._now.shapes
        captured = {t.database for t in [*shapes.tables, *shapes.lost] if self._wanted(t)}
        for table in [*shapes.tables, *shapes.lost]:
            copy = is_working_copy(table.table) and table.database in captured
            if not (copy or self._wanted(table)):
                self._now = self._now.without(table)

    def name_map(self, table_map: TableMap, where: str) -> tuple[TableMap, TableSchema]:
        """Return a table map with names, and the schema they are of.

        Args:
            table_map: Without names.
            where: Its place in the log, `file:offset`.

        Raises:
            UndecodableTableError: The table's shape at this place is not known.
        """
        key, here = self._key(table_map.table), self._position(where)
        if key in self._refused:
            raise UndecodableTableError(self._refused[key])
        if key not in self._now.shapes.tables:
            self._adopt([table_map.table])
        shape = self._now.shapes.tables.get(key)
        if shape is None:
            nowhere = "the catalog shows no shape of" if self._read else "no CREATE TABLE came of"
            self._refused[key] = f"{nowhere} {table_map.table}{_REMEDY}"
            raise UndecodableTableError(self._refused[key])
        since = self._now.since.get(key)
        if since is not None and _past(here, since):
            self._now, since = self._now.sure(key), None
        if since is not None and key not in self._now.assumed:
            raise UndecodableTableError(f"its shape is known from {since} on only{_REMEDY}")
        schema = shape.named(table_map.table).schema
        hidden = count_hashes(shape, self._now.shapes.server)
        try:
            return name_columns(table_map, schema, hidden), schema
        except ShapesDifferError as error:
            self._contradicted(key, f"{error}{_REMEDY}", since)
            raise UndecodableTableError(f"{error}{_REMEDY}") from None

    def _contradicted(self, key: TableId, reason: str, since: BinlogPosition | None) -> None:
        """Draw the consequence of a table map that another shape belongs to."""
        if since is not None:
            self._now = replace(self._now, assumed=self._now.assumed - {key})
            return
        self._now = self._now.with_shape(key, None)
        if key in self._adopted:  # the catalog's own shape does not fit either
            self._refused[key] = reason

    def check_map(self, table_map: TableMap, where: str) -> None:
        """Compare what is known with a table map that names its columns, which is right."""
        key = self._key(table_map.table)
        since = self._now.since.get(key)
        if since is not None and not _past(self._position(where), since):
            return
        shape = self._now.shapes.tables.get(key)
        if shape is None:
            return
        hidden = count_hashes(shape, self._now.shapes.server)
        names = tuple(column.name for column in table_map.columns)
        if shape.schema.names != names[: len(names) - hidden]:
            self._now = self._now.with_shape(key, None)

    def follow(self, query: Query, where: str, effects: Sequence[TableEffect]) -> list[TableEffect]:
        """Take a statement.

        Args:
            query: The statement.
            where: The place after it, `file:offset`.
            effects: What its words say it does to captured tables.

        Returns:
            The effects: the rename that puts a tool's copy in a table's place is a change of
            that table, and where shapes were taken to be older than they are, rows may be wrong.
        """
        here = self._position(where)
        self._before = here, self._now
        self._changed = set()
        before = self._now.shapes_at(lambda since: _past(here, since))
        done = Effects()
        if _CHANGING.search(query.sql):
            done = apply_statement(query, before, self._followed)
        for database, charset in done.charsets.items():
            self._now = self._now.with_charset(database, charset)
        aside = {self._key(table) for table in set_aside(done.tables, query)}
        changes = {self._key(c.table): c for c in done.tables if self._key(c.table) not in aside}
        effects = [effect for effect in effects if self._key(effect.table) not in aside]
        return self._followed_by(query, here, before, changes, effects)

    def _followed_by(
        self,
        query: Query,
        here: BinlogPosition,
        before: Shapes,
        changes: Mapping[TableId, TableChange],
        effects: Sequence[TableEffect],
    ) -> list[TableEffect]:
        """Take the changes of a statement; returns its effects."""
        rewritten = self._rewritten(query, effects)
        self._end_lineages(rewritten, {k for k, c in changes.items() if c.changes or c.unknown})
        out = {self._key(effect.table): effect for effect in effects}
        moved = (c for c in changes.values() if c.was is not None and not is_gone(c))
        names = {self._key(c.was): c.table for c in moved if c.was is not None}
        for key, change in changes.items():
            effect = self._take(change, key, here, before, query, key in rewritten)
            if effect is not None and self._wanted(change.table):
                spelled = out[key].table if key in out else change.table
                out[key] = replace(effect, table=spelled)
            never = was_not_there(change, before)
            if key not in out and is_gone(change) and not never and self._wanted(change.table):
                out[key] = dropped_effect(change, query)  # with its database
            sure = change.after is None or self._now.since.get(key) is None
            if key in out and self._complete and never:
                del out[key]
            elif key in out and sure:
                told = told_effect(out[key], change, before, query)
                away = told.kind == "rename_away"
                out[key] = replace(told, now=names.get(key)) if away else told
        return list(out.values())

    def _take(
        self,
        change: TableChange,
        key: TableId,
        here: BinlogPosition,
        before: Shapes,
        query: Query,
        rewrites: bool,
    ) -> TableEffect | None:
        """Take a change of one table; returns its effect where the words of it do not tell it."""
        self._changed.add(key)
        self._refused.pop(key, None)
        self._adopted.discard(key)
        since = self._now.since.get(key)
        if since is not None and not _past(here, since):
            return self._already_known(change, key)
        after = with_lineage(change, before, rewrites)
        if after is not None:
            self._now = self._now.with_shape(key, after.named(key))
        elif change.unknown:
            self._now = self._now.with_shape(key, None)
        else:
            self._now = self._now.without(key)
        if is_swap(change, before):
            return swap_effect(change, before, not keeps_rows(change, before, query))
        return None

    def _already_known(self, change: TableChange, key: TableId) -> TableEffect | None:
        """Take a statement before the place the catalog was read at: its effect is known."""
        if change.after is not None:  # made anew, or of another table: exact from here on
            self._now = self._now.with_shape(key, change.after.named(key))
        elif key in self._now.assumed and change.unknown and change.was is not None:
            return TableEffect(change.table, "alter", True, ASSUMED)
        return None

    def _rewritten(self, query: Query, effects: Sequence[TableEffect]) -> set[TableId]:
        """Return the tables, copies included, whose rows a statement may change unseen."""
        out = {self._key(effect.table) for effect in effects if effect.rewrites}
        copies = self._now.stored.copies
        if copies:
            named = statement_notices(query, lambda t: self._key(t) in copies, lambda: copies)
            quiet = ("create", "rename")  # of a copy: how it comes, and how it goes to its place
            out |= {self._key(e.table) for e in named if e.rewrites and e.kind not in quiet}
        return out

    def _end_lineages(self, rewritten: set[TableId], altered: set[TableId]) -> None:
        """Trust no copy whose own rows changed unseen, or whose table changed in any such way."""
        for table in self._now.stored.copies:
            shape = self._now.shapes.tables[table]
            lineage = shape.lineage
            if lineage is None or not lineage.keeps_rows:
                continue
            if table in rewritten or self._key(lineage.of) in rewritten | altered:
                distrusted = replace(shape, lineage=replace(lineage, keeps_rows=False))
                self._now = self._now.with_shape(table, distrusted)

    def changed(self, table: TableId) -> bool:
        """Return whether the last statement did anything to a table's shape."""
        return self._key(table) in self._changed

    def restart(self, bound: BinlogPosition) -> None:
        """Go back to a boundary: what was taken after it will come again."""
        if self._before is not None and not bound.reached(self._before[0]):
            self._now = self._before[1]
        self._before = None

    def take_records(self) -> list[ShapeRecord]:
        """Return what is to be kept at the place that is being read, since the last call."""
        records = self._now.records()
        self._now = replace(self._now, unsaid=frozenset())
        return records

    def _adopt(self, tables: Sequence[TableId], assumed: bool = False) -> None:
        """Take shapes from the catalog; tables it does not show stay without."""
        for shape, position in self._read(tables) if self._read and tables else ():
            key = self._key(shape.table)
            self._now = self._now.with_shape(key, shape.named(key), position, assumed)
            self._adopted.add(key)
        for table in tables:
            if self._key(table) not in self._now.shapes.tables:
                self._now = self._now.with_shape(self._key(table), None)

    def _followed(self, table: TableId) -> bool:
        if self._wanted(table):
            return True
        return (
            is_working_copy(table.table) and self._key(table).database in self._now.stored.databases
        )

    def _key(self, table: TableId) -> TableId:
        return self._now.shapes.key(table)

    def _position(self, where: str) -> BinlogPosition:
        file, _, offset = where.rpartition(":")
        return BinlogPosition(file, int(offset), "", self._identity)


def _past(here: BinlogPosition, since: BinlogPosition) -> bool:
    """Return whether a place lies behind a position; the position itself ends what it covers."""
    return not since.reached(here)


def _covers(start: BinlogPosition, since: BinlogPosition) -> bool:
    """Return whether all that a position on another server covers lies before `start`."""
    if not (start.gtid_set and since.gtid_set):
        return False
    flavor: Flavor = "mariadb" if start.identity.flavor == "mariadb" else "mysql"
    theirs = GtidSet.parse(since.gtid_set, flavor)
    return GtidSet.parse(start.gtid_set, flavor).contains(theirs)
