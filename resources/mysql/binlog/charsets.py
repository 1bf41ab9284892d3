"""MySQL's character sets as decoders to Unicode, and which collation belongs to which.

In: collation numbers of a table map or a statement, bytes of a text. Out: str, exactly the
characters the server itself converts those bytes to (`kernels.charset_tables` says how that was
measured).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import cache, partial
from typing import Literal, TypeAlias

from resources.mysql.kernels.charset_tables import (
    NO_CHARACTER,
    TWO_BYTE_CODES,
    code_points,
    has_table,
    longer_code,
)

Decode: TypeAlias = Callable[[bytes], str]
Errors: TypeAlias = Literal["strict", "replace"]

BINARY = "binary"

_COLLATIONS = {
    "ascii": "11 65 1035 1089",
    "big5": "1 84 1025 1108",
    BINARY: "63",
    "cp1250": "26 34 44 66 99 1050 1090",
    "cp1251": "14 23 50-52 1074-1075",
    "cp1256": "57 67 1081 1091",
    "cp1257": "29 58-59 1082-1083",
    "cp850": "4 80 1028 1104",
    "cp852": "40 81 1064 1105",
    "cp866": "36 68 1060 1092",
    "cp932": "95-96 1119-1120",
    "armscii8": "32 64 1056 1088",
    "dec8": "3 69 1027 1093",
    "eucjpms": "97-98 1121-1122",
    "euckr": "19 85 1043 1109",
    "gb18030": "248-250",
    "gb2312": "24 86 1048 1110",
    "gbk": "28 87 1052 1111",
    "geostd8": "92-93 1116-1117",
    "greek": "25 70 1049 1094",
    "hebrew": "16 71 1040 1095",
    "hp8": "6 72 1030 1096",
    "keybcs2": "37 73 1061 1097",
    "koi8r": "7 74 1031 1098",
    "koi8u": "22 75 1046 1099",
    "latin1": "5 8 15 31 47-49 94 1032 1071",
    "latin2": "2 9 21 27 77 1033 1101",
    "latin5": "30 78 1054 1102",
    "latin7": "20 41-42 79 1065 1103",
    "macce": "38 43 1062 1067",
    "macroman": "39 53 1063 1077",
    "sjis": "13 88 1037 1112",
    "swe7": "10 82 1034 1106",
    "tis620": "18 89 1042 1113",
    "ucs2": "35 90 128-151 159 640-645 1059 1114 1152 1174 2560-2815",
    "ujis": "12 91 1036 1115",
    "utf16": "54-55 101-124 672-677 1078-1079 1125 1147 2816-3071",
    "utf16le": "56 62 1080 1086",
    "utf32": "60-61 160-183 736-741 1084-1085 1184 1206 3072-3327",
    "utf8mb3": "33 76 83 192-215 223 576-581 1057 1107 1216 1238 2048-2303",
    "utf8mb4": "45-46 224-247 255-323 608-613 1069-1070 1248 1270 2304-2559",
}
_CODECS = {
    "ascii": "ascii",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}
_BASIC_PLANE = frozenset({"ucs2", "utf8", "utf8mb3"})
"""Character sets that end at U+FFFF."""
_UNDEFINED = "\ufffe"
"""What `codecs.charmap_decode` takes for no character."""
_REPLACEMENT = 0xFFFD


def _by_collation() -> dict[int, str]:
    out: dict[int, str] = {}
    for charset, spans in _COLLATIONS.items():
        for span in spans.split():
            first, _, last = span.partition("-")
            for number in range(int(first), int(last or first) + 1):
                out[number] = charset
    return out


_CHARSET_OF = _by_collation()


def charset_of_collation(collation: int) -> str | None:
    """Return the character set of a collation number, None if it is unknown."""
    return _CHARSET_OF.get(collation)


def text_decoder(charset: str, errors: Errors = "strict") -> Decode | None:
    """Return the decoder of a character set, None if it is unknown or binary.

    Columns have `kernels.text`; this is for what is read one by one: labels and statements.

    Args:
        charset: The server's name of it.
        errors: `replace` gives U+FFFD for what is no text.

    Returns:
        A function from bytes to str; if `errors` is `strict` it raises `UnicodeDecodeError` for
        bytes that are no text, or have no character.
    """
    if charset in _BASIC_PLANE:
        return partial(_basic_plane, charset=charset, errors=errors)
    if charset in _CODECS:
        return partial(str, encoding=_CODECS[charset], errors=errors)
    if has_table(charset):
        return partial(_by_table, charset=charset, errors=errors)
    return None


def _basic_plane(data: bytes, charset: str, errors: Errors) -> str:
    text = data.decode(_CODECS[charset], errors)
    if all(character <= "\uffff" for character in text):
        return text
    if errors == "strict":
        raise UnicodeDecodeError(charset, data, 0, len(data), "a character beyond U+FFFF")
    return "".join(c if c <= "\uffff" else "\ufffd" for c in text)


def _by_table(data: bytes, charset: str, errors: Errors) -> str:
    points = code_points(charset)
    if len(points) == TWO_BYTE_CODES:
        return codecs.charmap_decode(data, errors, _characters(charset))[0]
    out: list[str] = []
    at = 0
    while at < len(data):
        point, size = int(points[data[at]]), 1
        if point < NO_CHARACTER:
            point, size = longer_code(data, at, len(data), points, point)
        if point < 0:
            if errors == "strict":
                raise UnicodeDecodeError(charset, data, at, at + 1, "no character")
            point, size = _REPLACEMENT, 1
        out.append(chr(point))
        at += size
    return "".join(out)


@cache
def _characters(charset: str) -> str:
    points = code_points(charset).tolist()
    return "".join(_UNDEFINED if point == NO_CHARACTER else chr(point) for point in points)
