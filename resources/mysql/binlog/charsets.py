"""MySQL's character sets as decoders to Unicode, and which collation belongs to which.

In: collation numbers of a table map, bytes of a text value. Out: str, exactly the characters the
server itself converts those bytes to; `UnicodeDecodeError` for bytes that are no text.

Python's codecs differ from the server's conversions in a few code points (found by comparing
every one- and two-byte code with MySQL 9.7 and MariaDB 10.11); `_DIFFERENCES` mends those.
Character sets without a Python codec (armscii8, dec8, geostd8, keybcs2, swe7) are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Decode: TypeAlias = Callable[[bytes], str]

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
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "hp8": "hp-roman8",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "latin1": "latin-1",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac-latin2",
    "macroman": "mac-roman",
    "sjis": "shift_jis",
    "tis620": "tis-620",
    "ucs2": "utf-16-be",
    "ujis": "euc_jp",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}


def _latin1_to_cp1252() -> dict[int, int]:
    """MySQL's latin1 is cp1252 whose five unassigned bytes are the C1 controls."""
    pairs = ((b, bytes([b]).decode("cp1252", "ignore")) for b in range(0x80, 0xA0))
    return {b: ord(char) for b, char in pairs if char}


_DIFFERENCES: dict[str, dict[int, int]] = {
    "cp866": str.maketrans("№¤", "ⁿ²"),
    "eucjpms": str.maketrans("〜‖−¢£¬", "～∥－￠￡￢"),
    "gb18030": str.maketrans("\ue7c7\u1e3f", "\u1e3f\ue7c7"),
    "greek": str.maketrans("‘’", "ʽʼ"),
    "hebrew": str.maketrans("¯", "‾"),
    "koi8u": str.maketrans("∙", "•"),
    "latin1": _latin1_to_cp1252(),
    "sjis": str.maketrans("＼", "\\"),
    "ujis": str.maketrans("＼", "\\"),
}


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


def codec_of_collation(collation: int) -> str | None:
    """Return the Python codec for a collation's text, None if there is none."""
    return _CODECS.get(_CHARSET_OF.get(collation, ""))


def text_decoder(charset: str) -> Decode | None:
    """Return the decoder of a character set, None if there is none.

    Args:
        charset: The server's name of it.

    Returns:
        A function from bytes to str that raises `UnicodeDecodeError` for bytes that are no text.
    """
    codec = _CODECS.get(charset)
    if codec is None:
        return None
    table = _DIFFERENCES.get(charset)
    if table is None:
        return lambda data: data.decode(codec)
    return lambda data: data.decode(codec).translate(table)
