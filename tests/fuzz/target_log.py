"""The log decoder as a target: mutated log files, as files and as packets of a connection.

In: a seeded generator. Out: what became of the case, or an error that must not be.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from random import Random
from typing import Any

import pyarrow as pa

from resources.errors import CdcError, CorruptEvent
from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import Column, TableId, TableSchema
from resources.mysql.binlog import decoder as decoder_module
from resources.mysql.binlog.batches import FoundRows
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.kernels import walk_state as w
from tests.fuzz.corpus import MAGIC, RecordedLog, logs
from tests.fuzz.guard import Guard
from tests.fuzz.mutate import mutated_log, spoil

FILE = "binlog.000001"
_ADDRESSES = {"uuid": "string", "inet6": "string", "inet4": "string"}
_PART = 0xFFFFFF


@dataclasses.dataclass(frozen=True)
class LogCase:
    """One case.

    Attributes:
        flavor: Whose log it is.
        events: What follows the magic number.
        packets: Whether the events come as packets.
        seed: Of everything else: how the bytes are cut, limits, which tables are wanted.
    """

    flavor: Any
    events: tuple[bytes, ...]
    packets: bool
    seed: int

    @property
    def content(self) -> bytes:
        """The case as a log file, to be looked at with other tools."""
        return MAGIC + b"".join(self.events)


def make(rng: Random) -> LogCase:
    """Return a damaged log."""
    every = logs()
    log = rng.choice(
        [log for log in every if sum(map(len, log.events)) < 100_000 or not _rare(rng)]
    )
    return of_log(rng, log, mutated_log(rng, log, every))


def of_log(rng: Random, log: RecordedLog, events: list[bytes]) -> LogCase:
    """Return a case of these events."""
    return LogCase(log.flavor, tuple(events), rng.random() < 0.25, rng.getrandbits(32))


def _rare(rng: Random) -> bool:
    return rng.random() < 0.9


def run(case: LogCase) -> str:
    """Decode a case; its outcome in a word.

    Raises:
        Exception: Anything but the outcomes allowed.
    """
    outcome, rows = _decode(case, 0)
    if case.seed % 8 == 0 and (again := _decode(case, 1)) != (outcome, rows):
        raise AssertionError(f"cut otherwise it gives {again[0]}, not {outcome}; or other rows")
    return f"{outcome}, rows" if rows else outcome


def _decode(case: LogCase, cut: int) -> tuple[str, list[tuple[int, str]]]:
    """Return how it ended, and the change rows before that; none if it ended in an error."""
    rows: list[tuple[int, str]] = []
    try:
        for piece in _slices(case, Random(case.seed), Random(f"{case.seed}:{cut}")):
            _check(piece)
            rows += _texts(piece)
    except CorruptEvent as error:
        if not error.where or not error.message:
            raise AssertionError(f"{error!r} does not say where or what") from error
        return "CorruptEvent", []
    except (CdcError, ConnectionLost) as error:
        return type(error).__name__, []
    return "whole", sorted(rows)


def _texts(piece: LogSlice) -> list[tuple[int, str]]:
    """Each row's counter and its values as text."""
    out = [(row.seq, f"{row.op} {row.field} {row.message}") for row in piece.rejected]
    for batch in piece.batches:
        columns = [column.cast(pa.int64()) if pa.types.is_temporal(column.type)
                   and column.type.bit_width == 64 else column
                   for column in batch.rows.columns]  # fmt: skip
        at = batch.rows.schema.get_field_index("_cdc_seq")
        for row in zip(*(column.to_pylist() for column in columns), strict=True):
            out.append((row[at], repr(row)))
    return out


def _check(piece: LogSlice) -> None:
    """What comes out is valid Arrow, whatever went in."""
    for batch in piece.batches:
        batch.rows.validate(full=True)
    for row in piece.rejected:
        with pa.ipc.open_stream(row.image) as reader:
            reader.read_all().validate(full=True)
    if piece.rows != sum(b.rows.num_rows for b in piece.batches) + len(piece.rejected):
        raise AssertionError("the slice miscounts its rows")


def _slices(case: LogCase, rng: Random, cut: Random) -> Iterator[LogSlice]:
    start = BinlogPosition(FILE, 4, "", ServerIdentity(case.flavor, "x"))
    some = rng.random() < 0.1
    options = StreamOptions(
        zero_dates=rng.choice(("null", "dirty")),
        slice_rows=cut.choice((1, 7, 20_000)),
        transaction_rows=cut.choice((2, 100_000)),
        catalog=_catalog,
        tables=lambda: [TableId("shop", "plain")],
    )
    decoder = LogDecoder(start, case.flavor, None, lambda t: not some or len(t.table) % 2 == 0,
                         lambda: False, options)  # fmt: skip
    if case.packets:
        decoder.begin_packets(True, False, lambda payload: ConnectionLost("no event"))
        data = _as_packets(case.events, rng)
    else:
        decoder.begin_events(checksums=True)
        decoder.enter_file(FILE, 4)
        data = b"".join(case.events)
    at = 0
    whole = cut.random() < 0.5
    while at < len(data) and not decoder.done:
        room = decoder.room()
        size = len(room) if whole else cut.choice((1, 19, 100, 1000, 70_000))
        part = data[at : at + min(size, len(room))]
        room[: len(part)] = part
        decoder.received(len(part))
        at += len(part)
        yield from decoder.slices()
    if not decoder.done:
        yield decoder.last()


def _as_packets(events: tuple[bytes, ...], rng: Random) -> bytes:
    out, sequence = [], 1
    for event in events:
        payload = b"\0" + event
        for begin in range(0, len(payload) + 1, _PART):
            part = payload[begin : begin + _PART]
            out.append(len(part).to_bytes(3, "little") + bytes([sequence & 0xFF]) + part)
            sequence += 1
    if rng.random() < 0.2:
        index = rng.randrange(len(out))
        out[index] = spoil(rng, out[index][:6]) + out[index][6:]
    return b"".join(out)


@functools.cache
def _catalog(table: TableId) -> TableSchema | None:
    """A catalog that says of some columns that they are MariaDB's addresses."""
    types = ("uuid", "inet6", "inet4")
    columns = tuple(
        Column(f"c{i}", pa.string(), types[i % 3], True, "uuid" if i % 3 == 0 else "inet")
        for i in range(6, 16)
    )
    return TableSchema(table, columns, ())


def guard_inputs() -> None:
    """Have the kernels read from memory that ends where their bytes do."""
    walk, convert = decoder_module.walk, decoder_module.convert
    walked, converted = Guard(), Guard()

    def guarded_walk(data: Any, state: Any, *others: Any) -> int:
        return walk(walked.place(data[: state[w.END]]), state, *others)

    def guarded_convert(found: FoundRows, shapes: Any) -> Iterator[Any]:
        end = int(found.rows[:, w.OUT_END].max())
        data = converted.place(found.data[:end])
        yield from convert(dataclasses.replace(found, data=data), shapes)

    decoder_module.walk = guarded_walk  # type: ignore[assignment]
    decoder_module.convert = guarded_convert  # type: ignore[assignment]


def shrink_buffers(rows: int, cells: int) -> None:
    """Make the decoder's buffers so small that they fill up all the time."""
    decoder_module._ROWS, decoder_module._CELLS = rows, cells
