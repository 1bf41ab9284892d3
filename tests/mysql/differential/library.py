"""`mysql-replication` as a second opinion, and the cells in which it is wrong.

In: a table's inserts in a server's log. Out: the library's rows as plain values (`readings`).
Each entry of `FAULTS` is one type and one class of values; `test_library` fails when the library
is wrong elsewhere, and when it has become right in one of these.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent

from resources.model.position import BinlogPosition
from tests.mysql.binlog.log import Log
from tests.mysql.differential.columns import EPOCH, ColumnCase, NoSuchDate

_SECOND = dt.timedelta(microseconds=1)
_MIDNIGHT = dt.datetime(1970, 1, 1)
Wrong = Callable[[ColumnCase, str, Any], bool]
"""From a column, the literal of a cell and what the server prints: is the library wrong there?"""


@dataclass(frozen=True)
class Fault:
    """One class of cells in which the library is wrong.

    Attributes:
        name: What happens, in words.
        family: Columns it happens in.
        wrong: Which of their cells.
        example: Column type and literal that show it.
        gives: What the library makes of the example: a value, or the type of its exception.
        servers: Where the type exists.
    """

    name: str
    family: str
    wrong: Wrong
    example: tuple[str, str]
    gives: Any
    servers: tuple[str, ...] = ("mysql", "mariadb")

    @property
    def kills(self) -> bool:
        """Whether the stream ends there, so that no other cell of the table is read either."""
        return isinstance(self.gives, type)


def read(log: Log, start: BinlogPosition, table: str) -> dict[int, dict[str, Any]]:
    """Return the rows inserted into a table since a position, by id, as the library gives them."""
    server = log.server
    stream = BinLogStreamReader(
        connection_settings={
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
        },
        server_id=9911,
        log_file=start.file,
        log_pos=start.offset,
        resume_stream=True,
        only_events=[WriteRowsEvent],
        only_schemas=[log.database],
        only_tables=[table],
        enable_logging=False,
    )
    try:
        rows = [row["values"] for event in stream for row in event.rows]
    finally:
        stream.close()
    return {row["id"]: row for row in rows}


def plain(case: ColumnCase, value: Any) -> Any:
    """Return a library's value as `readings` has it; what does not fit the type stays as it is."""
    convert = _PLAIN.get(case.family)
    try:
        return value if value is None or convert is None else convert(value)
    except (TypeError, ValueError, AttributeError):
        return value


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "bit": lambda text: int(text, 2),
    "date": lambda day: (day - EPOCH).days,
    "datetime": lambda at: (at - _MIDNIGHT) // _SECOND,
    "timestamp": lambda at: (at - _MIDNIGHT) // _SECOND,
    "time": lambda span: span // _SECOND,
    "set": frozenset,
    "bytes": lambda data: data or b"",
    "binary": lambda data: data or b"",
    "geometry": lambda data: (int.from_bytes(data[:4], "little"), data[4:]),
    "json": lambda value: _json(value),
}


def expected(case: ColumnCase, printed: Any) -> Any:
    """Return what the server prints in the form `plain` has."""
    if printed is None or isinstance(printed, NoSuchDate):
        return None
    if case.family == "set":
        return frozenset(printed.split(",")) if printed else frozenset()
    if case.family == "float":
        return struct.unpack("<f" if len(printed) == 8 else "<d", bytes.fromhex(printed))[0]
    if case.family == "json" and printed == "null":
        return "JSON null, which is not NULL"
    if case.family == "json":
        return _numbers(json.loads(printed, parse_float=Decimal))
    return printed


def _json(value: Any) -> Any:
    """Bring the library's JSON to what a JSON reader makes of the server's text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_json(k): _json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, dt.datetime):
        return value.strftime(f"{value.year:04}-%m-%d %H:%M:%S.%f")
    if isinstance(value, dt.time):
        return value.strftime("%H:%M:%S.%f")
    return _numbers(value)


def _numbers(value: Any) -> Any:
    """Every number that is no integer as a Decimal, a double by its shortest digits."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return Decimal(repr(value))


def _always(case: ColumnCase, literal: str, printed: Any) -> bool:
    return True


def _cut(case: ColumnCase, literal: str, printed: Any) -> bool:
    return bool(printed.endswith(b"\0"))


def _impossible(case: ColumnCase, literal: str, printed: Any) -> bool:
    if not isinstance(printed, NoSuchDate):
        return False
    return all(int(part) for part in printed.text[:10].split("-"))


def _no_date(case: ColumnCase, literal: str, printed: Any) -> bool:
    return isinstance(printed, NoSuchDate)


def _negative_fraction(case: ColumnCase, literal: str, printed: Any) -> bool:
    return bool(printed < 0 and printed % 10**6)


def _empty(case: ColumnCase, literal: str, printed: Any) -> bool:
    return printed in ("", 0)


def _charset(case: ColumnCase) -> str:
    match = re.search(r"CHARACTER SET (\w+)", case.ddl)
    return match[1] if match else "utf8mb4"


def _text_in(*names: str, holding: str = "") -> Wrong:
    """Texts of these character sets with one of some characters; any text if none are named."""

    def wrong(case: ColumnCase, literal: str, printed: Any) -> bool:
        found = set(printed) & set(holding) if holding else printed
        return _charset(case) in names and bool(found)

    return wrong


def _outside(name: str, own: str, codec: str) -> Wrong:
    """Texts of a character set, in Python `own`, that the codec the library takes cannot hold."""

    def wrong(case: ColumnCase, literal: str, printed: Any) -> bool:
        if _charset(case) != name:
            return False
        try:
            return bool(printed.encode(own).decode(codec) != printed)
        except UnicodeError:
            return True

    return wrong


def _backwards(case: ColumnCase, literal: str, printed: Any) -> bool:
    if _charset(case) != "utf16":
        return False
    return bool(printed.encode("utf-16-be").decode("utf-16-le", "replace") != printed)


def _backwards_no_text(case: ColumnCase, literal: str, printed: Any) -> bool:
    if _charset(case) != "utf16":
        return False
    try:
        printed.encode("utf-16-be").decode("utf-16-le")
    except UnicodeDecodeError:
        return True
    return False


def _label_in_other_charset(case: ColumnCase, literal: str, printed: Any) -> bool:
    charset = _charset(case)
    if charset in ("utf8mb4", "utf8mb3", "ascii"):
        return False
    wide = charset in ("ucs2", "utf16", "utf16le", "utf32")
    two_bytes = charset == "sjis" and "\\" in printed
    return bool(printed) and (wide or two_bytes or not printed.isascii())


def _json_with(*words: str) -> Wrong:
    return lambda case, literal, printed: any(word in literal for word in words)


def _json_with_bytes(case: ColumnCase, literal: str, printed: Any) -> bool:
    return bool(re.search(r"(?<!_utf8mb4 )(?<!')\b[xb]'[0-9a-f]*'|AS BINARY", literal))


def _json_null(case: ColumnCase, literal: str, printed: Any) -> bool:
    return bool(printed == "null")


_TEXT = "VARCHAR(9) CHARACTER SET "
_UNKNOWN = (
    *("armscii8", "dec8", "eucjpms", "geostd8", "hp8", "keybcs2", "macce", "swe7", "ucs2"),
    "utf16le",
)
_T1 = dt.timedelta(microseconds=-750_000)
FAULTS = (
    Fault("trailing zero bytes of BINARY are cut", "binary", _cut, ("BINARY(3)", "x'6100'"), b"a"),
    Fault("an impossible DATE", "date", _impossible, ("DATE", "'2021-02-31'"), ValueError),
    Fault("a zero TIMESTAMP is 1970", "timestamp", _no_date, ("TIMESTAMP NULL", "0"), _MIDNIGHT),
    Fault("a negative TIME with a fraction", "time", _negative_fraction,
          ("TIME(2)", "'-00:00:00.25'"), _T1),
    Fault("an empty SET is None", "set", _empty, ("SET('a')", "''"), None),
    Fault("the zero YEAR is 1900", "year", _empty, ("YEAR", "0"), 1900),
    Fault("JSON null is None", "json", _json_null, ("JSON", "'null'"), None, ("mysql",)),
    Fault("a DATE in JSON is a midnight", "json", _json_with("DATE'"),
          ("JSON", "JSON_ARRAY(DATE'2021-02-03')"), [dt.datetime(2021, 2, 3)], ("mysql",)),
    Fault("a negative TIME in JSON", "json", _json_with("TIME'-"),
          ("JSON", "JSON_ARRAY(TIME'-01:02:03')"), [dt.time(1, 2, 3)], ("mysql",)),
    Fault("a TIME in JSON beyond a day", "json", _json_with("TIME'"),
          ("JSON", "JSON_ARRAY(TIME'25:00:00')"), ValueError, ("mysql",)),
    Fault("bytes in JSON", "json", _json_with_bytes,
          ("JSON", "JSON_ARRAY(x'00ff')"), ["\0"], ("mysql",)),
    Fault("VECTOR breaks its table", "vector", _always,
          ("VECTOR(3)", "x'0000c03f'"), ValueError, ("mysql",)),
    Fault("UUID is bytes", "uuid", _always,
          ("UUID", "'6ccd780c-baba-1026-9564-5b8c656024db'"),
          bytes.fromhex("6ccd780cbaba102695645b8c656024db"), ("mariadb",)),
    Fault("INET6 is bytes", "inet6", _always, ("INET6", "'fe80::1'"),
          bytes.fromhex("fe80" + "00" * 13 + "01"), ("mariadb",)),
    Fault("INET4 is bytes", "inet4", _always, ("INET4", "'1.2.3.4'"), b"\1\2\3\4", ("mariadb",)),
    Fault("labels are taken for UTF-8", "enum", _label_in_other_charset,
          ("ENUM('ü') CHARACTER SET latin1", "1"), ""),
    Fault("labels are taken for UTF-8", "set", _label_in_other_charset,
          ("SET('ü') CHARACTER SET latin1", "1"), {""}),
    Fault("character sets it does not know are bytes", "text",
          _text_in(*_UNKNOWN), (_TEXT + "ucs2", "'a'"), b"\0a"),
    Fault("UTF-16 is read backwards", "text", _backwards, (_TEXT + "utf16", "'a'"), "愀"),
    Fault("UTF-16 that is none backwards", "text", _backwards_no_text,
          (_TEXT + "utf16", "_utf16 x'00d8'"), UnicodeDecodeError),
    Fault("UTF-32 is read backwards", "text", _text_in("utf32"), (_TEXT + "utf32", "'a'"),
          UnicodeDecodeError),
    Fault("five bytes of latin1", "text", _text_in("latin1", holding="\x81\x8d\x8f\x90\x9d"),
          (_TEXT + "latin1", "_latin1 x'81'"), UnicodeDecodeError),
    Fault("the overline of hebrew", "text", _text_in("hebrew", holding="‾"),
          (_TEXT + "hebrew", "_utf8mb4 x'e280be'"), "¯"),
    Fault("the bullet of koi8u", "text", _text_in("koi8u", holding="•"),
          (_TEXT + "koi8u", "_utf8mb4 x'e280a2'"), "∙"),
    Fault("the backslash of sjis", "text", _text_in("sjis", holding="\\"),
          (_TEXT + "sjis", "_utf8mb4 x'5c'"), "＼"),
    Fault("two signs of cp866", "text", _text_in("cp866", holding="ⁿ²"),
          (_TEXT + "cp866", "_utf8mb4 x'c2b2'"), "¤"),
    Fault("two quotes of greek", "text", _text_in("greek", holding="ʽʼ"),
          (_TEXT + "greek", "_utf8mb4 x'cabd'"), "‘"),
    Fault("two letters of gb18030", "text", _text_in("gb18030", holding="\ue7c7\u1e3f"),
          (_TEXT + "gb18030", "_utf8mb4 x'e1b8bf'"), "\ue7c7", ("mysql",)),
    Fault("the extensions of big5", "text", _outside("big5", "big5", "big5"),
          (_TEXT + "big5", "_big5 x'F9D6'"), UnicodeDecodeError),
    Fault("most syllables of euckr", "text", _outside("euckr", "cp949", "euc_kr"),
          (_TEXT + "euckr", "_euckr x'8141'"), UnicodeDecodeError),
    Fault("the user-defined characters of ujis", "text", _outside("ujis", "euc_jp", "euc_jp"),
          (_TEXT + "ujis", "_ujis x'F5A1'"), UnicodeDecodeError),
)  # fmt: skip


def faults_of(case: ColumnCase, literal: str, printed: Any) -> list[Fault]:
    """Return the faults that a cell runs into."""
    if printed is None:
        return []
    same = [fault for fault in FAULTS if fault.family == case.family]
    return [fault for fault in same if fault.wrong(case, literal, printed)]
