"""What tests of lake formats get to work with: a room per format, and its fixtures.

In: a format's room (`tests/sinks/*_room.py`), which knows how to open its sink, how others read its
tables, and which of its calls commits. Out: cases that run on every format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.lake import LakeSink
from resources.sinks.lake_store import LakeStore
from resources.sinks.shape import target_schema
from tests.contracts.left_by_kills import Calls
from tests.contracts.sink_steps import STEPS, TARGET

WEEK = 7 * 86400
STORE_WRITES: Calls = tuple((LakeStore, n) for n in ("write", "create", "delete", "delete_folder"))
Call = tuple[type, str]
"""A method: its class and its name."""


class LakeRoom(ABC):
    """What a format's tests know of it."""

    stored_types: ClassVar[Mapping[pa.DataType, str]]
    """How columns are stored, in the words of `stored`."""
    commit: ClassVar[Call]
    """What commits a change; it raises nothing if the change is in."""
    writes: ClassVar[Calls]
    """All that changes a file of the lake."""
    file_call: ClassVar[Call] = (Path, "mkdir")
    """A call of the file system without which no commit is made."""
    longest_name = 300
    """Letters a table's name may have."""
    in_place: frozenset[str] = frozenset({"_cdc"})
    """What lies in a lake beside the folders of namespaces."""
    ending = ""
    """What the names of those folders end in."""

    @abstractmethod
    def make(self, place: str, **options: Any) -> LakeSink:
        """Open the sink at a place."""

    @abstractmethod
    def live(self, sink: LakeSink, target: TargetId = TARGET.id) -> set[str]:
        """Return the paths of the data files that a table has now."""

    @abstractmethod
    def others(self, sink: LakeSink, target: TargetId = TARGET.id) -> pa.Table:
        """Return the rows that an engine reads which knows nothing of this project."""

    @abstractmethod
    def stored(self, sink: LakeSink, target: TargetId) -> list[str]:
        """Return the stored types of a table's columns."""

    def seen(
        self, sink: LakeSink, target: TargetId = TARGET.id, *columns: str
    ) -> list[tuple[Any, ...]]:
        """Return what others read of these columns (all of them by default), sorted by `id`."""
        read = self.others(sink, target)
        values = [read[name].to_pylist() for name in columns or read.column_names]
        order = read["id"].to_pylist()
        numbers = sorted(range(len(order)), key=order.__getitem__)
        return [tuple(column[n] for column in values) for n in numbers]


class LakeCase(LakeRoom):
    """The fixtures, and how a commit is disturbed."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "lake"

    @pytest.fixture
    def loaded(self, place: Path) -> Iterator[LakeSink]:
        """A sink whose table TARGET has the rows 1, 2, 3 and the watermark 10."""
        with self.make(str(place)) as sink:
            STEPS["merge"].prepare(sink)
            yield sink

    def before_commit(
        self, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]
    ) -> list[int]:
        """Let work be done just before the next commit; the list grows with every commit."""
        owner, name = self.commit
        commit = getattr(owner, name)
        times: list[int] = []

        def late(format: Any, *arguments: Any) -> None:
            times.append(len(times))
            if len(times) == 1:
                work()
            commit(format, *arguments)

        monkeypatch.setattr(owner, name, late)
        return times


def target_of(*columns: Column, partition_keys: tuple[str, ...] = ()) -> TargetTable:
    """A table `shop.t` with these columns behind its key `id`."""
    schema = TableSchema(TableId("s", "t"), (Column("id", pa.int64()), *columns), ("id",))
    return TargetTable(TargetId("shop", "t"), schema, partition_keys=partition_keys)


def table(target: TargetTable, *rows: tuple[Any, ...]) -> pa.Table:
    """Rows of a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(target_schema(target))
    return pa.table([list(c) for c in columns], schema=target_schema(target))
