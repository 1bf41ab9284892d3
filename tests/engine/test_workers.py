"""Parts that are worked on at the same time, in order, with their errors."""

from __future__ import annotations

import threading

import pytest

from cdc_assets.engine.workers import side_by_side


def test_outcomes_come_in_the_order_of_the_parts() -> None:
    assert side_by_side(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    assert side_by_side(str, []) == []


def test_a_single_part_needs_no_thread() -> None:
    assert side_by_side(lambda _: threading.current_thread(), [1]) == [threading.current_thread()]


def test_the_first_failure_is_told_once_no_part_is_worked_on_any_more() -> None:
    ended: list[int] = []

    def work(number: int) -> None:
        try:
            if number in (3, 5):
                raise ValueError(number)
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="3"):
        side_by_side(work, range(8))
    assert sorted(ended) == list(range(8))
