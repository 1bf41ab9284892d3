"""The effect of a statement on the shapes of tables: one pure function.

In: a statement logged as text, the shapes before it. Out: per table the shape before and after it
and the typed changes; where the text does not tell, that and why, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.charsets import charset_of_collation
from resources.mysql.binlog.sql_tokens import ServerKind, tokenize
from resources.mysql.schema_history.alter import alter_shape, index_shape, unindexed_shape
from resources.mysql.schema_history.changes import TableChange, table_change
from resources.mysql.schema_history.create import created_shape, liked_table
from resources.mysql.schema_history.definitions import (
    IndexDefinition,
    parse_default_charset,
    parse_index,
)
from resources.mysql.schema_history.shape import TableShape
from resources.mysql.schema_history.words import CannotTellError, Words

_OBJECTS = frozenset({"TABLE", "TABLES", "INDEX", "DATABASE", "SCHEMA"})
_OTHER_OBJECTS = frozenset(
    {"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "USER", "ROLE", "SERVER", "SEQUENCE"}
    | {"TABLESPACE", "PACKAGE", "LIBRARY", "GROUP", "LOGFILE", "SYSTEM", "INSTANCE"}
)


_CHARSET_WORDS = frozenset({"CHARACTER", "CHARSET", "COLLATE", "DEFAULT"})


@dataclass(frozen=True)
class Shapes:
    """What is known of a server's tables at a place in its log.

    Args:
        server: Whose.
        tables: Shapes by table.
        charsets: Default character sets by database.
        lost: Tables that are there in a shape that is not known.
        whole: Whether every table that is there is in `tables` or `lost`.
        fold_case: Whether the server ignores case in names.
        case_known: Whether `fold_case` is known; log files do not say it.
    """

    server: ServerKind
    tables: Mapping[TableId, TableShape] = field(default_factory=dict)
    charsets: Mapping[str, str] = field(default_factory=dict)
    lost: frozenset[TableId] = frozenset()
    whole: bool = True
    fold_case: bool = False
    case_known: bool = True

    def key(self, table: TableId) -> TableId:
        """Return the name a table is known by."""
        if not self.fold_case:
            return table
        return TableId(table.database.lower(), table.table.lower())

    def get(self, table: TableId) -> TableShape | None:
        """Return a table's shape, None if it is not known."""
        return self.tables.get(self.key(table))

    def in_other_case(self, table: TableId) -> TableId | None:
        """Return the known table that a name not known may mean, by a server that ignores case."""
        if self.case_known or self.get(table) is not None:
            return None
        folded = str(table).lower()
        return next((known for known in self.tables if str(known).lower() == folded), None)

    def charset(self, database: str) -> str:
        """Return a database's default character set, empty if it is not known."""
        return self.charsets.get(database.lower() if self.fold_case else database, "")


@dataclass(frozen=True)
class Effects:
    """What a statement did.

    Args:
        tables: Per table; a table that is not in it is as it was.
        charsets: New default character sets of databases; empty for one that cannot be told.
    """

    tables: tuple[TableChange, ...] = ()
    charsets: Mapping[str, str] = field(default_factory=dict)


def apply_statement(query: Query, shapes: Shapes, followed: Callable[[TableId], bool]) -> Effects:
    """Return what a statement did to shapes.

    Args:
        query: A statement that succeeded.
        shapes: What was known before it.
        followed: Which tables matter; others are passed over.
    """
    words = Words(query, tokenize(query, shapes.server))
    return _Application(query, words, shapes, followed).run()


class _Application:
    """One statement on the shapes before it."""

    def __init__(
        self, query: Query, words: Words, shapes: Shapes, followed: Callable[[TableId], bool]
    ) -> None:
        self._query, self._words = query, words
        self._shapes, self._followed = shapes, followed
        self._charsets: dict[str, str] = {}

    def run(self) -> Effects:
        """Return the statement's effects."""
        return Effects(tuple(self._changes()), self._charsets)

    def _changes(self) -> Iterator[TableChange]:
        words = self._words
        if "SQL_MODE" in words.settings():
            # The log does not say which mode it was read in.
            yield from self._unreadable()
            return
        head = words.next_word()
        if head == "RENAME" and words.accept("TABLE", "TABLES"):
            yield from self._rename()
        elif head in ("CREATE", "ALTER", "DROP"):
            modifiers = words.words_until(_OBJECTS | _OTHER_OBJECTS)
            what = words.next_word()
            if what in ("DATABASE", "SCHEMA"):
                yield from self._database(head)
            elif what == "INDEX" and head != "ALTER":
                yield from self._index(head, modifiers)
            elif what in ("TABLE", "TABLES") and "TEMPORARY" not in modifiers:
                yield from self._table(head, modifiers)

    def _table(self, head: str, modifiers: set[str]) -> Iterator[TableChange]:
        tolerant = self._words.peek_word() == "IF"
        self._words.if_exists()
        if head == "DROP":
            while (dropped := self._words.name()) is not None:
                yield from self._in_other_case(dropped)
                yield from self._gone(dropped)
                self._words.mark(",")
            yield from self._unreadable()
            return
        table = self._words.name()
        if table is None:
            yield from self._unreadable()
            return
        if head == "ALTER":
            yield from self._in_other_case(table)
            yield from self._alter(table)
        elif not self._followed(table):
            return
        elif not tolerant or self._shapes.get(table) is None:
            yield self._create(table, tolerant, "REPLACE" in modifiers)

    def _unreadable(self) -> Iterator[TableChange]:
        """Yield that every known table the words left may name can have changed.

        Names may stand in brackets under MariaDB's sql_mode MSSQL.
        """
        names = {self._shapes.key(name).table for name in self._words.candidates()}
        for table in sorted(self._shapes.tables) if names else ():
            if table.table in names and self._followed(table):
                why = "names in the statement cannot be read"
                yield TableChange(table, self._shapes.get(table), None, table, unknown=why)

    def _in_other_case(self, table: TableId) -> Iterator[TableChange]:
        other = self._shapes.in_other_case(table)
        if other is not None:
            why = f"{table} may mean it: log files do not say whether case counts in names"
            yield TableChange(other, self._shapes.get(other), None, other, unknown=why)

    def _create(self, table: TableId, tolerant: bool, replacing: bool) -> TableChange:
        before, liked = self._shapes.get(table) if replacing else None, None
        try:
            lost = self._shapes.key(table) in self._shapes.lost
            if tolerant and (lost or not self._shapes.whole):
                # MySQL logs the statement even if the table was there, perhaps in another shape.
                raise CannotTellError("the table may have been there before")
            liked = liked_table(self._words)
            if liked is None:
                charset = self._shapes.charset(table.database)
                after = created_shape(table, self._words, self._shapes.server, charset)
            else:
                after = self._known(liked).named(table)
        except CannotTellError as error:
            return TableChange(table, before, None, unknown=str(error))
        return TableChange(table, before, after, like=liked)

    def _known(self, table: TableId) -> TableShape:
        shape = self._shapes.get(table)
        if shape is None:
            raise CannotTellError(f"the shape of {table} is not known")
        return shape

    def _alter(self, table: TableId) -> Iterator[TableChange]:
        words, server = self._words, self._shapes.server
        charset = self._shapes.charset(table.database)
        target = _renamed_by(words) or table
        if not (self._followed(table) or self._followed(target)):
            return
        before = self._shapes.get(table)
        try:
            change = alter_shape(self._known(table), words, server, charset)
        except CannotTellError as error:
            yield from self._gone(table) if target != table else ()
            yield TableChange(target, before, None, table, unknown=str(error))
            return
        if change.table != table:
            yield from self._gone(table)
        yield change

    def _gone(self, table: TableId) -> Iterator[TableChange]:
        if self._followed(table):
            yield TableChange(table, self._shapes.get(table), None, table)

    def _rename(self) -> Iterator[TableChange]:
        """Yield what RENAME TABLE does: from left to right, on the names as they are by then."""
        words, key = self._words, self._shapes.key
        words.if_exists()
        now: dict[TableId, TableId | None] = {}  # which table of before has a name now
        free: set[TableId] = set()  # names that no table had before
        while (old := words.name()) is not None:
            yield from self._in_other_case(old)
            if words.accept("WAIT", "NOWAIT") and not words.at_end and words.peek_word() != "TO":
                words.next_word()
            words.skip_past("TO")
            new = words.name()
            if new is None:
                now[key(old)] = None
                break
            free |= {key(new)} - set(now)
            now[key(new)] = now.get(key(old), key(old))
            now[key(old)] = None
            words.mark(",")
        yield from self._unreadable()
        for name in sorted(n for n, was in now.items() if was is None and n not in free):
            yield from self._gone(name)
        for name, was in sorted((n, was) for n, was in now.items() if was not in (None, n)):
            if self._followed(name):
                yield self._moved(was, name)

    def _moved(self, old: TableId, new: TableId) -> TableChange:
        before = self._shapes.get(old)
        if before is None:
            return TableChange(new, None, None, old, unknown=f"the shape of {old} is not known")
        return table_change(before, before.named(new))

    def _index(self, head: str, modifiers: set[str]) -> Iterator[TableChange]:
        words = self._words
        tolerant = words.peek_word() == "IF"
        words.if_exists()
        name = words.identifier() or ""
        words.skip_past("ON")
        table = words.name()
        if table is None:
            yield from self._unreadable()
            return
        yield from self._in_other_case(table)
        if not self._followed(table):
            return
        before = self._shapes.get(table)
        try:
            if head == "DROP":
                after = unindexed_shape(self._known(table), name, tolerant, self._shapes.server)
            else:
                parts = parse_index(words).parts
                unique = "UNIQUE" in modifiers
                index = IndexDefinition("unique" if unique else "other", name, parts=parts)
                after = index_shape(self._known(table), index, tolerant, self._shapes.server)
        except CannotTellError as error:
            yield TableChange(table, before, None, table, unknown=str(error))
            return
        assert before is not None, "known above"
        yield table_change(before, after)

    def _database(self, head: str) -> Iterator[TableChange]:
        words = self._words
        tolerant = words.peek_word() == "IF"
        words.if_exists()
        # ALTER DATABASE without a name means the default one.
        named = head != "ALTER" or words.peek_word() not in (
            "CHARACTER",
            "CHARSET",
            "COLLATE",
            "DEFAULT",
        )
        name = (words.identifier() or "") if named else self._query.database
        if self._shapes.fold_case:
            name = name.lower()
        if head == "DROP":
            for table in sorted({*self._shapes.tables, *self._shapes.lost}):
                if table.database == name:
                    yield from self._gone(table)
            self._charsets[name] = ""
        elif not (tolerant and self._shapes.charset(name)):
            self._charsets[name] = self._database_charset(name, head)

    def _database_charset(self, name: str, head: str) -> str:
        words = self._words
        charset = self._shapes.charset(name) if head == "ALTER" else ""
        found = ""
        try:
            while not words.at_end:
                found = parse_default_charset(words) or found
        except CannotTellError:
            return ""
        if found or charset:
            return found or charset
        return charset_of_collation(self._query.server_collation) or ""


def _renamed_by(words: Words) -> TableId | None:
    """Return the name an ALTER TABLE gives its table, None if it keeps its own."""
    for spec in Words(words.query, words.rest()).elements():
        if spec.accept("RENAME") and spec.peek_word() not in ("COLUMN", "INDEX", "KEY"):
            if not spec.mark("="):
                spec.accept("TO", "AS")
            return spec.name()
    return None
