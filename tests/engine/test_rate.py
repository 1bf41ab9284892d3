"""The token bucket holds its limits whatever the sizes of what is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.engine.rate import RateLimit


class Clock:
    """A clock that moves when somebody sleeps, or reads slowly."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


reads = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 50_000), st.floats(0, 0.5)), max_size=30
)


@given(reads, st.integers(100, 10_000), st.integers(1000, 100_000))
def test_reading_is_never_faster_than_the_limits(
    parts: list[tuple[int, int, float]], rows: int, bytes_: int
) -> None:
    clock = Clock()
    limit = RateLimit(rows, bytes_, sleep=clock.sleep, clock=lambda: clock.now)
    total_rows = total_bytes = 0
    for count, size, seconds in parts:
        clock.now += seconds
        limit.took(count, size)
        total_rows, total_bytes = total_rows + count, total_bytes + size
        # One second's worth may come in a burst.
        assert total_rows <= rows * (clock.now - 1000 + 1) * (1 + 1e-9)
        assert total_bytes <= bytes_ * (clock.now - 1000 + 1) * (1 + 1e-9)


@given(reads)
def test_a_slow_reader_is_not_held_up(parts: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    limit = RateLimit(1000, None, sleep=clock.sleep, clock=lambda: clock.now)
    for count, _, _ in parts:
        clock.now = before = clock.now + count / 1000 + 0.001
        limit.took(count, 0)
        assert clock.now == before


def test_no_limit_never_sleeps() -> None:
    clock = Clock()
    limit = RateLimit(None, None, sleep=clock.sleep, clock=lambda: clock.now)
    limit.took(10**9, 10**12)
    assert clock.now == 1000.0
