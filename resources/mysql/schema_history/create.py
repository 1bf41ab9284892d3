"""CREATE TABLE with its columns written out.

In: the statement after the table's name. Out: the shape it makes.
Source: MySQL reference manual "CREATE TABLE Statement", MariaDB "CREATE TABLE".
"""

from __future__ import annotations

from resources.model.table import TableId
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.definitions import (
    ColumnDefinition,
    IndexDefinition,
    build_column,
    is_index,
    parse_column,
    parse_default_charset,
    parse_index,
)
from resources.mysql.schema_history.draft import Draft
from resources.mysql.schema_history.shape import TableShape
from resources.mysql.schema_history.words import CannotTellError, Words

_WITH_ROWS = frozenset({"SELECT", "TABLE", "VALUES", "AS", "IGNORE", "REPLACE"})


def liked_table(words: Words) -> TableId | None:
    """Return the table after LIKE, None if this is another form of CREATE TABLE."""
    inner = words
    if words.starts("(") and words.peek_word(1) == "LIKE":
        inner = Words(words.query, words.parenthesized())
    return inner.name() if inner.accept("LIKE") else None


def created_shape(
    table: TableId, words: Words, server: ServerKind, database_charset: str
) -> TableShape:
    """Return the shape of a new table.

    Args:
        table: Its name.
        words: Standing just after it.
        server: Whose statement it is.
        database_charset: Default character set of its database, empty if not known.

    Raises:
        CannotTellError: The shape cannot be told, as of a table made from a SELECT.
    """
    columns: list[ColumnDefinition] = []
    indexes: list[IndexDefinition] = []
    for element in Words(words.query, words.parenthesized()).elements():
        if is_index(element):
            indexes.append(parse_index(element))
        elif element.peek_word() == "PERIOD" and element.peek_word(1) == "FOR":
            raise CannotTellError("system-versioned tables are not followed")
        else:
            column = parse_column(element)
            columns.append(column)
            indexes += [IndexDefinition(k, parts=((column.name, None),)) for k in column.indexes]
    charset, comment = _options(words)
    draft = Draft(None, charset or database_charset, server)
    draft.comment = comment
    for column in columns:
        draft.insert("", build_column(column, draft.charset, words, server), None)
        draft.automatic = column.name if column.automatic else draft.automatic
    for index in indexes:
        draft.add_index(index)
    return draft.finish(table)[0]


def _options(words: Words) -> tuple[str, str]:
    """Pass the options of a table; return default character set and comment."""
    charset = comment = ""
    while not words.at_end and words.peek_word() != "PARTITION":
        if words.peek_word() in _WITH_ROWS:
            raise CannotTellError("the columns of its SELECT cannot be told")
        if words.sequence("WITH", "SYSTEM"):
            raise CannotTellError("system-versioned tables are not followed")
        if words.starts("("):
            words.parenthesized()
        elif words.accept("COMMENT"):
            words.mark("=")
            comment = words.text()
        else:
            charset = parse_default_charset(words) or charset
    return charset, comment
