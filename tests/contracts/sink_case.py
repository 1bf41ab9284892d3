"""What a class of sink tests gets to work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from resources.failpoints import FailpointReached
from resources.model.change import RowKind
from resources.sinks.contract import Sink
from tests.armed import armed
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.strategies import COLUMN_TYPES, HOSTILE_NAMES, arrow_values

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER


class SinkCase(ABC):
    """Tests of one kind of sink.

    A subclass overrides `open`, and `killed` where a sink survives its process.
    """

    column_types: tuple[pa.DataType, ...] = COLUMN_TYPES
    nul = True
    """Whether text may hold U+0000; a sink that refuses it has a test of its own for that."""
    names: tuple[str, ...] = HOSTILE_NAMES
    """Names columns may have; a sink that refuses some has a test of its own for that."""

    def fits(self, type_: pa.DataType, value: object) -> bool:
        """Whether the sink holds a value; those it refuses are in its capabilities."""
        return True

    def values(self, type_: pa.DataType) -> st.SearchStrategy[Any]:
        """Values of a type that the sink holds."""
        return arrow_values(type_, nul=self.nul).filter(lambda value: self.fits(type_, value))

    @abstractmethod
    def open(self, place: str) -> Sink:
        """Open the sink at a place; the same place again finds what was committed there."""

    def points(self, step: str) -> tuple[str, ...]:
        """The points of a step that this sink passes."""
        return ALL_STEPS[step].points

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        """Yield sinks whose writer died at one point each, and the point's name."""
        for point in self.points(step):
            name, _, count = point.partition(":")
            there = f"{place}-{point.replace(':', '-')}"
            with self.open(there) as sink:
                ALL_STEPS[step].prepare(sink)
                with armed(f"{name}:raise:{count or 1}"), pytest.raises(FailpointReached):
                    ALL_STEPS[step].work(sink)
            yield point, self.open(there)

    def can(self, sink: Sink, *kinds: str) -> bool:
        """Return whether a sink makes such column changes; refusals have their own test."""
        return set(kinds) <= sink.capabilities.schema_changes

    @pytest.fixture
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return str(tmp_path_factory.mktemp("sink") / "shop")

    @pytest.fixture
    def sink(self, place: str) -> Iterator[Sink]:
        with self.open(place) as sink:
            yield sink
