"""Which characters each character set of a server has, asked of the server itself.

In: a server. Out: per character set the characters that survive a conversion there and back.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

_NOT_TEXT = frozenset({"binary", "filename"})
# Latin to Thai, punctuation and symbols, kana, every seventh ideograph and syllable, full width.
_ASKED = [
    *range(0x20, 0x700),
    *range(0xE00, 0xE80),
    *range(0x1E00, 0x1F00),
    *range(0x2000, 0x2700),
    *range(0x3000, 0x3140),
    *range(0x4E00, 0xA000, 7),
    *range(0xAC00, 0xD7A4, 31),
    *range(0xE000, 0xF900, 101),
    *range(0xF900, 0xFB00, 7),
    *range(0xFE30, 0xFFE7),
    *range(0x1F600, 0x1F640, 7),
    0x10FFFF,
]
_CHARACTERS = "".join(map(chr, _ASKED))


@dataclass(frozen=True)
class Charset:
    """A character set of a server.

    Attributes:
        name: The server's word.
        widest: Bytes of its widest character.
        binary_collation: A collation that tells all its characters apart.
        characters: Those of it among the ones asked for.
    """

    name: str
    widest: int
    binary_collation: str
    characters: str = field(repr=False)


def charsets_of(server: Any) -> list[Charset]:
    """Return the character sets of text columns, sorted by name."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
        found = [(str(name), int(widest)) for name, widest in cursor.fetchall()]
        return [
            Charset(name, widest, f"{name}_bin", _repertoire(cursor, name))
            for name, widest in sorted(found)
            if name not in _NOT_TEXT
        ]


def _repertoire(cursor: Any, name: str) -> str:
    text = f"CONVERT(_utf8mb4 x'{_CHARACTERS.encode().hex()}' USING {name})"
    cursor.execute(f"SELECT HEX(CONVERT({text} USING utf8mb4))")
    back = bytes.fromhex(cursor.fetchone()[0]).decode()
    assert len(back) == len(_CHARACTERS), f"{name} joined or split characters"
    return "".join(a for a, b in zip(_CHARACTERS, back, strict=True) if a == b)
