"""The parts of an ALTER TABLE, judged one by one: do stored values change without row events?

In: the tokens after the table's name. Out: effects on it and on the tables it names.
Source: MySQL reference manual "ALTER TABLE Statement", MariaDB "ALTER TABLE".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from resources.model.table import TableId
from resources.mysql.binlog.sql_tokens import Token
from resources.mysql.binlog.statement import Effect, Statement

_INDEX_WORDS = frozenset({"INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "FOREIGN", "CHECK"})
OPTIONS = frozenset(
    {"COMMENT", "AUTO_INCREMENT", "ROW_FORMAT", "STATS_PERSISTENT", "STATS_AUTO_RECALC", "COLLATE"}
    | {"STATS_SAMPLE_PAGES", "KEY_BLOCK_SIZE", "CHECKSUM", "DELAY_KEY_WRITE", "MAX_ROWS", "CHARSET"}
    | {"MIN_ROWS", "AVG_ROW_LENGTH", "PACK_KEYS", "COMPRESSION", "ENCRYPTION", "TABLESPACE"}
    | {"DEFAULT", "CHARACTER", "ALGORITHM", "LOCK", "FORCE", "ORDER", "ENABLE", "DISABLE"}
    | {"WITH", "WITHOUT", "SECONDARY_ENGINE", "SECONDARY_LOAD", "SECONDARY_UNLOAD", "WAIT"}
    | {"NOWAIT", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "ENCRYPTED", "ENCRYPTION_KEY_ID"}
    | {"TRANSACTIONAL", "PARTITION", "REMOVE", "REORGANIZE", "COALESCE", "REBUILD", "ANALYZE"}
    | {"CHECK", "OPTIMIZE", "PAGE_CHECKSUM", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"}
    | {"AUTOEXTEND_SIZE", "DATA", "INDEX", "CONNECTION", "START"}
)
"""First words of parts that leave every stored value as it is."""
_COMPUTED = frozenset({"GENERATED", "AS"})
_FILLS_ROWS = frozenset(
    {"NOT", "DEFAULT", "AUTO_INCREMENT", "GENERATED", "AS", "SERIAL", "PRIMARY", "TIMESTAMP"}
    | {"SYSTEM", "PERIOD"}
)
"""Words in a new column's definition that can give its old rows another value than NULL."""
_UNTOLD = _COMPUTED | {"SERIAL", "SYSTEM", "PERIOD", "VERSIONING"}
"""Words in a column's new definition that give it values no shape shows."""
_NUMBERED = _UNTOLD | {"AUTO_INCREMENT", "PRIMARY"}
"""Words in a new column's definition that give rows values of their own."""
_MAKE_ROOM = frozenset({"UNIQUE", "PRIMARY", "PARTITION"})
"""Words of parts that some rows may not fit."""
_PARTITION_CHANGES = frozenset({"DROP", "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT", "REPAIR"})


def alter_effects(statement: Statement, table: TableId, ignores: bool = False) -> Iterator[Effect]:
    """Yield an ALTER TABLE's effects.

    Args:
        statement: Standing just after the table's name.
        table: The table.
        ignores: Whether it is MariaDB's ALTER IGNORE, which leaves out rows that are in the way.
    """
    while statement.accept("WAIT", "NOWAIT"):
        if statement.peek_word() == "" and not statement.at_end:
            statement.next_word()
    any_part = False
    for spec in statement.specs():
        any_part = True
        for effect in _spec_effects(statement, table, spec):
            yield _ignoring(effect, spec) if ignores else effect
    if not any_part:
        yield Effect(table, "alter", False)


def _ignoring(effect: Effect, spec: list[Token]) -> Effect:
    """Return the effect of a part where rows are left out, and values bent, to make it succeed."""
    leaves_out = not _MAKE_ROOM.isdisjoint(token.upper for token in spec)
    return replace(effect, rewrites=effect.rewrites or leaves_out, doubt="")


def _spec_effects(statement: Statement, table: TableId, spec: list[Token]) -> Iterator[Effect]:
    words = [token.upper for token in spec]
    first, second = (*words, "", "")[:2]
    if first == "RENAME" and second not in ("COLUMN", "INDEX", "KEY"):
        yield Effect(table, "rename", True)
        new = statement.table_in(spec[2:] if second in ("TO", "AS") else spec[1:])
        yield from (Effect(t, "rename", True) for t in (new,) if t is not None)
    elif (second == "PARTITION" and first in _PARTITION_CHANGES) or (
        first == "CONVERT" and second in ("PARTITION", "TABLE")
    ):
        yield Effect(table, "partition", True)
        yield from _other_table(statement, spec, words)
    elif first == "RENAME" and second == "COLUMN":
        yield Effect(table, "alter", True, doubt="names")
    elif _redefines(words) or _copies(words) or _fills(words):
        yield Effect(table, "alter", True, doubt="values")
    elif first in _PARTITION_CHANGES - {"DROP"}:
        yield Effect(table, "alter", True)
    else:
        yield Effect(table, "alter", _rewrites(words))


def _redefines(words: list[str]) -> bool:
    """Return whether a part gives columns new definitions, and nothing else."""
    if words[:2] == ["CONVERT", "TO"]:
        return True
    return words[0] in ("MODIFY", "CHANGE") and _UNTOLD.isdisjoint(words) if words else False


def _fills(words: list[str]) -> bool:
    """Return whether a part adds columns that may have one and the same value in every row."""
    return words[:1] == ["ADD"] and _rewrites(words) and _NUMBERED.isdisjoint(words)


def _copies(words: list[str]) -> bool:
    """Return whether a part makes the server copy rows value by value."""
    by_copy = words[:1] == ["ALGORITHM"] and words[-1] == "COPY"
    return by_copy or words[:2] in (["PARTITION", "BY"], ["REMOVE", "PARTITIONING"])


def _other_table(statement: Statement, spec: list[Token], words: list[str]) -> Iterator[Effect]:
    if "TABLE" in words:
        other = statement.table_in(spec[words.index("TABLE") + 1 :])
        if other is not None:
            yield Effect(other, "partition", True)


def _rewrites(words: list[str]) -> bool:
    """Return whether a part may change stored values; what is unknown may."""
    first, second, *_ = (*words, "", "")
    if not words:
        return False
    if first == "ADD":
        return _add_rewrites(words[1:])
    if first == "DROP":
        return second == "PRIMARY" or second in ("SYSTEM", "PERIOD")
    if first == "RENAME":  # of an index
        return False
    if first == "ENGINE":
        return words[-1] != "INNODB"
    if first == "ALTER":  # of a column's default, an index, a check: for rows to come
        return False
    return first not in OPTIONS


def _add_rewrites(words: list[str]) -> bool:
    first = words[0] if words else ""
    if first == "CONSTRAINT":
        return "PRIMARY" in words
    if first == "PARTITION" or first in _INDEX_WORDS:
        return False
    if first in ("PRIMARY", "SYSTEM", "PERIOD"):
        return True
    if words[:1] == ["COLUMN"]:
        words = words[1:]
    if words[:3] == ["IF", "NOT", "EXISTS"]:
        words = words[3:]
    for index, word in enumerate(words):
        if word in _FILLS_ROWS and not (
            word == "DEFAULT" and words[index + 1 : index + 2] == ["NULL"]
        ):
            return True
    return False
