"""The memory sink."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resources.errors import ConfigError, DirtyRowError
from resources.sinks.memory import MemorySink
from tests.contracts.sink_alter import SinkAlter
from tests.contracts.sink_fill import SinkFill
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, observe, rows_of
from tests.contracts.sink_suite import SinkSuite


class TestMemorySink(SinkSuite):
    def open(self, place: str) -> MemorySink:
        return MemorySink(place)


class AddOnlySink(MemorySink):
    """A sink that adds columns and makes no other change of them."""

    capabilities = replace(MemorySink.capabilities, schema_changes=frozenset({"add"}))


class TestSinkWithFewerSchemaChanges(SinkAlter, SinkFill):
    def open(self, place: str) -> MemorySink:
        return AddOnlySink(place)

    def test_the_suites_step_is_refused(self, sink: MemorySink) -> None:
        STEPS["alter"].prepare(sink)
        before = observe(sink, TARGET)
        with pytest.raises(ConfigError, match="cannot drop columns"):
            STEPS["alter"].work(sink)
        assert observe(sink, TARGET) == before


def test_reject_hook_makes_dirty_rows() -> None:
    def is_bad(column: str, value: object) -> bool:
        return column == "name" and value == "bad"

    sink = MemorySink("reject", reject=is_bad)
    sink.create_table(TARGET)
    rows = rows_of({1: "good", 2: "bad", 3: "good", 4: "bad"})
    with pytest.raises(DirtyRowError) as caught:
        sink.merge(TARGET, rows, keys_of(), fence(None, 1))
    assert caught.value.field == "name"
    assert sink.count_rows(TARGET.id) == 0
    assert [(r.index, r.field) for r in sink.find_rejected(TARGET, rows)] == [
        (1, "name"),
        (3, "name"),
    ]
