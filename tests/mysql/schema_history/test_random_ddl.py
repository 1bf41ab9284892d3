"""Random DDL on a server whose log names no columns: rows come as the server had them, or not.

CDC_EXAMPLES sets the number of histories per server (1 in `make test`, 100 in `make nightly`),
CDC_SEED the first one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

from resources.model.change import UNDECODABLE, LogSlice, TableNotice
from resources.model.table import TableId
from resources.mysql.schema_history.history import ASSUMED
from resources.mysql.source import MySQLSource
from tests.mysql.room import settings_for
from tests.mysql.schema_history.stage import Stage, Written, kept_after, told
from tests.servers.family import FamilyServer

EXAMPLES = int(os.environ.get("CDC_EXAMPLES", "1"))
FIRST = int(os.environ.get("CDC_SEED", "1"))
STEPS = 25


@contextmanager
def _stage(server: FamilyServer, seed: int) -> Iterator[tuple[Stage, MySQLSource]]:
    """Two new databases of different character sets, after the log's first position."""
    one, two = names = (f"one_{seed}", f"two_{seed}")
    source = MySQLSource(settings_for(server), pipeline="p", include=[f"{n}.*" for n in names])
    drop = [f"DROP DATABASE IF EXISTS {name}" for name in names]
    server.execute(*drop)
    stage = Stage(server, names, random.Random(seed))
    stage.ends.append(source.current_position())
    server.execute(f"CREATE DATABASE {one} CHARACTER SET latin1", f"CREATE DATABASE {two}")
    with closing(source):
        try:
            yield stage, source
        finally:
            server.execute(*drop)


def _read(
    stage: Stage, source: MySQLSource, cuts: Sequence[int], kept: dict[TableId, str]
) -> list[list[LogSlice]]:
    """Read from end to end of the log, each time by a source that knows only what was kept."""
    read = []
    for begin, end in pairwise(cuts):
        slices = list(source.stream_changes(stage.ends[begin], stage.ends[end], bool, kept))
        kept = kept_after(slices, kept)
        read.append(slices)
    return read


def _cuts(stage: Stage) -> list[int]:
    """The first end, the last one and some between."""
    last = len(stage.ends) - 1
    return sorted({0, last, *stage.rnd.sample(range(last), 4)})


def test_rows_have_the_schema_and_values_the_server_had_then(nameless: FamilyServer) -> None:
    rows = written = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        with _stage(nameless, seed) as (stage, source):
            stage.ends.append(source.current_position())
            (first,) = _read(stage, source, [0, 1], {})
            del stage.ends[0]
            stage.play(source, STEPS)
            read = _read(stage, source, _cuts(stage), kept_after(first, {}))
            items = [item for slices in read for item in told(slices)]
            for table in {row.schema.table for row in stage.written}:
                _require_end(stage.written, items, table)
                rows += _require_in_order(stage.written, items, table)
            written += len(stage.written)
    print(f"{nameless.name}: {rows} of {written} rows in {EXAMPLES} histories")
    assert rows > written // 4, "too much was passed over for this test to mean anything"


def _require_in_order(
    written: Sequence[Written], items: Sequence[Written | TableNotice], table: TableId
) -> int:
    """Require that all rows of a table come as they were written, unless its shape was lost."""
    lost = [n for n in items if isinstance(n, TableNotice) and n.table == table and _is_lost(n)]
    told = [item for item in items if isinstance(item, Written) and item.schema.table == table]
    if lost:
        return 0
    assert told == [row for row in written if row.schema.table == table]
    return len(told)


def _is_lost(notice: TableNotice) -> bool:
    return notice.kind == UNDECODABLE or notice.detail == ASSUMED


def test_begun_in_the_past_rows_are_right_or_said_to_be_wrong(nameless: FamilyServer) -> None:
    """Where reading begins before the catalog was looked at, DDL in between may be met."""
    rows = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        with _stage(nameless, 1000 + seed) as (stage, source):
            stage.play(source, STEPS)
            read = _read(stage, source, _cuts(stage), {})
            items = [item for slices in read for item in told(slices)]
            for table in {item.schema.table for item in items if isinstance(item, Written)}:
                rows += _require_end(stage.written, items, table)
    assert rows > 0


def _require_end(
    written: Sequence[Written], items: Sequence[Written | TableNotice], table: TableId
) -> int:
    """Require that all rows of a table are right behind the last place that asks to reread it."""
    told: list[Any] = []
    for item in items:
        if isinstance(item, TableNotice) and item.table == table:
            told.clear()
        elif isinstance(item, Written) and item.schema.table == table:
            told.append(item)
    expected = [row for row in written if row.schema.table == table]
    assert told == expected[len(expected) - len(told) :]
    return len(told)
