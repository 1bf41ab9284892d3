"""MySQL's character sets of one to four bytes a character as tables of code points.

In: the server's name of a character set. Out: one int32 array that gives for every code the
character the server itself converts it to, made from Python's codec and `_PATCHES`.

The patches were measured: MySQL 9.7 and MariaDB 10.11 were asked for `CONVERT(CONVERT(code USING
charset) USING utf8mb4)` of every code of one and two bytes, and of three where there are such;
tests/mysql/kernels/test_charsets.py asks them again. Every character of one is the same on the
other. A code for which they print a question mark has no character. For a few codes of big5 and
tis620 they have U+FFFD, and so have we.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.int32]
"""Code points by code. First the 256 codes of one byte, then the 65536 of two, if any, then in EUC
those of three by their last two bytes, in gb18030 those of four by their number. Negative:
`NO_CHARACTER`, or minus the bytes of the codes that begin so."""

NO_CHARACTER = -1
TWO_BYTES = -2
THREE_BYTES = -3
FOUR_BYTES = -4
TWO_BYTE_CODES = 256
"""Index of the first code of two bytes."""
LONGER_CODES = TWO_BYTE_CODES + 65536
"""Index of the first code of three bytes (EUC) or four (gb18030)."""
FOUR_BYTE_CODES = 39420
"""Codes of four bytes of gb18030 within the basic plane; later ones are computed."""
SUPPLEMENTARY = 189000
"""Number of gb18030's four-byte code of U+10000."""

_SINGLE_BYTE = {
    "armscii8": "latin-1",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "dec8": "latin-1",
    "geostd8": "latin-1",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "hp8": "hp-roman8",
    "keybcs2": "ascii",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac-latin2",
    "macroman": "mac-roman",
    "swe7": "ascii",
    "tis620": "tis-620",
}
_DOUBLE_BYTE = {
    "big5": "big5",
    "cp932": "cp932",
    "euckr": "cp949",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "sjis": "shift_jis",
}
_EUC_JAPANESE = {"eucjpms": "euc_jp", "ujis": "euc_jp"}
_GB18030 = {"gb18030": "gb18030"}
_CODECS = _SINGLE_BYTE | _DOUBLE_BYTE | _EUC_JAPANESE | _GB18030
_THIRD_SET = 0x8F
"""First of the three bytes of JIS X 0212 in EUC."""

_NONE = "?"
_PATCHES: dict[str, dict[str, str]] = {
    "armscii8": {
        "a1": "❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑց"
        "ՒւՓփՔքՕօՖֆ’'"
    },
    "big5": {
        "a15a": "\ufffd",
        "a1c3": "\ufffd",
        "a1c5": "\ufffd",
        "a1fe": "\ufffd",
        "a240": "\ufffd",
        "a2cc": "\ufffd",
        "a2ce": "\ufffd",
        "f9d6": "碁銹裏墻恒粧嫺",
    },
    "cp1256": dict.fromkeys(("8a", "8f", "98", "9a", "9f", "aa", "c0", "ff"), _NONE),
    "cp866": {"fc": "ⁿ²"},
    "cp932": {"80": _NONE, "a0": _NONE, "fd": _NONE * 3},
    "dec8": {
        "a4": _NONE,
        "a6": _NONE,
        "a8": "¤",
        "ac": _NONE * 4,
        "b4": _NONE,
        "b8": _NONE,
        "be": _NONE,
        "d0": _NONE,
        "d7": "Œ",
        "dd": "Ÿ?",
        "f0": _NONE,
        "f7": "œ",
        "fd": "ÿ??",
    },
    "eucjpms": {
        "a1c1": "～∥",
        "a1dd": "－",
        "a1f1": "￠￡",
        "a2cc": "￢",
        "ada1": "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ",
        "adc0": "㍉㌔㌢㍍㌘㌧㌃㌶㍑㍗㌍㌦㌣㌫㍊㌻㎜㎝㎞㎎㎏㏄㎡",
        "addf": "㍻〝〟№㏍℡㊤㊥㊦㊧㊨㈱㈲㈹㍾㍽㍼≒≡∫∮∑√⊥∠∟⊿∵∩∪",
        "8fa2b7": "～",
        "8fa2c3": "￤",
        "8ff3f3": "ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅠⅡ",
        "8ff4a1": "ⅢⅣⅤⅥⅦⅧⅨⅩ＇＂㈱№℡炻仼僴凬匇匤\ufa0e咊坙\ufa0f\ufa10增寬峵嵓\ufa11德悅愠敎昻晥"
        "\ufa12\uf929栁\ufa13\ufa14橫櫢淸淲瀨\ufa15\ufa16甁皂皞\ufa17礰\ufa18"
        "\ufa19\ufa1a\ufa1b竧\ufa1c\ufa1d綠緖\ufa1e荢\ufa1f薰\ufa20\ufa21蠇"
        "\ufa22譿賴赶\ufa23\ufa24\ufa25郞\ufa26鄕\ufa27\ufa28閒\uf9dc\ufa29"
        "霻靍靑\ufa2a\ufa2b\ufa2c馞髙魲\ufa2d黑",
    },
    "gb18030": {"a8bc": "ḿ", "8135f437": "\ue7c7"},
    "geostd8": {
        "80": "€?‚?„…†‡?‰?‹?????‘’“”•–—???›????",
        "c0": "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ" + _NONE * 23 + "№??",
    },
    "greek": {"a1": "ʽʼ", "a4": "??", "aa": _NONE},
    "hebrew": {"af": "‾"},
    "keybcs2": {
        "80": "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘťáíóúňŇŮÔšřŕŔ¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙"
        "╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\xa0"
    },
    "koi8u": {"95": "•"},
    "latin1": {"81": "\x81", "8d": "\x8d", "8f": "\x8f\x90", "9d": "\x9d"},
    "sjis": {"815f": "\\"},
    "swe7": {"40": "É", "5b": "ÄÖÅÜ", "60": "é", "7b": "äöåü?"},
    "tis620": {"a0": "\ufffd", "db": "\ufffd" * 4, "fc": "\ufffd" * 4},
    "ujis": {"a1c0": "\\"},
}


def has_table(charset: str) -> bool:
    """Return whether `code_points` knows a character set."""
    return charset in _CODECS


@cache
def code_points(charset: str) -> Points:
    """Return the table of a character set, read-only and the same one at every call.

    Args:
        charset: The server's name of it; `has_table` is true for it.
    """
    codec = _CODECS[charset]
    longer = {**dict.fromkeys(_EUC_JAPANESE, 65536), "gb18030": FOUR_BYTE_CODES}.get(charset, 0)
    double = charset not in _SINGLE_BYTE
    points = np.full(LONGER_CODES + longer if double else 256, NO_CHARACTER, np.int32)
    leads = [byte for byte in range(256) if not _fill(points, bytes([byte]), codec)]
    if double:
        for lead in leads:
            for trail in range(256):
                if _fill(points, bytes([lead, trail]), codec):
                    points[lead] = TWO_BYTES
    if charset in _EUC_JAPANESE:
        _add_third_set(points, codec)
    elif charset in _GB18030:
        _add_four_bytes(points, codec)
    for digits, text in _PATCHES.get(charset, {}).items():
        code = bytes.fromhex(digits)
        at = _index(code)
        if len(code) == 2:
            points[code[0]] = TWO_BYTES
        points[at : at + len(text)] = [NO_CHARACTER if c == _NONE else ord(c) for c in text]
    points.flags.writeable = False
    return points


def longer_code(
    data: bytes | npt.NDArray[np.uint8], at: int, end: int, points: Points, form: int
) -> tuple[int, int]:
    """Return the character of a code of more than one byte, and its bytes; for Python and kernels.

    Args:
        data: The bytes.
        at: Where the code begins.
        end: Where its text ends, within `data`.
        points: The table of a character set that has codes so long.
        form: What the table has for the first byte, less than `NO_CHARACTER`.

    Returns:
        A negative character if the code has none.
    """
    length = 3 if form == THREE_BYTES else 2
    if at + length > end:
        return NO_CHARACTER, length
    if length == 3:
        return int(points[LONGER_CODES + data[at + 1] * 256 + data[at + 2]]), length
    point = int(points[TWO_BYTE_CODES + data[at] * 256 + data[at + 1]])
    if point != FOUR_BYTES:
        return point, length
    if at + 4 > end:
        return NO_CHARACTER, 4
    third, fourth = data[at + 2] - 0x81, data[at + 3] - 0x30
    if third < 0 or third > 125 or fourth < 0 or fourth > 9:
        return NO_CHARACTER, 4
    number = (data[at] - 0x81) * 10 + data[at + 1] - 0x30
    number = (number * 126 + third) * 10 + fourth
    if number < FOUR_BYTE_CODES:
        return int(points[LONGER_CODES + number]), 4
    point = number - SUPPLEMENTARY + 0x10000
    return (point if 0x10000 <= point <= 0x10FFFF else NO_CHARACTER), 4


def _index(code: bytes) -> int:
    """Return where a code is in the table; one of four bytes must be within the basic plane."""
    if len(code) == 4:
        a, b, c, d = code
        return LONGER_CODES + (((a - 0x81) * 10 + b - 0x30) * 126 + c - 0x81) * 10 + d - 0x30
    value = int.from_bytes(code[-2:], "big")
    return value + (0, TWO_BYTE_CODES, LONGER_CODES)[len(code) - 1]


def _fill(points: Points, code: bytes, codec: str) -> bool:
    try:
        character = code.decode(codec)
    except UnicodeDecodeError:
        return False
    points[_index(code)] = ord(character)
    return True


def _add_third_set(points: Points, codec: str) -> None:
    """Add the codes of three bytes, and the rows the servers give to private use."""
    points[_THIRD_SET] = THREE_BYTES
    for row in range(0xA1, 0xFF):
        for column in range(0xA1, 0xFF):
            _fill(points, bytes([_THIRD_SET, row, column]), codec)
    private = 0xE000
    for first in (TWO_BYTE_CODES, LONGER_CODES):
        for row in range(0xF5, 0xFF):
            at = first + (row << 8 | 0xA1)
            points[at : at + 94] = range(private, private + 94)
            points[row] = TWO_BYTES
            private += 94


def _add_four_bytes(points: Points, codec: str) -> None:
    for a in range(0x81, 0x85):
        for b in range(0x30, 0x3A):
            at = TWO_BYTE_CODES + (a << 8 | b)
            for c in range(0x81, 0xFF):
                for d in range(0x30, 0x3A):
                    if (code := bytes([a, b, c, d])) < b"\x84\x31\xa5\x30":
                        _fill(points, code, codec)
            points[at] = FOUR_BYTES
    for a in range(0x85, 0xFF):
        at = TWO_BYTE_CODES + (a << 8 | 0x30)
        points[at : at + 10] = FOUR_BYTES
        points[a] = TWO_BYTES
