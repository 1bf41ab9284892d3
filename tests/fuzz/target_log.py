"""The log decoder as a target: mutated log files, as files and as packets of a connection.

In: a seeded generator. Out: what became of the case, or an error that must not be.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any
from unittest import mock

import pyarrow as pa

from resources.errors import CorruptEvent, UnsupportedEvent
from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import Column, TableId, TableSchema
from resources.mysql.binlog import decoder as decoder_module
from resources.mysql.binlog import gatherer as gatherer_module
from resources.mysql.binlog.batches import FoundRows
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import Event, EventFraming
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.kernels import walk_state as w
from resources.mysql.schema_history.history import SchemaHistory
from tests.fuzz.corpus import MAGIC, logs
from tests.fuzz.feed import FILE, begun, fed, in_place, with_spoilt_packet
from tests.fuzz.guard import Guard
from tests.fuzz.mutate import mutated_log
from tests.fuzz.nameless import without_names
from tests.mysql.binlog.log import gathered

_WHOLE = ("types0.log.gz", "types2.log.gz", "big.log.gz", "transactions.log.gz")
"""Logs that make their tables themselves, each by a statement that tells its shape."""
_HARMLESS = 1
"""A seed by which no packet is spoilt and every table is wanted."""


@dataclasses.dataclass(frozen=True)
class LogCase:
    """One case.

    Attributes:
        flavor: Whose log it is.
        events: What follows the magic number.
        packets: Whether the events come as packets.
        named: Whether its table maps name their columns.
        seed: Of everything else: how the bytes are cut, limits, which tables are wanted.
    """

    flavor: Any
    events: tuple[bytes, ...]
    packets: bool
    named: bool
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
    named = rng.random() < 0.8
    events = mutated_log(rng, log if named else without_names(log), every)
    return LogCase(log.flavor, tuple(events), rng.random() < 0.25, named, rng.getrandbits(32))


def _rare(rng: Random) -> bool:
    return rng.random() < 0.9


def run(case: LogCase) -> str:
    """Decode a case; its outcome in a word.

    Raises:
        Exception: Anything but the outcomes allowed.
    """
    outcome, rows = _decode(case, 0)
    if case.seed % 4 == 0 and (again := _decode(case, 1)) != (outcome, rows):
        raise AssertionError(f"cut otherwise it gives {again[0]}, not {outcome}; or other rows")
    if case.seed % 4 == 1:
        _compare_with_loss(case, outcome, rows)
    return f"{outcome}, rows" if rows else outcome


def _compare_with_loss(case: LogCase, outcome: str, rows: list[tuple[int, str]]) -> None:
    """Lose the connection on the way: what was read before is neither lost nor read twice.

    What ended in an error may end otherwise: misplaced events may have been read before.
    """
    ended, again = _decode(case, 1, loses=True)
    if ended == outcome == "whole" and again != rows:
        raise AssertionError("other rows come after the connection was lost")


def _decode(case: LogCase, cut: int, loses: bool = False) -> tuple[str, list[tuple[int, str]]]:
    """Return how it ended, and the change rows before that; none if it ended in an error."""
    rows: list[tuple[int, str]] = []
    try:
        for piece in _slices(case, Random(case.seed), Random(f"{case.seed}:{cut}"), loses):
            _check(piece)
            rows += _texts(piece)
    except CorruptEvent as error:
        if not error.where or not error.message:
            raise AssertionError(f"{error!r} does not say where or what") from error
        return "CorruptEvent", []
    except (UnsupportedEvent, ConnectionLost) as error:
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
        values = zip(*(column.to_pylist() for column in columns), strict=True)
        out += [(row[at], repr(row)) for row in values]
    return out


def _check(piece: LogSlice) -> None:
    """What comes out is valid Arrow, whatever went in."""
    for batch in piece.batches:
        batch.rows.validate(full=True)
    for row in piece.rejected:
        with pa.ipc.open_stream(row.image) as reader:
            reader.read_all().validate(full=True)
    text = piece.end.gtid_set
    if str(GtidSet.parse(text, piece.end.identity.flavor)) != text:
        raise AssertionError(f"a position with a GTID set that is none: {text!r}")
    if piece.rows != sum(b.rows.num_rows for b in piece.batches) + len(piece.rejected):
        raise AssertionError("the slice miscounts its rows")


def _slices(case: LogCase, rng: Random, cut: Random, loses: bool) -> Iterator[LogSlice]:
    return gathered(_pieces(case, rng, cut, loses))


def _pieces(case: LogCase, rng: Random, cut: Random, loses: bool) -> Iterator[Piece]:
    start = BinlogPosition(FILE, 4, "", ServerIdentity(case.flavor, "x"))
    some = rng.random() < 0.1
    options = StreamOptions(
        zero_dates=rng.choice(("null", "dirty")),
        slice_rows=cut.choice((1, 7, 20_000)),
        transaction_rows=cut.choice((2, 100_000)),
        catalog=_catalog,
        tables=lambda: [TableId("shop", "plain")],
        history=None if case.named else _history(case.flavor, start),
    )
    with _buffers(small=cut.random() < 0.3):
        decoder = LogDecoder(
            start,
            case.flavor,
            None,
            lambda t: not some or len(t.table) % 2 == 0,
            lambda: False,
            options,
            lambda prepared: _again(case, prepared.offset),
        )
    data = begun(decoder, case.events, case.packets, len(MAGIC))
    if case.packets and rng.random() < 0.2:
        data = with_spoilt_packet(rng, data)
    elif loses and in_place(case.events):
        yield from fed(decoder, data[: cut.randrange(len(data))], cut)
        if not decoder.done:
            decoder.restart()
            offset = decoder.position().offset
            data = begun(decoder, case.events, case.packets, offset)
    yield from fed(decoder, data, cut)
    if not decoder.done:
        yield from decoder.last()


def _history(flavor: Flavor, start: BinlogPosition) -> SchemaHistory:
    """Shapes by statements alone, as archived logs are read."""
    server = ServerKind(flavor, 90_700 if flavor == "mysql" else 101_100)
    history = SchemaHistory(server, lambda table: True, "", {}, None)
    history.begin(start, (), lambda: {"shop": "utf8mb4"})
    return history


def _buffers(small: bool) -> AbstractContextManager[Any]:
    """Decoders made inside have buffers that fill up all the time, if they are to be small."""
    if not small:
        return nullcontext()
    sizes = {"_ROWS": 2, "_RUNS": 1, "_WINDOW_BYTES": 64, "_INNER_BYTES": 64}
    return mock.patch.multiple(decoder_module, **sizes)


def _again(case: LogCase, offset: int) -> Iterator[Event]:
    """The log from a place on, as it is read again for a prepared transaction."""
    framing, at = EventFraming(), len(MAGIC)
    for number, data in enumerate(case.events):
        if number == 0 or at >= offset:
            yield framing.parse(data, FILE)
        at += len(data)


@functools.cache
def _catalog(table: TableId) -> TableSchema | None:
    """A catalog that says of some columns that they are MariaDB's addresses."""
    types = ("uuid", "inet6", "inet4")
    columns = tuple(
        Column(f"c{i}", pa.string(), types[i % 3], True, "uuid" if i % 3 == 0 else "inet")
        for i in range(6, 16)
    )
    return TableSchema(table, columns, ())


def warm_up() -> None:
    """Decode the corpus as it is.

    Raises:
        AssertionError: Its rows do not come out.
    """
    wanted = "whole, rows"
    for log in logs():
        for packets in (False, True):
            outcome = run(LogCase(log.flavor, log.events, packets, True, _HARMLESS))
            if outcome != ("UnsupportedEvent" if "statements" in log.name else wanted):
                raise AssertionError(f"{log.name}: {outcome}")
    nameless = [without_names(log) for log in logs() if log.name.split("-")[1] in _WHOLE]
    for log in nameless:
        if (outcome := run(LogCase(log.flavor, log.events, False, False, _HARMLESS))) != wanted:
            raise AssertionError(f"{log.name} without names: {outcome}")


def guard_inputs() -> None:
    """Have the kernels read from memory that ends where their bytes do."""
    walk, parts = decoder_module.walk, gatherer_module.parts
    walked, converted = Guard(), Guard()

    def guarded_walk(data: Any, state: Any, *others: Any) -> int:
        return walk(walked.place(data[: state[w.END]]), state, *others)

    def guarded_parts(found: FoundRows) -> Iterator[Any]:
        end = int(found.runs[: found.used, w.RUN_END].max())
        data = converted.place(found.data[:end])
        yield from parts(dataclasses.replace(found, data=data))

    decoder_module.walk = guarded_walk  # type: ignore[assignment]
    gatherer_module.parts = guarded_parts  # type: ignore[assignment]
