"""A column's type as a statement writes it -> as the server's catalog prints it.

In: the tokens of a type, character sets. Out: the text of COLUMN_TYPE and the character set, so
that one table of types (`resources.mysql.types`) serves the catalog and statements alike.
Source: MySQL reference manual "Data Types", MariaDB "Data Types", and what both servers print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from resources.mysql.binlog.charsets import BINARY
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.character_sets import (
    CHARSETS,
    accept_charset,
    character_bytes,
    charset_name,
    has_characters,
)
from resources.mysql.schema_history.words import CannotTellError, Words

_WORDS = {
    "TINYINT": "tinyint", "INT1": "tinyint", "SMALLINT": "smallint", "INT2": "smallint",
    "MEDIUMINT": "mediumint", "INT3": "mediumint", "MIDDLEINT": "mediumint", "INT": "int",
    "INTEGER": "int", "INT4": "int", "BIGINT": "bigint", "INT8": "bigint",
    "DECIMAL": "decimal", "DEC": "decimal", "NUMERIC": "decimal", "FIXED": "decimal",
    "FLOAT": "float", "FLOAT4": "float", "DOUBLE": "double", "FLOAT8": "double",
    "BIT": "bit", "YEAR": "year", "DATE": "date", "TIME": "time", "DATETIME": "datetime",
    "TIMESTAMP": "timestamp", "CHAR": "char", "CHARACTER": "char", "VARCHAR": "varchar",
    "VARCHARACTER": "varchar", "BINARY": "binary", "VARBINARY": "varbinary",
    "TINYTEXT": "tinytext", "TEXT": "text", "MEDIUMTEXT": "mediumtext", "LONGTEXT": "longtext",
    "TINYBLOB": "tinyblob", "BLOB": "blob", "MEDIUMBLOB": "mediumblob", "LONGBLOB": "longblob",
    "ENUM": "enum", "SET": "set", "JSON": "json", "GEOMETRY": "geometry", "POINT": "point",
    "LINESTRING": "linestring", "POLYGON": "polygon", "MULTIPOINT": "multipoint",
    "MULTILINESTRING": "multilinestring", "MULTIPOLYGON": "multipolygon",
    "GEOMETRYCOLLECTION": "geometrycollection", "GEOMCOLLECTION": "geometrycollection",
    "VECTOR": "vector", "UUID": "uuid", "INET4": "inet4", "INET6": "inet6",
}  # fmt: skip
_WIDTHS = {
    "tinyint": (4, 3), "smallint": (6, 5), "mediumint": (9, 8), "int": (11, 10), "bigint": (20, 20)
}  # fmt: skip
"""Display widths of signed and unsigned integers that name none."""
TEXTS = ("tinytext", "text", "mediumtext", "longtext")
BLOBS = ("tinyblob", "blob", "mediumblob", "longblob")
_FRACTIONS = frozenset({"time", "datetime", "timestamp"})
_TEXTUAL = frozenset({"char", "varchar", *TEXTS, "enum", "set"})
_NATIONAL_WORDS = ("CHAR", "CHARACTER", "VARCHAR", "VARCHARACTER")
_AS_BYTES = {"char": "binary", "varchar": "varbinary", **dict(zip(TEXTS, BLOBS, strict=True))}
_REAL_AS_FLOAT = 1
_ORACLE = 512
_ESCAPED = {"'": "''", "\\": "\\\\", "\0": "\\0", "\n": "\\n", "\r": "\\r"}
_MOST_DIGITS = 65
_NO_WIDTHS_SINCE = 80_019


@dataclass(frozen=True)
class TypeWords:
    """A type as written.

    Args:
        name: Its name in the catalog's words.
        numbers: What stands in parentheses.
        labels: Of an ENUM or SET.
        unsigned: Whether it is unsigned.
        zerofill: Whether it is padded with zeros, which makes it unsigned.
        charset: The character set it names or implies, empty if none.
        serial: Whether it is the alias SERIAL, which implies constraints.
        compressed: Whether it is one of MariaDB's compressed columns.
    """

    name: str
    numbers: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    unsigned: bool = False
    zerofill: bool = False
    charset: str = ""
    serial: bool = False
    compressed: bool = False


def parse_type(words: Words) -> TypeWords:
    """Pass a type and its attributes.

    Raises:
        CannotTellError: It is no type known here.
    """
    if words.query.sql_mode & _ORACLE:
        raise CannotTellError("type names mean others under sql_mode ORACLE")
    return _attributes(words, _named_type(words))


def _named_type(words: Words) -> TypeWords:
    head = words.peek_word()
    if head in ("NATIONAL", "NCHAR", "NVARCHAR"):
        return _national(words)
    if words.accept("LONG"):
        return _long(words)
    if words.accept("BOOL", "BOOLEAN"):
        return TypeWords("tinyint", (1,))
    if words.accept("SERIAL"):
        return TypeWords("bigint", unsigned=True, serial=True)
    if words.accept("REAL"):
        name = "float" if words.query.sql_mode & _REAL_AS_FLOAT else "double"
        return TypeWords(name, words.numbers())
    name = _WORDS.get(head, "")
    if not name:
        raise words.fail()
    words.next_word()
    if name in ("enum", "set"):
        labels = tuple(label.rstrip(" ") for label in words.texts())
        return TypeWords(name, labels=labels)
    if name == "double":
        words.accept("PRECISION")
    if name == "char" and words.accept("VARYING"):
        name = "varchar"
    return TypeWords(name, words.numbers())


def _national(words: Words) -> TypeWords:
    head = words.next_word()
    varying = head == "NVARCHAR"
    if head == "NATIONAL" and words.peek_word() not in _NATIONAL_WORDS:
        raise words.fail()
    if head in ("NATIONAL", "NCHAR") and words.peek_word() in _NATIONAL_WORDS:
        varying = words.next_word().startswith("VAR")
    varying = words.accept("VARYING") or varying
    return TypeWords("varchar" if varying else "char", words.numbers(), charset="utf8mb3")


def _long(words: Words) -> TypeWords:
    if words.accept("VARBINARY"):
        return TypeWords("mediumblob")
    if not (words.sequence("CHAR", "VARYING") or words.sequence("CHARACTER", "VARYING")):
        words.accept("VARCHAR", "VARCHARACTER")
    return TypeWords("mediumtext")


def _attributes(words: Words, kind: TypeWords) -> TypeWords:
    while True:
        if words.accept("UNSIGNED"):
            kind = replace(kind, unsigned=True)
        elif words.accept("ZEROFILL"):
            kind = replace(kind, unsigned=True, zerofill=True)
        elif words.accept("SIGNED", "BINARY"):
            continue  # BINARY chooses a collation only
        elif words.accept("ASCII"):
            kind = replace(kind, charset="latin1")
        elif words.accept("UNICODE"):
            kind = replace(kind, charset="ucs2")
        elif words.accept("BYTE"):
            kind = replace(kind, charset=BINARY)
        elif words.accept("COMPRESSED"):
            if words.mark("="):
                words.need_identifier()
            kind = replace(kind, compressed=True)
        elif accept_charset(words):
            kind = replace(kind, charset=charset_name(words.charset_name()))
        else:
            return kind


def resolve_type(kind: TypeWords, charset: str, server: ServerKind) -> tuple[str, str]:
    """Return COLUMN_TYPE and CHARACTER_SET_NAME as the server's catalog shows them.

    Args:
        kind: The type as written.
        charset: Character set for it where it names none.
        server: Whose catalog.

    Raises:
        CannotTellError: The server would have made another type of it, by its SQL mode, or
            other labels.
    """
    name = kind.name
    if name == "json" and server.flavor == "mariadb":
        return "longtext", "utf8mb4"
    charset = kind.charset or charset
    if name in _TEXTUAL:
        name, charset = _sized_text(name, kind, charset)
    else:
        charset = ""
    if name in ("text", "blob") and kind.numbers:
        family = TEXTS if name == "text" else BLOBS
        name = _sized(family, kind.numbers[0] * character_bytes(charset), server)
    if name in ("enum", "set"):
        if not all(has_characters(charset, label) for label in kind.labels):
            raise CannotTellError(f"labels with characters that {charset} lacks")
        # MySQL hides the character set of labels that are bytes.
        hidden = charset == BINARY and server.flavor == "mysql"
        return f"{name}({_printed(kind.labels)})", "" if hidden else charset
    suffix = " /*M!100301 COMPRESSED*/" if kind.compressed else ""
    return _printed_type(name, kind, server) + suffix, charset


def _sized_text(name: str, kind: TypeWords, charset: str) -> tuple[str, str]:
    """Check a text's length; texts of the character set `binary` are bytes."""
    if charset not in CHARSETS:
        raise CannotTellError(f"character set {charset or '(unknown)'}")
    if name in ("char", "varchar"):
        size = kind.numbers[0] if kind.numbers else 1
        limit = 255 if name == "char" else 65_535 // character_bytes(charset)
        if size > limit or (name == "varchar" and not kind.numbers):
            raise CannotTellError(f"{name}({size}) is too long and may have become another type")
    if charset == BINARY and name in _AS_BYTES:
        return _AS_BYTES[name], ""
    return name, charset


def _sized(family: tuple[str, ...], size_bytes: int, server: ServerKind) -> str:
    if size_bytes == 0 and server.flavor == "mariadb":
        return family[1]
    sizes = zip(family, (8, 16, 24, 64), strict=True)
    for name, bits in sizes:
        if size_bytes < 1 << bits:
            return name
    raise CannotTellError(f"{family[1]} of {size_bytes} bytes")


def _printed_type(name: str, kind: TypeWords, server: ServerKind) -> str:
    numbers = tuple(n for n in kind.numbers if n or len(kind.numbers) > 1)
    sign = " unsigned" * kind.unsigned + " zerofill" * kind.zerofill
    if name in _WIDTHS:
        return _printed_integer(name, numbers, kind, server) + sign
    if name == "decimal":
        return _printed_decimal(numbers) + sign
    if name in ("float", "double"):
        if len(numbers) == 1:
            return ("double" if numbers[0] > 24 else "float") + sign
        return name + (f"({numbers[0]},{numbers[1]})" if numbers else "") + sign
    if name == "year":
        return "year" if _without_widths(server) else "year(4)"
    if name in _FRACTIONS:
        return f"{name}({numbers[0]})" if numbers else name
    if name in ("bit", "char", "binary"):
        return f"{name}({(kind.numbers or (1,))[0] or (name == 'bit') * 1})"
    if name in ("varchar", "varbinary"):
        return f"{name}({_length(name, kind)})"
    if name == "vector":
        return f"vector({(numbers or (2048,))[0]})"
    if name == "geometrycollection" and server.flavor == "mysql":
        return "geomcollection" if server.version >= 80_000 else name
    return name


def _printed_decimal(numbers: tuple[int, ...]) -> str:
    precision, scale = (*numbers, 10, 0)[:2] if len(numbers) != 1 else (numbers[0], 0)
    if not scale <= (precision or 10) <= _MOST_DIGITS:
        raise CannotTellError(f"decimal({precision},{scale})")
    return f"decimal({precision or 10},{scale})"


def _length(name: str, kind: TypeWords) -> int:
    if not kind.numbers:
        raise CannotTellError(f"{name} without a length")
    return kind.numbers[0]


def _printed_integer(
    name: str, numbers: tuple[int, ...], kind: TypeWords, server: ServerKind
) -> str:
    width = numbers[0] if numbers else _WIDTHS[name][kind.unsigned]
    shown = kind.zerofill or (name == "tinyint" and width == 1 and not kind.unsigned)
    return name if _without_widths(server) and not shown else f"{name}({width})"


def _without_widths(server: ServerKind) -> bool:
    return server.flavor == "mysql" and server.version >= _NO_WIDTHS_SINCE


def _printed(labels: tuple[str, ...]) -> str:
    return ",".join("'" + re.sub(r"['\\\0\n\r]", lambda m: _ESCAPED[m[0]], t) + "'" for t in labels)


def converted_type(column_type: str, old: str, new: str) -> str:
    """Return COLUMN_TYPE of a text column after CONVERT TO CHARACTER SET.

    A TEXT that could not hold as many characters as before becomes a longer one.

    Args:
        column_type: As it is.
        old: Its character set.
        new: Its new one.
    """
    name = column_type.partition("(")[0]
    if new == BINARY and name in _AS_BYTES:
        return _AS_BYTES[name] + column_type[len(name) :]
    if name in TEXTS and character_bytes(new) > character_bytes(old):
        at = TEXTS.index(name)
        return TEXTS[min(at + 1, len(TEXTS) - 1)]
    return column_type
