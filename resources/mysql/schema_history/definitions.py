"""Definitions of columns and indexes, as CREATE TABLE and ALTER TABLE share them.

In: the tokens of one definition. Out: what it says; `CannotTellError` for grammar not known here.
Source: MySQL reference manual "CREATE TABLE Statement", MariaDB "CREATE TABLE".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from resources.model.table import Column
from resources.mysql.binlog.sql_tokens import ServerKind, Token
from resources.mysql.schema_history.character_sets import (
    CHARSETS,
    accept_charset,
    charset_name,
    charset_of,
)
from resources.mysql.schema_history.column_types import BLOBS, TypeWords, parse_type, resolve_type
from resources.mysql.schema_history.words import CannotTellError, Words
from resources.mysql.types import ColumnFacts, Unsupported, column_from_facts

_INDEX_HEADS = frozenset(
    {"CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"}
)
_BYTES = frozenset({"binary", "varbinary", *BLOBS})
_MARIADB_EXPLICIT_TIMESTAMPS = 1 << 24
IndexKind: TypeAlias = Literal["primary", "unique", "other", "foreign", "check"]
_FLAGS: dict[tuple[str, ...], dict[str, Any]] = {
    ("NOT", "NULL"): {"nullable": False},
    ("NULL",): {"nullable": True},
    ("AUTO_INCREMENT",): {"automatic": True},
    ("INVISIBLE",): {"invisible": True},
    ("VISIBLE",): {"invisible": False},
    ("FIRST",): {"place": ""},
}
_INDEXES: dict[tuple[str, ...], IndexKind] = {
    ("PRIMARY", "KEY"): "primary",
    ("PRIMARY",): "primary",
    ("KEY",): "primary",
    ("UNIQUE", "KEY"): "unique",
    ("UNIQUE",): "unique",
}


@dataclass(frozen=True)
class IndexDefinition:
    """An index or constraint.

    Args:
        kind: What it is.
        name: The index's name, empty if the server chooses it.
        symbol: The constraint's name, empty if it has none.
        parts: Per part the column (None for an expression) and prefix length.
    """

    kind: IndexKind
    name: str = ""
    symbol: str = ""
    parts: tuple[tuple[str | None, int | None], ...] = ()


@dataclass(frozen=True)
class ColumnDefinition:
    """A column.

    Args:
        name: Its name.
        type: Its type as written.
        collation: The collation it names, empty if none.
        nullable: What it says about NULL, None if nothing.
        automatic: Whether it is AUTO_INCREMENT.
        generated: Whether its values are computed, and how: `VIRTUAL`, `STORED` or empty.
        invisible: Whether it is invisible.
        comment: Its comment.
        indexes: Indexes it makes by itself.
        default: The tokens of its default, none if it names none.
        place: Where ALTER puts it: None for the end or its old place, empty for the first place,
            else the name of the column before.
    """

    name: str
    type: TypeWords
    collation: str = ""
    nullable: bool | None = None
    automatic: bool = False
    generated: str = ""
    invisible: bool = False
    comment: str = ""
    indexes: tuple[IndexKind, ...] = ()
    default: tuple[Token, ...] = ()
    place: str | None = None


def is_index(words: Words) -> bool:
    """Return whether an element of a table is an index or constraint, not a column."""
    head = words.peek_word()
    if head == "VECTOR":
        return words.peek_word(1) in ("INDEX", "KEY")
    return head in _INDEX_HEADS


def parse_column(words: Words) -> ColumnDefinition:
    """Pass a column's definition, which is all that is left.

    Raises:
        CannotTellError: Something in it is not known here.
    """
    name = words.need_identifier()
    kind = parse_type(words)
    column = ColumnDefinition(name, kind)
    if kind.serial:
        column = replace(column, nullable=False, automatic=True, indexes=("unique",))
    while not words.at_end:
        column = _attribute(words, column)
    return column


def _attribute(words: Words, column: ColumnDefinition) -> ColumnDefinition:
    for keywords, facts in _FLAGS.items():
        if words.sequence(*keywords):
            return replace(column, **facts)
    for keywords, kind in _INDEXES.items():
        if words.sequence(*keywords):
            return _indexed(column, kind)
    if words.sequence("SERIAL", "DEFAULT", "VALUE"):
        return _indexed(replace(column, automatic=True, nullable=False), "unique")
    if words.accept("COMMENT"):
        words.mark("=")
        return replace(column, comment=words.text())
    if words.accept("COLLATE"):
        words.mark("=")
        return replace(column, collation=words.charset_name())
    if words.accept("AFTER"):
        return replace(column, place=words.need_identifier())
    if words.accept("DEFAULT"):
        return replace(column, default=words.value())
    if words.peek_word() in ("GENERATED", "AS"):
        return replace(column, generated=_generation(words))
    _harmless_attribute(words)
    return column


def _indexed(column: ColumnDefinition, kind: IndexKind) -> ColumnDefinition:
    # The server adds a primary key before a unique one, whatever comes first in the text.
    indexes = tuple(sorted({*column.indexes, kind}))
    nullable = False if kind == "primary" else column.nullable
    return replace(column, indexes=indexes, nullable=nullable)


def _generation(words: Words) -> str:
    if words.accept("GENERATED") and not words.accept("ALWAYS"):
        raise words.fail()
    if not words.accept("AS"):
        raise words.fail()
    if words.peek_word() == "ROW":
        raise CannotTellError("a system-versioned table's columns are not followed")
    words.parenthesized()
    if words.accept("STORED", "PERSISTENT"):
        return "STORED"
    words.accept("VIRTUAL")
    return "VIRTUAL"


def _harmless_attribute(words: Words) -> None:
    """Pass an attribute that shows in no schema."""
    if words.sequence("ON", "UPDATE"):
        words.value()
    elif words.accept("COLUMN_FORMAT", "STORAGE"):
        words.need_identifier()
    elif words.accept("ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"):
        words.mark("=")
        words.text()
    elif words.accept("SRID", "REF_SYSTEM_ID"):
        words.mark("=")
        words.number()
    elif words.peek_word() in ("CONSTRAINT", "CHECK"):
        _check(words)
    elif words.accept("REFERENCES"):
        _references(words)
    elif not words.sequence("NOT", "SECONDARY"):
        raise words.fail()


def _check(words: Words) -> None:
    if words.accept("CONSTRAINT") and words.peek_word() != "CHECK":
        words.need_identifier()
    if not words.accept("CHECK"):
        raise words.fail()
    words.parenthesized()
    if not words.sequence("NOT", "ENFORCED"):
        words.accept("ENFORCED")


def _references(words: Words) -> None:
    if words.name() is None:
        raise words.fail()
    if words.starts("("):
        words.parenthesized()
    while True:
        if words.accept("MATCH"):
            words.need_identifier()
        elif words.sequence("ON", "DELETE") or words.sequence("ON", "UPDATE"):
            if words.next_word() in ("NO", "SET"):
                words.next_word()
        else:
            return


def parse_index(words: Words) -> IndexDefinition:
    """Pass an index's or constraint's definition.

    Raises:
        CannotTellError: Something in it is not known here.
    """
    symbol = ""
    if words.accept("CONSTRAINT") and words.peek_word() not in _INDEX_HEADS:
        symbol = words.need_identifier()
    if words.accept("CHECK"):
        return IndexDefinition("check", symbol=symbol)
    kind: IndexKind = "other"
    if words.accept("PRIMARY"):
        kind = "primary"
    elif words.accept("UNIQUE"):
        kind = "unique"
    elif words.accept("FOREIGN"):
        kind = "foreign"
    else:
        words.accept("FULLTEXT", "SPATIAL", "VECTOR")
    words.accept("INDEX", "KEY")
    words.if_exists()
    name = ""
    if not words.starts("(") and words.peek_word() not in ("USING", "TYPE"):
        name = words.need_identifier()
    if words.accept("USING", "TYPE"):
        words.need_identifier()
    parts = tuple(_part(part) for part in Words(words.query, words.parenthesized()).elements())
    return IndexDefinition(kind, name, symbol, parts)


def _part(words: Words) -> tuple[str | None, int | None]:
    if words.starts("("):
        return None, None
    name = words.need_identifier()
    prefix = words.numbers()
    words.accept("ASC", "DESC")
    if not words.at_end:
        raise words.fail()
    return name, prefix[0] if prefix else None


def build_column(
    definition: ColumnDefinition, charset: str, words: Words, server: ServerKind
) -> Column:
    """Return the column a definition makes, as the catalog shows it.

    Args:
        definition: The definition.
        charset: Character set of columns that name none.
        words: Of the statement, for the modes it ran in.
        server: Whose catalog.

    Raises:
        CannotTellError: It is another column than the words say, or has no exact counterpart.
    """
    if definition.type.name in _BYTES and (definition.collation or definition.type.charset):
        raise CannotTellError(f"column {definition.name}: MariaDB makes a text of bytes by COLLATE")
    if definition.collation and not definition.type.charset:
        charset = charset_of(definition.collation)
    column_type, charset = resolve_type(definition.type, charset, server)
    nullable = definition.nullable
    if nullable is None:
        nullable = not definition.automatic and (
            definition.type.name != "timestamp"
            or bool(definition.generated)
            or _explicit_timestamps(words, server)
        )
    extra = f"{definition.generated} GENERATED" if definition.generated else ""
    numbers = definition.type.numbers
    facts = ColumnFacts(
        name=definition.name,
        column_type=column_type,
        precision=(numbers[0] if numbers else 0) or 10,
        scale=numbers[1] if len(numbers) > 1 else 0,
        charset=charset,
        nullable=nullable and not definition.automatic,
        extra=f"{extra} INVISIBLE" if definition.invisible else extra,
        comment=definition.comment,
    )
    column = column_from_facts(facts)
    if isinstance(column, Unsupported):
        raise CannotTellError(f"column {column.column}: {column.reason}")
    return column


def _explicit_timestamps(words: Words, server: ServerKind) -> bool:
    """Return whether a TIMESTAMP column may be NULL unless it says otherwise."""
    query = words.query
    if server.flavor == "mariadb":
        return bool(query.flags & _MARIADB_EXPLICIT_TIMESTAMPS)
    return query.explicit_timestamps is not False


def parse_default_charset(words: Words) -> str:
    """Pass one token of a table's options, or the whole option where it sets the character set.

    Returns:
        The default character set of its columns, empty if the option is another one.

    Raises:
        CannotTellError: It names a character set that cannot be told.
    """
    if accept_charset(words):
        name = charset_name(words.charset_name())
        if name not in CHARSETS:
            raise CannotTellError(f"default character set {name}")
        return name
    if words.accept("COLLATE"):
        words.mark("=")
        return charset_of(words.charset_name())
    words.next_word()
    return ""
