"""The converters as a target: any bytes as cells of any type, and what Python makes of them.

In: a seeded generator. Out: what became of the case, or an error that must not be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import pyarrow as pa

from resources.mysql.binlog.charsets import text_decoder
from resources.mysql.binlog.json_value import BadJson, json_text
from resources.mysql.kernels.cells import Cells, Converter
from resources.mysql.kernels.json import json_converter
from resources.mysql.kernels.text import text_converter
from tests.fuzz.corpus import logs
from tests.fuzz.guard import Guard
from tests.fuzz.mutate import spoil

_CHARSETS = (
    *("armscii8", "big5", "cp1250", "cp1251", "cp1256", "cp866", "cp932", "dec8", "eucjpms"),
    *("euckr", "gb18030", "gb2312", "gbk", "geostd8", "greek", "hebrew", "koi8u", "latin1"),
    *("sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8mb3", "utf8mb4"),
)
_guard: list[Guard] = []


@dataclass(frozen=True)
class CellsCase:
    """One case.

    Attributes:
        kind: `json`, or a character set.
        values: Its cells, None for NULL.
    """

    kind: str
    values: tuple[bytes | None, ...]

    @property
    def content(self) -> bytes:
        """The cells end to end."""
        return b"".join(value or b"" for value in self.values)


def make(rng: Random) -> CellsCase:
    """Return some cells of one type."""
    kind = "json" if rng.random() < 0.5 else rng.choice(_CHARSETS)
    some = _json if kind == "json" else _text
    count = rng.randint(1, 8)
    return CellsCase(kind, tuple(None if rng.random() < 0.1 else some(rng) for _ in range(count)))


@functools.cache
def _documents() -> tuple[bytes, ...]:
    """Binary JSON out of the corpus, whatever follows it: it knows its own size."""
    found = []
    for log in logs():
        for event in log.events:
            for at in range(19, min(len(event), 4000)):
                kind, size = event[at], int.from_bytes(event[at + 3 : at + 5], "little")
                if kind in (0, 2) and 4 < size <= len(event) - at - 1:
                    value = event[at : at + 1 + size]
                    if _of_python("json", value) is not None:
                        found.append(value)
    return tuple(dict.fromkeys(found))


def _json(rng: Random) -> bytes:
    data = rng.choice(_documents()) if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 40))
    for _ in range(rng.randint(0, 3)):
        data = spoil(rng, data)
    return data


def _text(rng: Random) -> bytes:
    size = rng.choice((0, 1, 3, 16, 17, 40, 300))
    if rng.random() < 0.5:
        return rng.randbytes(size)
    word = rng.choice(("plain ascii text ", "é€ü", "日本語", "😀")).encode(
        rng.choice(("utf-8", "utf-16-be", "utf-16-le", "gb18030", "utf-32-be"))
    )
    data = (word * (size + 1))[: size + 2]
    return spoil(rng, data) if rng.random() < 0.7 else data


@functools.cache
def _converter(kind: str) -> Converter:
    converter = json_converter() if kind == "json" else text_converter(kind, pa.string())
    assert converter is not None
    return converter


def run(case: CellsCase) -> str:
    """Convert a case and compare it with Python; its outcome in a word.

    Raises:
        Exception: Anything but equal values.
    """
    sizes = np.array([len(value or b"") for value in case.values], np.int64)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    null = np.array([value is None for value in case.values], np.bool_)
    data = np.frombuffer(case.content, np.uint8)
    data = _guard[0].place(data) if _guard else data.copy()
    array, bad, _ = _converter(case.kind)(Cells(data, starts, sizes, null))
    array.validate(full=True)
    wanted = [None if v is None else _of_python(case.kind, v) for v in case.values]
    if array.to_pylist() != wanted:
        raise AssertionError(f"{array.to_pylist()!r}, and Python says {wanted!r}")
    marked = [False] * len(wanted) if bad is None else bad.tolist()
    if marked != [v is not None and w is None for v, w in zip(case.values, wanted, strict=True)]:
        raise AssertionError(f"bad cells are {marked}, values {wanted!r}")
    return "bad cells" if any(marked) else "whole"


def _of_python(kind: str, data: bytes) -> str | None:
    """What the Python code beside the kernel makes of a cell, None if it is none."""
    decode: Callable[[bytes], str] | None = json_text if kind == "json" else text_decoder(kind)
    assert decode is not None
    try:
        return decode(data)
    except (BadJson, UnicodeDecodeError):
        return None


def warm_up() -> None:
    """Convert something of every type."""
    for kind in ("json", *_CHARSETS):
        run(CellsCase(kind, (bytes(40), None, b"plain ascii text, and more")))


def guard_inputs() -> None:
    """Have the kernels read from memory that ends where their bytes do."""
    _guard.append(Guard())
