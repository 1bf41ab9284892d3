"""Text in every character set, bytes, ENUM and SET: how to declare, fill and print a column.

In: the server's character sets. Out: strategies of `ColumnCase`; see `columns`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from hypothesis import strategies as st

from tests.mysql.differential.charsets import Charset
from tests.mysql.differential.columns import ColumnCase

_TEXTS = {"TINYTEXT": 63, "TEXT": 16_000, "MEDIUMTEXT": 70_000, "LONGTEXT": 70_000}
_BLOBS = {"TINYBLOB": 255, "BLOB": 65_535, "MEDIUMBLOB": 65_536, "LONGBLOB": 66_000}
AS_UTF8 = "HEX(CONVERT({c} USING utf8mb4))"


def utf8(text: str) -> str:
    """Return the text that a hexadecimal print of its UTF-8 holds."""
    return bytes.fromhex(text).decode()


def literal(text: str) -> str:
    """Return an SQL expression for a text, whatever is in it."""
    return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"


def text(word: str, size: int | None, charset: Charset) -> ColumnCase:
    """A CHAR, VARCHAR or TEXT column; `size` counts characters."""
    longest = size if size is not None else _TEXTS[word]
    letters = st.sampled_from(charset.characters)
    sample = charset.characters[:: max(1, len(charset.characters) // longest)][:longest]
    last = charset.characters[-1]
    edges = ("", "a", "a ", sample[:40], f"it's\\%s{last}", "\x7f?")
    fitting = [t[:longest] for t in edges if set(t) <= {*charset.characters, *map(chr, range(128))}]
    full = f"REPEAT({literal(last)}, {longest})" if size else literal(charset.characters[:longest])
    return ColumnCase(
        ddl=f"{word}{'' if size is None else f'({size})'} CHARACTER SET {charset.name}",
        arrow=pa.large_string() if word == "LONGTEXT" else pa.string(),
        literals=st.text(letters, max_size=min(longest, 24)).map(literal),
        edges=(*map(literal, fitting), full),
        printed=AS_UTF8,
        parse=utf8,
        family="text",
    )


def texts(charsets: Sequence[Charset]) -> st.SearchStrategy[ColumnCase]:
    sizes = st.sampled_from((1, 2, 20, 63, 64, 85, 127, 128, 255))
    some = st.sampled_from(charsets)
    return (
        st.builds(text, st.sampled_from(("CHAR", "VARCHAR")), sizes, some)
        | st.builds(text, st.just("VARCHAR"), st.sampled_from((256, 300)), some)
        | st.builds(text, st.sampled_from(tuple(_TEXTS)), st.none(), some)
    )


def binary(word: str, size: int | None) -> ColumnCase:
    longest = size if size is not None else _BLOBS[word]
    short = min(longest, 16)
    edges = (b"", b"\0", b"a\0"[:longest], b"\xff" * short, bytes(short), b"\0a\0"[:longest])
    return ColumnCase(
        ddl=word + ("" if size is None else f"({size})"),
        arrow=pa.large_binary() if word == "LONGBLOB" else pa.binary(),
        literals=st.binary(max_size=min(longest, 40)).map(lambda data: f"x'{data.hex()}'"),
        edges=(*(f"x'{data.hex()}'" for data in edges), f"REPEAT(x'fb', {longest})"),
        printed="HEX({c})",
        parse=bytes.fromhex,
        family="binary" if word == "BINARY" else "bytes",
    )


_binary_sizes = st.sampled_from((1, 2, 4, 16, 128, 254, 255))
binaries = (
    st.builds(binary, st.sampled_from(("BINARY", "VARBINARY")), _binary_sizes)
    | st.builds(binary, st.just("VARBINARY"), st.sampled_from((256, 300)))
    | st.builds(binary, st.sampled_from(tuple(_BLOBS)), st.none())
)


def labeled(word: str, labels: Sequence[str], charset: Charset) -> ColumnCase:
    """An ENUM or SET column; literals are indexes or bit masks, 0 included."""
    quoted = ",".join("'" + x.replace("\\", "\\\\").replace("'", "''") + "'" for x in labels)
    count = len(labels)
    top = count if word == "ENUM" else 2**count - 1
    edges = (0, 1, top, top // 2, top // 2 + 1)
    values = st.integers(0, top) | st.sampled_from(edges)
    return ColumnCase(
        ddl=f"{word}({quoted}) CHARACTER SET {charset.name} COLLATE {charset.binary_collation}",
        arrow=pa.string(),
        literals=values.map(str),
        edges=tuple(map(str, edges)),
        printed=AS_UTF8,
        parse=utf8,
        family=word.lower(),
    )


@st.composite
def labels(draw: st.DrawFn, charsets: Sequence[Charset]) -> ColumnCase:
    charset = draw(st.sampled_from(charsets))
    word = draw(st.sampled_from(("ENUM", "SET")))
    letters = st.sampled_from([c for c in charset.characters if c not in ", "])
    most = draw(st.sampled_from((1, 8, 9, 64) if word == "SET" else (2, 6, 300)))
    few = draw(st.lists(st.text(letters, min_size=1, max_size=5), min_size=1, max_size=6,
                        unique=True))  # fmt: skip
    rest = (f"l{number}" for number in range(most) if f"l{number}" not in few)
    return labeled(word, [*few, *rest][:most], charset)


def fixed_cases(charsets: Sequence[Charset]) -> list[ColumnCase]:
    """Columns for the table of all edges: every word once, every character set three times."""
    utf8mb4 = next(c for c in charsets if c.name == "utf8mb4")
    many = [f"l{number}" for number in range(300)]
    return [
        *(text(word, None, utf8mb4) for word in _TEXTS),
        *(binary(word, None) for word in _BLOBS),
        *(binary(word, size) for word in ("BINARY", "VARBINARY") for size in (1, 16, 255)),
        binary("VARBINARY", 256),
        *(text("VARCHAR", size, utf8mb4) for size in (63, 64, 256)),
        *(text("CHAR", size, utf8mb4) for size in (1, 63, 64, 127, 128, 255)),
        labeled("ENUM", many, utf8mb4),
        *(labeled("SET", many[:size], utf8mb4) for size in (1, 8, 9, 16, 17, 24, 32, 33, 64)),
        *(case for charset in charsets for case in _of_each(charset)),
    ]


def _of_each(charset: Charset) -> list[ColumnCase]:
    usable = [c for c in charset.characters if c not in ", "]
    words = [usable[-1], usable[len(usable) // 2] + "x", "it's", usable[-1] * 3]
    words += ["b\\c"] * ("\\" in usable)
    return [
        text("VARCHAR", 20, charset),
        text("TEXT", None, charset),
        labeled("SET", words, charset),
        labeled("ENUM", words, charset),
    ]
