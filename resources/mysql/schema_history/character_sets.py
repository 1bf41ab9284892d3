"""Names of character sets in statements, and how wide their characters are.

In: words of a statement. Out: character sets as the catalog spells them.
"""

from __future__ import annotations

import re
from functools import cache

from resources.mysql.binlog.charsets import BINARY
from resources.mysql.kernels.charset_tables import code_points, has_table
from resources.mysql.schema_history.words import CannotTellError, Words

_WIDE_CHARACTERS = {
    "big5": 2, "cp932": 2, "eucjpms": 3, "euckr": 2, "gb18030": 4, "gb2312": 2, "gbk": 2,
    "sjis": 2, "ucs2": 2, "ujis": 3, "utf16": 4, "utf16le": 4, "utf32": 4, "utf8mb3": 3,
    "utf8mb4": 4,
}  # fmt: skip
CHARSETS = frozenset(_WIDE_CHARACTERS) | {
    "armscii8", "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852",
    "cp866", "dec8", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1",
    "latin2", "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
}  # fmt: skip


_UNICODE = frozenset({"utf8mb4", "gb18030", "utf16", "utf16le", "utf32", BINARY})
_BASIC_PLANE = frozenset({"utf8mb3", "ucs2"})
_EVERYWHERE = re.compile("[0-9A-Za-z ,._-]*")


def has_characters(charset: str, text: str) -> bool:
    """Return whether a character set has all characters of a text.

    For those it lacks a server keeps question marks.

    Args:
        charset: As the catalog spells it.
        text: Any text.
    """
    if charset in _UNICODE or _EVERYWHERE.fullmatch(text):
        return True
    if charset == "ascii":
        return text.isascii()
    if charset in _BASIC_PLANE:
        return max(text) <= "\uffff"
    return has_table(charset) and _characters(charset).issuperset(map(ord, text))


@cache
def _characters(charset: str) -> frozenset[int]:
    return frozenset(code_points(charset).tolist())


def character_bytes(charset: str) -> int:
    """Return the bytes of a character set's longest character."""
    return _WIDE_CHARACTERS.get(charset, 1)


def accept_charset(words: Words) -> bool:
    """Pass the keywords before a character set's name, and an equals sign."""
    found = (
        words.accept("CHARSET")
        or words.sequence("CHARACTER", "SET")
        or words.sequence("CHAR", "SET")
    )
    if found:
        words.mark("=")
    return found


def charset_name(name: str) -> str:
    """Return a character set's name as the catalog spells it."""
    return "utf8mb3" if name == "utf8" else name


def charset_of(collation: str) -> str:
    """Return the character set a collation's name begins with.

    Raises:
        CannotTellError: It names none, as MariaDB's `uca1400_ai_ci` does.
    """
    charset = charset_name(collation.partition("_")[0])
    if charset not in CHARSETS:
        raise CannotTellError(f"collation {collation} names no character set")
    return charset
