"""What a statement logged as text does to tables: whose shape changed, whose rows.

In: a QUERY event. Out: effects on wanted tables. Statements are walked token by token by MySQL's
grammar; what is not understood and may touch a wanted table counts as rewriting it.

Rows that a statement in STATEMENT format changes through triggers, views or foreign keys are not
seen here: `binlog_format=ROW` is asked for before start.
Source: MySQL reference manual "SQL Statements", MariaDB "SQL Statements".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from resources.model.change import Fills, TableNotice
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.alter_specs import alter_effects
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.sql_tokens import without_literals
from resources.mysql.binlog.statement import Doubt, Effect, Statement

_TEXT_DML = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "WITH", "MERGE"})
_ANYTHING = frozenset({"SELECT", "CALL", "DO", "EXECUTE", "IMPORT"})
_HARMLESS = frozenset(
    {"GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE", "CHECK", "USE", "INSTALL", "START"}
    | {
        "UNINSTALL",
        "LOCK",
        "UNLOCK",
        "CHANGE",
        "STOP",
        "RESET",
        "PURGE",
        "SHOW",
        "EXPLAIN",
        "CACHE",
    }
    | {"CLONE", "RESTART", "SHUTDOWN", "HELP", "DESCRIBE", "DESC", "KILL", "XA", "PREPARE", ""}
)
_OBJECTS = frozenset(
    {"TABLE", "TABLES", "INDEX", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "DATABASE"}
    | {"SCHEMA", "USER", "ROLE", "SERVER", "TABLESPACE", "SEQUENCE", "PACKAGE", "LIBRARY", "GROUP"}
    | {"LOGFILE", "SYSTEM", "INSTANCE", "MASKING"}
)


@dataclass(frozen=True)
class TableEffect:
    """What a statement does to one wanted table.

    Args:
        table: The table, as the pipeline spells it.
        kind: A notice's kind.
        rewrites: Whether rows or values may change without row events.
        detail: The statement without its literals.
        shape: The table's shape afterwards, where it is known.
        origins: Per column of `shape` its name before, empty for a new one.
        was: The name the table had before, where it was renamed.
        fills: As in `TableNotice`.
        now: As in `TableNotice`.
        doubt: What the words say it rewrites for, where shapes may show that it does not; as in
            `Effect`.
    """

    table: TableId
    kind: str
    rewrites: bool
    detail: str
    shape: TableSchema | None = None
    origins: tuple[str, ...] = ()
    was: TableId | None = None
    fills: Fills = ()
    now: TableId | None = None
    doubt: Doubt = ""

    def notice(self, seq: int, position: str) -> TableNotice:
        """Return the notice of it.

        Args:
            seq: Counter value before which it happens.
            position: Where in the log, in words.
        """
        return TableNotice(
            self.table,
            seq,
            self.kind,
            self.detail,
            position,
            self.rewrites,
            self.shape,
            self.origins,
            self.was,
            self.fills,
            self.now,
        )


def statement_notices(
    query: Query, wanted: Callable[[TableId], bool], every: Callable[[], Collection[TableId]]
) -> list[TableEffect]:
    """Return a statement's effects on wanted tables.

    Args:
        query: The statement.
        wanted: Which tables are asked for.
        every: All wanted tables known, for statements on whole databases or with effects that
            cannot be told from their text.
    """
    statement = Statement(query)
    merged: dict[TableId, Effect] = {}
    for effect in _effects(statement):
        for table in _targets(effect, wanted, every):
            before, told = merged.get(table), _as_sure(effect, table)
            if before is None or _weight(told) > _weight(before):
                merged[table] = told
    if not merged:
        return []
    detail = without_literals(statement.tokens)
    return [
        TableEffect(table, e.kind, e.rewrites, detail, doubt=e.doubt) for table, e in merged.items()
    ]


def _as_sure(effect: Effect, table: TableId) -> Effect:
    """Return an effect on a table that may be another one where names differ in case.

    What empties a target must be sure; whether the server ignores case is not known here.
    """
    named = table.database == effect.database if effect.table is None else table == effect.table
    if named or effect.kind not in ("create", "drop", "truncate"):
        return effect
    return replace(effect, kind="statement", rewrites=True)


_WEIGHTS: dict[Doubt, int] = {"names": 1, "values": 2, "": 3}


def _weight(effect: Effect) -> int:
    return _WEIGHTS[effect.doubt] if effect.rewrites else 0


def _targets(
    effect: Effect, wanted: Callable[[TableId], bool], every: Callable[[], Collection[TableId]]
) -> list[TableId]:
    if effect.table is not None:
        if not wanted(effect.table):
            return []
        return [_as_spelled(effect.table, every())]
    known = sorted(every())
    if effect.database is None:
        return known
    return [t for t in known if t.database.lower() == effect.database.lower()]


def _as_spelled(table: TableId, known: Collection[TableId]) -> TableId:
    """Return the known table a statement means that spells it in another case."""
    if table in known:
        return table
    folded = str(table).lower()
    return next((t for t in known if str(t).lower() == folded), table)


def _effects(statement: Statement) -> Iterator[Effect]:
    if "SQL_MODE" in statement.settings():
        yield from (Effect(table, "alter", True) for table in statement.candidates())
        return
    head = statement.next_word()
    if head == "CREATE":
        yield from _create(statement)
    elif head == "ALTER":
        yield from _alter(statement)
    elif head == "DROP":
        yield from _drop(statement)
    elif head == "RENAME":
        yield from _rename(statement)
    elif head == "TRUNCATE":
        statement.accept("TABLE")
        yield from _named(statement, "truncate", True)
    elif head == "REPAIR":
        statement.accept("NO_WRITE_TO_BINLOG", "LOCAL")
        statement.accept("TABLE", "TABLES")
        yield from _list(statement, "alter")
    elif head in _TEXT_DML:
        yield from _text_dml(statement, head)
    elif head in _ANYTHING:
        yield Effect(None, "statement", True)
    elif head not in _HARMLESS:
        yield from (Effect(table, "alter", True) for table in statement.candidates())


def _named(statement: Statement, kind: str, rewrites: bool) -> Iterator[Effect]:
    """Yield the effect on the table named next; where no name is found, on any it could be."""
    table = statement.name()
    if table is not None:
        yield Effect(table, kind, rewrites)
    else:
        yield from (Effect(any_name, "statement", True) for any_name in statement.candidates())


def _list(statement: Statement, kind: str) -> Iterator[Effect]:
    listed = True
    while listed:
        yield from _named(statement, kind, True)
        listed = statement.mark(",")


def _create(statement: Statement) -> Iterator[Effect]:
    modifiers = statement.words_until(_OBJECTS)
    what = statement.next_word()
    if what == "TABLE" and "TEMPORARY" not in modifiers:
        # One that may have been there tells nothing; one that was not begins without rows.
        kind = "alter" if statement.if_exists() else "create"
        brings_rows = not statement.rest_words().isdisjoint(_ROWS)
        yield from _named(statement, kind, "REPLACE" in modifiers or brings_rows)
    elif what == "INDEX":
        yield from _index_on(statement)


_ROWS = frozenset({"SELECT", "TABLE"})
"""Words of CREATE TABLE that bring rows along when it is logged as text."""


def _index_on(statement: Statement) -> Iterator[Effect]:
    statement.skip_past("ON")
    yield from _named(statement, "alter", False)


def _alter(statement: Statement) -> Iterator[Effect]:
    modifiers = statement.words_until(_OBJECTS)
    if statement.next_word() != "TABLE":
        return
    statement.if_exists()
    table = statement.name()
    if table is not None:
        yield from alter_effects(statement, table, "IGNORE" in modifiers)
    else:
        yield from (Effect(any_name, "alter", True) for any_name in statement.candidates())


def _drop(statement: Statement) -> Iterator[Effect]:
    modifiers = statement.words_until(_OBJECTS)
    what = statement.next_word()
    if what in ("TABLE", "TABLES") and "TEMPORARY" not in modifiers:
        statement.if_exists()
        yield from _list(statement, "drop")
    elif what in ("DATABASE", "SCHEMA"):
        statement.if_exists()
        name = statement.identifier()
        if name is not None:
            yield Effect(None, "drop", True, database=name)
    elif what == "INDEX":
        yield from _index_on(statement)


def _rename(statement: Statement) -> Iterator[Effect]:
    if not statement.accept("TABLE", "TABLES"):
        return
    statement.if_exists()
    effects: list[Effect] = []
    there: dict[TableId | None, list[bool]] = {}  # per name what becomes of it, step by step
    listed = True
    while listed:
        for exists in (False, True):
            for effect in _named(statement, "rename", True):
                effects.append(effect)
                there.setdefault(effect.table, []).append(exists)
            if not exists:
                statement.skip_past("TO")
        listed = statement.mark(",")
    # A name that was free before and is free again served to pass a table on.
    yield from (e for e in effects if not (there[e.table][0] and not there[e.table][-1]))


def _text_dml(statement: Statement, head: str) -> Iterator[Effect]:
    if head in ("INSERT", "REPLACE"):
        while statement.accept("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"):
            pass
        statement.accept("INTO")
        yield from _named(statement, "statement", True)
    elif head == "LOAD":
        statement.skip_past("INTO")
        statement.accept("TABLE")
        yield from _named(statement, "statement", True)
    else:  # which of the tables named are written to would take a whole grammar
        yield from (Effect(table, "statement", True) for table in statement.candidates())
