"""Property tests of a suite with fewer examples, for sinks that need long for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def fewer(test: Any, examples: int = 3) -> Any:
    """Return a test of the suites that draws its `data`, to be run with so many examples."""
    inner = test.hypothesis.inner_test

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(data=st.data())
    def run(self: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        inner(self, tmp_path_factory, data)

    return run
