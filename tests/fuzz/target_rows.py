"""The reader of result sets as a target: mutated packets in both protocols.

In: a seeded generator. Out: what became of the case, or an error that must not be.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest import mock

from resources.errors import CdcError
from resources.mysql import result_rows, result_set
from resources.mysql.result_rows import Rows
from tests.fuzz.corpus import RecordedRows, result_sets
from tests.fuzz.guard import Guard
from tests.fuzz.mutate import spoil


@dataclass(frozen=True)
class RowsCase:
    """One case.

    Attributes:
        rows: The result set, its bytes damaged.
        seed: Of how the bytes arrive.
    """

    rows: RecordedRows
    seed: int

    @property
    def content(self) -> bytes:
        """The packets."""
        return self.rows.data


def make(rng: Random) -> RowsCase:
    """Return a damaged result set."""
    recorded = rng.choice(result_sets())
    packets = _split(recorded.data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _damage(rng, packets)
    if rng.random() < 0.9:
        packets = _numbered(packets, recorded.sequence)
    data = b"".join(packets)
    if rng.random() < 0.1:
        data = spoil(rng, data)
    fields = vars(recorded)
    return RowsCase(RecordedRows(**{**fields, "data": data}), rng.getrandbits(32))


def _split(data: bytes) -> list[bytes]:
    at, out = 0, []
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 3], "little")
        out.append(data[at:end])
        at = end
    return out


def _damage(rng: Random, packets: list[bytes]) -> None:
    index = rng.randrange(len(packets))
    kind = rng.random()
    if kind < 0.85:
        packets[index] = packets[index][:4] + spoil(rng, packets[index][4:])
    elif kind < 0.90:
        packets.insert(rng.randrange(len(packets) + 1), packets[index])
    elif kind < 0.95 and len(packets) > 1:
        del packets[index]
    else:
        packets[index] = spoil(rng, packets[index])


def _numbered(packets: list[bytes], sequence: int) -> list[bytes]:
    """The same with true sizes and numbers."""
    out = []
    for number, packet in enumerate(packets, sequence):
        body = packet[4:]
        out.append(len(body).to_bytes(3, "little") + bytes([number & 0xFF]) + body)
    return out


class _Connection:
    """As much of a PyMySQL connection as `select_arrow` touches once its statement runs."""

    def __init__(self, case: RowsCase) -> None:
        self._rng = Random(case.seed)
        self._bytes = io.BytesIO(case.rows.data)
        self._next_seq_id = case.rows.sequence
        self._sock = self._rfile = self

    def recv_into(self, view: memoryview) -> int:
        part = self._bytes.read(min(len(view), self._rng.choice((1, 4, 100, 1 << 20))))
        view[: len(part)] = part
        return len(part)

    def read1(self, size: int) -> bytes:
        return self._bytes.read(min(size, 50))

    def cursor(self) -> Any:
        cursor = mock.MagicMock()
        cursor.__enter__.return_value.mogrify.side_effect = lambda sql, _: sql
        return cursor


def run(case: RowsCase) -> str:
    """Read a case; its outcome in a word.

    Raises:
        Exception: Anything but the outcomes allowed.
    """
    rng = Random(case.seed)
    schema, rows = case.rows.schema, 0
    statement = mock.patch.object(result_set, "run_statement", lambda *_: case.rows.statement)
    ended = mock.patch.object(result_set, "end_statement", lambda *_, **__: None)
    connection: Any = _Connection(case)
    try:
        with statement, ended:
            for part in result_set.select_arrow(
                connection,
                f"SELECT {result_set.select_list(schema)} FROM t",
                (),
                schema,
                zero_dates=rng.choice(("null", "dirty")),
                batch_rows=rng.choice((1, 3, 20_000)),
            ):
                part.rows.validate(full=True)
                rows += part.rows.num_rows + len(part.rejected)
    except CdcError as error:
        return type(error).__name__
    return "whole, rows" if rows else "whole"


def warm_up() -> None:
    """Read the corpus as it is.

    Raises:
        AssertionError: Its rows do not come out.
    """
    for rows in result_sets():
        if (outcome := run(RowsCase(rows, 0))) != "whole, rows":
            raise AssertionError(f"{rows.schema.table}: {outcome}")


def guard_inputs() -> None:
    """Have the kernels read from memory that ends where their bytes do."""
    walk = result_rows.walk
    walked, converted = Guard(), Guard()

    def guarded_walk(data: Any, begin: int, end: int, *others: Any) -> Any:
        return walk(walked.place(data[:end]), begin, end, *others)

    class GuardedRows(Rows):
        def column(self, number: int) -> Any:
            end = int(self.table.end[self.count - 1])
            return self.table.cells(converted.place(self.data[:end]), number, self.count)

    result_rows.walk = guarded_walk
    result_rows.Rows = GuardedRows  # type: ignore[misc]
